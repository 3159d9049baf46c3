"""What the administrator does to the server itself: empty it, change what is logged and limited, read the audit log."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, Field, StrictInt

from signaling.api.caller import Admin, Caller
from signaling.api.errors import ApiError
from signaling.api.fields import Reason, Request, View
from signaling.api.paging import DEFAULT_LIMIT, Limit
from signaling.drain import Drain
from signaling.logs import log_levels, set_log_level
from signaling.messages.model import MAX_REQUEST_ID, WHOLE
from signaling.problem_codes import ProblemCode
from signaling.settings import Settings

router = APIRouter(prefix="/api/admin", tags=["admin"])

LevelName = Literal["debug", "info", "warning", "error"]
#: Settings of the group "limits" that need a restart, as clients and parts were told of them.
NEED_RESTART = (
    "max_connections",
    "max_message_bytes",
    "send_queue_bytes",
    "resume_seconds",
    "keepalive_seconds",
    "send_timeout_seconds",
    "max_peers",
    "max_outbound_streams",
    "store_queue_changes",
)


class DrainView(View):
    """Whether the server is being emptied."""

    draining: bool
    since: AwareDatetime | None
    reason: str | None
    refused: int = Field(description="newcomers turned away, ever")
    sessions: int = Field(description="those who are still here")


class NewDrain(Request):
    """Why the server is emptied."""

    reason: Reason = Field(
        default="", description="what newcomers are told", examples=["maintenance at noon"]
    )


class LogLevels(View):
    """Loggers that have a level of their own; the empty name stands for all others."""

    levels: dict[str, str]


class NewLogLevel(Request):
    """What one logger shall write."""

    logger: Annotated[str, Field(max_length=100)] = Field(
        default="",
        description="a module such as `signaling.front_door`; empty: all that have no level of their own",
    )
    level: LevelName | None = Field(description="null: as the logger above it")


class LimitsView(View):
    """What the server accepts."""

    changeable: dict[str, int] = Field(description="may be set here, until the next restart")
    need_restart: dict[str, float | None] = Field(description="settings; change them and start again")


class LimitsChange(Request):
    """What is to be different; what is left out stays."""

    api_requests_per_minute: Annotated[StrictInt, Field(ge=1, le=1_000_000), WHOLE] | None = None
    max_connections_per_address: Annotated[StrictInt, Field(ge=1, le=1_000_000), WHOLE] | None = None


class AuditEntry(View):
    """Who did what."""

    entry_id: int
    at: AwareDatetime
    actor: str
    action: str
    target: str
    detail: dict[str, Any]
    correlation_id: str


class AuditPage(View):
    """Entries, the newest first."""

    entries: list[AuditEntry]
    next: int | None = Field(description="the next page's `before`; null: this was the last")


@router.get("/drain", summary="Tell whether the server is being emptied")
async def drain_state(who: Admin) -> DrainView:
    """Who is here goes on; nobody new is taken."""
    return _drain_view(who)


@router.put("/drain", summary="Begin to empty the server")
async def drain_begin(who: Admin, new: NewDrain) -> DrainView:
    """New sessions, lobbies and bots are refused, and `ready` says 503. If it is so already, the first reason stays."""
    _drain(who).begin(new.reason)
    await who.record("drain.begin", "server", {"reason": new.reason})
    return _drain_view(who)


@router.delete("/drain", summary="Take newcomers again")
async def drain_end(who: Admin) -> DrainView:
    """Undo `PUT`."""
    _drain(who).end()
    await who.record("drain.end", "server")
    return _drain_view(who)


@router.get("/log-levels", summary="Tell what is logged")
async def levels(who: Admin) -> LogLevels:  # noqa: ARG001 - who asks is looked at before
    """By logger."""
    return LogLevels(levels=log_levels())


@router.put("/log-levels", summary="Change what is logged")
async def set_level(who: Admin, new: NewLogLevel) -> LogLevels:
    """At once, and until the next restart."""
    try:
        former = set_log_level(new.logger, new.level)
    except ValueError as error:
        field = "level" if not new.logger else "logger"
        raise ApiError(ProblemCode.INVALID_MESSAGE, str(error), field=field) from None
    await who.record("log_level.set", new.logger or "all", {"level": new.level, "former": former})
    return LogLevels(levels=log_levels())


@router.get("/limits", summary="Tell what the server accepts")
async def limits(who: Admin) -> LimitsView:
    """Companies have limits of their own, which are theirs."""
    return _limits_view(who)


@router.patch("/limits", summary="Change what the server accepts")
async def set_limits(who: Admin, change: LimitsChange) -> LimitsView:
    """At once, and until the next restart. Nothing that is open is closed."""
    former = _limits_view(who).changeable
    if change.api_requests_per_minute is not None:
        who.service.access.api_limits.per_minute = change.api_requests_per_minute
    if change.max_connections_per_address is not None:
        who.service.address_limits.max_open = change.max_connections_per_address
    changed = _limits_view(who)
    await who.record("limits.set", "server", {"former": former, "now": changed.changeable})
    return changed


@router.get("/audit", summary="Read the audit log, the newest entries first")
async def audit(
    who: Admin,
    before: Annotated[
        int | None, Query(ge=1, le=MAX_REQUEST_ID, description="entries with lower ids")
    ] = None,
    limit: Limit = DEFAULT_LIMIT,
) -> AuditPage:
    """Go back through it a page at a time."""
    found = await who.service.store.audit_before(before=before, limit=limit + 1)
    entries = [
        AuditEntry(
            entry_id=record.entry_id,
            at=record.at,
            actor=record.actor,
            action=record.action,
            target=record.target,
            detail=dict(record.detail),
            correlation_id=record.correlation_id,
        )
        for record in found[:limit]
    ]
    return AuditPage(entries=entries, next=entries[-1].entry_id if len(found) > limit else None)


def _drain(who: Caller) -> Drain:
    return who.service.drain


def _drain_view(who: Caller) -> DrainView:
    state = who.service.drain.statistics()
    return DrainView(
        draining=state.draining,
        since=state.since,
        reason=state.reason,
        refused=state.refused,
        sessions=len(who.service.sessions),
    )


def _limits_view(who: Caller) -> LimitsView:
    settings: Settings = who.service.settings
    return LimitsView(
        changeable={
            "api_requests_per_minute": who.service.access.api_limits.per_minute,
            "max_connections_per_address": who.service.address_limits.max_open,
        },
        need_restart={name: getattr(settings, name) for name in NEED_RESTART},
    )
