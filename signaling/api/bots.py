"""Bots: asked for, looked at, stopped; and the providers that run them."""

from collections.abc import Mapping
from typing import Annotated, Any

import trio
from fastapi import APIRouter, Header, Query, Response, status
from pydantic import AwareDatetime, Field

from signaling.api.caller import Caller, Tenant
from signaling.api.errors import ApiError, not_found
from signaling.api.fields import BotId, LobbyId, ProviderId, ReasonQuery, Request, View
from signaling.api.lobbies import find_lobby
from signaling.api.paging import DEFAULT_LIMIT, After, Limit, page_of
from signaling.bots import BotState, BotView, Ending, ProviderState, ProviderView
from signaling.messages.model import PRINTABLE, Name
from signaling.problem_codes import ProblemCode

router = APIRouter(tags=["bots"])

MAX_WAIT_SECONDS = 15.0
_STOPPED = "it was stopped"

ProviderName = Annotated[str, Field(min_length=1, max_length=64), PRINTABLE]
Wait = Annotated[
    float, Query(ge=0, le=MAX_WAIT_SECONDS, description="seconds to wait for it to be active, or gone")
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z0-9_.:-]+$",
        description="the same request with the same key again is answered with the same bot",
    ),
]


class NewBot(Request):
    """A bot that is wanted."""

    provider: ProviderName | None = Field(
        default=None, description="name of a provider; null: any that can do it", examples=["echo"]
    )
    capability: ProviderName | None = Field(default=None, description="what the provider must be able to do")
    name: Name | None = Field(default=None, description="display name; null: as the provider calls it")
    config: dict[str, Any] = Field(
        default_factory=dict, description="for the provider, as its `config_schema` says"
    )


class BotAnswer(View):
    """A bot: where it stands and why, and what it has done."""

    bot_id: str
    lobby_id: str
    lobby: str
    company_id: str
    name: str
    state: BotState
    reason: str = Field(description="why it is in this state, for people")
    ending: Ending | None = Field(description="how it ended; null until it is gone")
    provider: str | None
    provider_id: str | None
    participant_id: str | None
    requested_by: str
    requested_at: AwareDatetime
    since: AwareDatetime = Field(description="when it came into this state")
    joined_at: AwareDatetime | None
    gone_at: AwareDatetime | None
    offers: int
    joins: int
    messages: int
    failures: int
    reassignments: int
    active_seconds: float


class BotPage(View):
    """Bots in the order of their ids."""

    bots: list[BotAnswer]
    next: str | None = Field(description="the next page's `after`; null: this was the last")


class ProviderFigures(View):
    """What a provider has done."""

    offers: int
    accepted: int
    refused: int
    expired: int
    joins: int
    messages: int
    failures: int
    losses: int
    active_seconds: float


class ProviderAnswer(View):
    """A provider of bots."""

    provider_id: str
    name: str
    description: str
    company_id: str = Field(description="whose it is; empty: the operator's, for everybody")
    state: ProviderState
    reason: str
    capabilities: list[str]
    config_schema: Mapping[str, Any]
    capacity: int
    bots: int
    load: float
    registered_at: AwareDatetime
    figures: ProviderFigures | None = Field(description="null for a company that it does not belong to")


class ProviderPage(View):
    """Providers in the order of their ids."""

    providers: list[ProviderAnswer]
    next: str | None = Field(description="the next page's `after`; null: this was the last")


@router.post("/api/lobbies/{lobby_id}/bots", status_code=status.HTTP_202_ACCEPTED, summary="Ask for a bot")
async def request(
    who: Tenant,
    lobby_id: LobbyId,
    new: NewBot,
    response: Response,
    wait_seconds: Wait = 0,
    idempotency_key: IdempotencyKey = None,
) -> BotAnswer:
    """Providers are asked one after the other. That none takes it is no error: the bot is then `gone`, and says why."""
    find_lobby(who, lobby_id)
    bots = who.service.bots
    bot = await bots.request(
        lobby_id,
        provider=new.provider,
        capability=new.capability,
        name=new.name,
        config=new.config,
        company_id=who.company_id,
        idempotency_key=idempotency_key,
        requested_by=who.actor,
    )
    # What is in `config` is for the provider, and may be a secret.
    await who.record("bot.request", bot.bot_id, {"lobby_id": lobby_id, "provider": new.provider})
    with trio.move_on_after(wait_seconds):
        bot = await bots.wait_settled(bot.bot_id)
    response.headers["Location"] = f"/api/bots/{bot.bot_id}"
    return answer_of(bot)


@router.get("/api/lobbies/{lobby_id}/bots", summary="List the bots of a lobby")
async def of_lobby(
    who: Tenant, lobby_id: LobbyId, after: After = "", limit: Limit = DEFAULT_LIMIT
) -> BotPage:
    """Those that are gone too, for a while."""
    find_lobby(who, lobby_id)
    page, following = page_of(
        who.service.bots.listed(lobby_id=lobby_id), _bot_id_of, after=after, limit=limit
    )
    return BotPage(bots=[answer_of(bot) for bot in page], next=following)


@router.get("/api/bots/{bot_id}", summary="Look at a bot")
async def inspect(who: Tenant, bot_id: BotId) -> BotAnswer:
    """Its state and what it has done; for a while after it is gone, too."""
    return answer_of(_find_bot(who, bot_id))


@router.delete("/api/bots/{bot_id}", summary="Stop a bot")
async def stop(who: Tenant, bot_id: BotId, reason: ReasonQuery = "") -> BotAnswer:
    """It is asked to leave, and taken out if it does not. Stopping one that is gone changes nothing."""
    _find_bot(who, bot_id)
    bot = await who.service.bots.stop(bot_id, reason or _STOPPED)
    await who.record("bot.stop", bot_id, {"lobby_id": bot.lobby_id, "reason": reason})
    return answer_of(bot)


@router.get("/api/providers", summary="List providers of bots")
async def providers(who: Tenant, after: After = "", limit: Limit = DEFAULT_LIMIT) -> ProviderPage:
    """A company sees its own and the operator's, which serve everybody."""
    seen = (provider for provider in who.service.bots.providers() if _serves(who, provider))
    page, following = page_of(seen, _provider_id_of, after=after, limit=limit)
    return ProviderPage(providers=[_provider(who, each) for each in page], next=following)


@router.post("/api/providers/{provider_id}/drain", summary="Give a provider no more bots")
async def drain(who: Tenant, provider_id: ProviderId, reason: ReasonQuery = "") -> ProviderAnswer:
    """Those it has stay until they end. A company may drain its own."""
    found = who.service.bots.find_provider(provider_id)
    if found is None or not _serves(who, found):
        raise not_found("provider")
    if not who.sees(found.company_id):
        raise ApiError(
            ProblemCode.FORBIDDEN, "this provider is the operator's: only the administrator drains it"
        )
    drained = who.service.bots.drain_provider(provider_id, reason or _STOPPED)
    await who.record("provider.drain", provider_id, {"name": drained.name, "reason": reason})
    return _provider(who, drained)


def answer_of(bot: BotView) -> BotAnswer:
    """Return a bot as it is shown: without its ``config``."""
    return BotAnswer(**{name: getattr(bot, name) for name in BotAnswer.model_fields})


def _find_bot(who: Caller, bot_id: str) -> BotView:
    bot = who.service.bots.find(bot_id)
    if bot is None or not who.sees(bot.company_id):
        raise not_found("bot")
    return bot


def _serves(who: Caller, provider: ProviderView) -> bool:
    return not provider.company_id or who.sees(provider.company_id)


def _provider(who: Caller, provider: ProviderView) -> ProviderAnswer:
    own = who.sees(provider.company_id)
    figures = ProviderFigures(**{name: getattr(provider, name) for name in ProviderFigures.model_fields})
    shown = {
        name: getattr(provider, name)
        for name in ProviderAnswer.model_fields
        if name not in {"figures", "capabilities"}
    }
    return ProviderAnswer(**shown, capabilities=list(provider.capabilities), figures=figures if own else None)


def _bot_id_of(bot: BotView) -> str:
    return bot.bot_id


def _provider_id_of(provider: ProviderView) -> str:
    return provider.provider_id
