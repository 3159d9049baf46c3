"""Lobbies: listed, made, looked at, changed, closed."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Response, status
from pydantic import AwareDatetime, Field, StrictBool, StrictInt

from signaling.api.caller import Anybody, Caller, Role, Tenant
from signaling.api.errors import ApiError, not_found
from signaling.api.fields import LobbyId, ReasonQuery, Request, View
from signaling.api.paging import DEFAULT_LIMIT, After, Limit, page_of
from signaling.lobbies import LobbyOptions
from signaling.lobby import Lobby
from signaling.messages import Participant
from signaling.messages.model import WHOLE, LobbyName, Password
from signaling.problem_codes import ProblemCode

router = APIRouter(prefix="/api/lobbies", tags=["lobbies"])

Capacity = Annotated[StrictInt, Field(ge=1, le=1_000_000), WHOLE]
_CLOSED = "the lobby was closed"


class NewLobby(Request):
    """A lobby to be made."""

    name: LobbyName = Field(examples=["garden"])
    private: StrictBool = Field(
        default=False, description="not listed, and entered with its password or a join token only"
    )
    password: Password | None = Field(
        default=None, description="whoever knows it may enter; it makes the lobby private"
    )
    capacity: Capacity | None = Field(default=None, description="participants at most; null: no limit")
    persistent: StrictBool = Field(
        default=False, description="stays when the last participant has left, and over restarts"
    )
    company_id: Annotated[str, Field(max_length=64)] | None = Field(
        default=None, description="whose it is; for the administrator, a company makes its own"
    )


class LobbyChange(Request):
    """What is to be different; what is left out stays."""

    private: StrictBool | None = Field(
        default=None, description="false takes the password away, unless a new one is given"
    )
    password: Password | None = Field(
        default=None, description="a new one, which makes it private; null: none, it takes a join token"
    )
    capacity: Capacity | None = Field(default=None, description="null: no limit")
    persistent: StrictBool | None = None


class LobbyView(View):
    """A lobby, without those who are in it."""

    lobby_id: str
    name: str
    company_id: str
    created_at: AwareDatetime
    private: bool
    has_password: bool
    capacity: int | None
    persistent: bool
    participant_count: int


class LobbyDetail(LobbyView):
    """A lobby with those who are in it."""

    participants: list[Participant]


class LobbyPage(View):
    """Lobbies in the order of their ids."""

    lobbies: list[LobbyView]
    next: str | None = Field(description="the next page's `after`; null: this was the last")


@router.get("", summary="List lobbies")
async def listed(who: Anybody, after: After = "", limit: Limit = DEFAULT_LIMIT) -> LobbyPage:
    """Without a credential, the public ones of no company; with an API key, all of the company; else all."""
    seen = (lobby for lobby in who.service.lobbies if _is_listed(who, lobby))
    page, following = page_of(seen, _id_of, after=after, limit=limit)
    return LobbyPage(lobbies=[view_of(lobby) for lobby in page], next=following)


@router.post("", status_code=status.HTTP_201_CREATED, summary="Make a lobby")
async def create(who: Tenant, new: NewLobby, response: Response) -> LobbyDetail:
    """It is in the database when this is answered. One that is not persistent lasts from its first participant to its last."""
    service = who.service
    company_id = who.speaks_for(new.company_id)
    if (refusal := service.drain.refusal()) is not None:
        raise ApiError(ProblemCode.DRAINING, refusal)
    made = None if new.password is None else await service.access.passwords.passwords.hash(new.password)
    options = LobbyOptions(new.private or made is not None, made, new.capacity, new.persistent)
    lobby = await service.lobbies.create(new.name, options, company_id=company_id)
    await who.record("lobby.create", lobby.lobby_id, {"name": lobby.name, "company_id": company_id})
    response.headers["Location"] = f"{router.prefix}/{lobby.lobby_id}"
    return detail_of(lobby)


@router.get("/{lobby_id}", summary="Look at a lobby and those who are in it")
async def inspect(who: Tenant, lobby_id: LobbyId) -> LobbyDetail:
    """Participants with their tracks, whether they are muted, and whether they speak."""
    return detail_of(find_lobby(who, lobby_id))


@router.patch("/{lobby_id}", summary="Change a lobby")
async def change(who: Tenant, lobby_id: LobbyId, change: LobbyChange) -> LobbyDetail:
    """It counts for those who enter from now on; who is in the lobby stays. An empty one that is made not persistent is closed."""
    service = who.service
    lobby = find_lobby(who, lobby_id)
    given = change.model_fields_set
    password_hash: str | None = None
    if change.password is not None:
        password_hash = await service.access.passwords.passwords.hash(change.password)
        # It may have been closed meanwhile.
        lobby = find_lobby(who, lobby_id)
    record = lobby.record
    options = LobbyOptions(record.private, record.password_hash, record.capacity, record.persistent)
    if change.private is not None:
        options = replace(options, private=change.private)
    if "password" in given:
        options = replace(
            options, password_hash=password_hash, private=options.private or password_hash is not None
        )
    if not options.private:
        options = replace(options, password_hash=None)
    if "capacity" in given:
        options = replace(options, capacity=change.capacity)
    if change.persistent is not None:
        options = replace(options, persistent=change.persistent)
    shown = detail_of(lobby)
    try:
        await service.lobbies.update(lobby, options)
    finally:
        await who.record("lobby.update", lobby_id, {"changed": sorted(given)})
    return detail_of(lobby) if service.lobbies.get(lobby_id) is lobby else _as_changed(shown, options)


@router.delete(
    "/{lobby_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Close a lobby",
    response_class=Response,
)
async def close(who: Tenant, lobby_id: LobbyId, reason: ReasonQuery = "") -> None:
    """Everybody in it is told the reason and is in no lobby any more; its chat is deleted."""
    lobby = find_lobby(who, lobby_id)
    try:
        await who.service.lobbies.close(lobby, reason or _CLOSED)
    finally:
        await who.record("lobby.close", lobby_id, {"name": lobby.name, "reason": reason})


def find_lobby(who: Caller, lobby_id: str) -> Lobby:
    """Return a lobby that the caller may see whole.

    Raises: ApiError.
    """
    lobby = who.service.lobbies.get(lobby_id)
    if lobby is None or not who.sees(lobby.company_id):
        raise not_found("lobby")
    return lobby


def view_of(lobby: Lobby) -> LobbyView:
    """Return a lobby as it is listed."""
    return LobbyView(
        lobby_id=lobby.lobby_id,
        name=lobby.name,
        company_id=lobby.company_id,
        created_at=lobby.record.created_at,
        private=lobby.record.private,
        has_password=lobby.record.password_hash is not None,
        capacity=lobby.record.capacity,
        persistent=lobby.record.persistent,
        participant_count=len(lobby.participants),
    )


def detail_of(lobby: Lobby) -> LobbyDetail:
    """Return a lobby with those who are in it."""
    participants = [participant.describe() for participant in lobby.participants.values()]
    return LobbyDetail(**dict(view_of(lobby)), participants=participants)


def _as_changed(shown: LobbyDetail, options: LobbyOptions) -> LobbyDetail:
    """Return a lobby that was closed by its change, as it was then."""
    return shown.model_copy(
        update={
            "private": options.private,
            "has_password": options.password_hash is not None,
            "capacity": options.capacity,
            "persistent": options.persistent,
        }
    )


def _is_listed(who: Caller, lobby: Lobby) -> bool:
    if who.role is Role.ANONYMOUS:
        return not lobby.company_id and not lobby.record.private
    return who.sees(lobby.company_id)


def _id_of(lobby: Lobby) -> str:
    return lobby.lobby_id
