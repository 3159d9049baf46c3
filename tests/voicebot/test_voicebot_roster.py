"""The mirror of the lobby against the snapshot that the server would send."""

from datetime import UTC, datetime

from signaling.messages import (
    SERVER_MESSAGES,
    Joined,
    Left,
    LobbySnapshot,
    Participant,
    ParticipantJoined,
    ParticipantLeft,
    ParticipantUpdated,
    Resumed,
    Track,
    TrackPublished,
    TrackUnpublished,
    TrackUpdated,
)
from voicebot import Roster
from voicebot.roster import _CHANGES

JOINED_AT = datetime(2026, 1, 31, 12, tzinfo=UTC)


def participant(participant_id: str, *tracks: Track, name: str = "Ada") -> Participant:
    return Participant(
        participant_id=participant_id, name=name, is_bot=False, joined_at=JOINED_AT, tracks=tracks
    )


def track(track_id: str, *, muted: bool = False) -> Track:
    return Track(track_id=track_id, kind="audio", source="microphone", muted=muted)


def roster_of(*participants: Participant) -> Roster:
    roster = Roster()
    roster.apply(
        Joined(lobby="garden", participant_id="p-1", participants=participants, audio_slots=3, chat=())
    )
    return roster


def test_roster_is_empty_before_a_lobby() -> None:
    roster = Roster()
    assert (roster.lobby, roster.me, roster.others, list(roster.tracks_of_others())) == (None, None, (), [])


def test_roster_shows_the_snapshot_of_a_join() -> None:
    roster = roster_of(participant("p-2", track("t-1")), participant("p-1", track("t-2")))
    assert (roster.lobby, roster.audio_slots) == ("garden", 3)
    assert roster.me == participant("p-1", track("t-2"))
    assert roster.others == (participant("p-2", track("t-1")),)
    assert list(roster.tracks_of_others()) == [(participant("p-2", track("t-1")), track("t-1"))]


def test_roster_follows_people() -> None:
    roster = roster_of(participant("p-1"))
    roster.apply(ParticipantJoined(participant=participant("p-2")))
    roster.apply(ParticipantJoined(participant=participant("p-3")))
    roster.apply(ParticipantUpdated(participant=participant("p-2", name="Grace")))
    roster.apply(ParticipantLeft(participant_id="p-3", reason="left"))
    assert roster.others == (participant("p-2", name="Grace"),)


def test_roster_follows_tracks() -> None:
    roster = roster_of(participant("p-1"), participant("p-2"))
    roster.apply(TrackPublished(participant_id="p-2", track=track("t-1")))
    roster.apply(TrackPublished(participant_id="p-2", track=track("t-2")))
    roster.apply(TrackUpdated(participant_id="p-2", track=track("t-1", muted=True)))
    roster.apply(TrackUnpublished(participant_id="p-2", track_id="t-2"))
    assert roster.others == (participant("p-2", track("t-1", muted=True)),)


def test_roster_ignores_what_it_does_not_know() -> None:
    roster = roster_of(participant("p-1"))
    roster.apply(ParticipantLeft(participant_id="p-9", reason="left"))
    roster.apply(TrackPublished(participant_id="p-9", track=track("t-1")))
    roster.apply(TrackUnpublished(participant_id="p-1", track_id="t-9"))
    assert roster.participants == {"p-1": participant("p-1")}


def test_roster_is_replaced_by_a_resume() -> None:
    roster = roster_of(participant("p-1"), participant("p-2"))
    snapshot = LobbySnapshot(
        lobby="garden", participant_id="p-1", participants=(participant("p-1"),), chat=()
    )
    roster.apply(Resumed(session_id="s-1", lobby=snapshot, media_state="connected"))
    assert roster.others == ()
    roster.apply(Resumed(session_id="s-1", lobby=None, media_state="new"))
    assert roster.lobby is None


def test_roster_is_empty_after_leaving() -> None:
    roster = roster_of(participant("p-1"), participant("p-2"))
    roster.apply(Left())
    assert (roster.lobby, roster.participant_id, roster.participants) == (None, None, {})


def test_every_message_about_people_or_tracks_changes_the_roster() -> None:
    concerned = {
        model
        for name, model in SERVER_MESSAGES.items()
        if name.startswith(("participant_", "track_"))
        or name in {"joined", "left", "resumed", "speaking", "removed", "lobby_closed"}
    }
    assert set(_CHANGES) == concerned
