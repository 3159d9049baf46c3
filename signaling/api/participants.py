"""What an administrator, or the company whose lobby it is, does to participants: remove, rename, mute."""

from fastapi import APIRouter, Response, status
from pydantic import Field, StrictBool

from signaling.api.caller import Caller, Tenant
from signaling.api.errors import not_found
from signaling.api.fields import LobbyId, ParticipantId, ReasonQuery, Request
from signaling.api.lobbies import find_lobby
from signaling.lobby import Lobby
from signaling.messages import Participant
from signaling.messages.model import Identifier, Name
from signaling.moderation import Moderation

router = APIRouter(prefix="/api/lobbies/{lobby_id}/participants", tags=["moderation"])


class NewName(Request):
    """Another display name."""

    name: Name = Field(examples=["Ada"])


class Muting(Request):
    """Muted by the server, or not: then it is as the participant wants."""

    muted: StrictBool
    track_id: Identifier | None = Field(
        default=None, description="this track only; null: all audio, that of later tracks too"
    )


@router.get("/{participant_id}", summary="Look at a participant")
async def inspect(who: Tenant, lobby_id: LobbyId, participant_id: ParticipantId) -> Participant:
    """Name, tracks, whether they are muted, and whether they speak."""
    return _describe(find_lobby(who, lobby_id), participant_id)


@router.delete(
    "/{participant_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Remove a participant",
    response_class=Response,
)
async def kick(
    who: Tenant, lobby_id: LobbyId, participant_id: ParticipantId, reason: ReasonQuery = ""
) -> None:
    """Their session ends, and they are told the reason. They may come again, unless the lobby is private."""
    lobby = find_lobby(who, lobby_id)
    name = _describe(lobby, participant_id).name
    _moderation(who).kick(lobby, participant_id, reason)
    await who.record(
        "participant.kick", participant_id, {"lobby_id": lobby_id, "name": name, "reason": reason}
    )


@router.put("/{participant_id}/name", summary="Rename a participant")
async def rename(who: Tenant, lobby_id: LobbyId, participant_id: ParticipantId, new: NewName) -> Participant:
    """Everybody in the lobby is told."""
    lobby = find_lobby(who, lobby_id)
    former = _describe(lobby, participant_id).name
    _moderation(who).rename(lobby, participant_id, new.name)
    shown = _describe(lobby, participant_id)
    await who.record(
        "participant.rename", participant_id, {"lobby_id": lobby_id, "from": former, "to": new.name}
    )
    return shown


@router.put("/{participant_id}/muted", summary="Mute a participant, or one of their tracks")
async def mute(who: Tenant, lobby_id: LobbyId, participant_id: ParticipantId, muting: Muting) -> Participant:
    """What the server has muted its publisher cannot unmute."""
    lobby = find_lobby(who, lobby_id)
    _moderation(who).mute(lobby, participant_id, muted=muting.muted, track_id=muting.track_id)
    shown = _describe(lobby, participant_id)
    await who.record(
        "participant.mute" if muting.muted else "participant.unmute",
        participant_id,
        {"lobby_id": lobby_id, "name": shown.name, "track_id": muting.track_id},
    )
    return shown


def _moderation(who: Caller) -> Moderation:
    return Moderation(lobbies=who.service.lobbies, sessions=who.service.sessions)


def _describe(lobby: Lobby, participant_id: str) -> Participant:
    participant = lobby.participants.get(participant_id)
    if participant is None:
        raise not_found("participant in this lobby")
    return participant.describe()
