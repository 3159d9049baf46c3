"""A lobby alone: the order in which things are done, and that whoever is told may be going."""

from lobby_parts import make_lobbies

from signaling.announcements import announce
from signaling.bus import Bus
from signaling.events import LobbyClosed, LobbyOpened, ParticipantEntered
from signaling.messages import ParticipantJoined, decode_server
from signaling.participant import Participant
from signaling.removals import Removal


class Guest:
    def __init__(self, name: str) -> None:
        self.heard: list[str] = []
        self.numbers: list[int | None] = []
        self.dismissed: list[str] = []
        self.participant = Participant(
            session_id=f"s-{name}", name=name, is_bot=False, deliver=self._hear, dismiss=self._dismiss
        )

    def _hear(self, text: str) -> None:
        frame = decode_server(text)
        self.heard.append(frame.message.type)
        self.numbers.append(frame.seq)

    def _dismiss(self, removal: Removal) -> None:
        self.dismissed.append(removal.reason)


def test_a_lobby_opens_with_the_first_and_closes_with_the_last() -> None:
    bus = Bus()
    lobbies = make_lobbies(bus)
    ada, grace = Guest("Ada"), Guest("Grace")
    lobby = lobbies.enter("garden", ada.participant)
    assert lobbies.enter("garden", grace.participant) is lobby
    assert lobbies.participant_count == 2
    lobbies.leave(lobby, ada.participant, "left")
    assert lobbies.open == {"garden": lobby}
    lobbies.leave(lobby, grace.participant, "left")
    assert not lobbies.open
    assert list(bus.published) == [
        LobbyOpened.__name__,
        ParticipantEntered.__name__,
        "ParticipantGone",
        LobbyClosed.__name__,
    ]
    assert (ada.heard, ada.numbers) == (["participant_joined"], [2])
    assert (grace.heard, grace.numbers) == (["participant_left"], [3])


def test_a_lobby_of_the_same_name_is_a_new_one() -> None:
    lobbies = make_lobbies()
    guest = Guest("Ada")
    first = lobbies.enter("garden", guest.participant)
    first.say(guest.participant, "hello")
    lobbies.leave(first, guest.participant, "left")
    again = lobbies.enter("garden", Guest("Grace").participant)
    assert not again.chat.lines
    assert again.lobby_id != first.lobby_id


def test_an_event_becomes_the_message_of_the_table() -> None:
    participant = Guest("Ada").participant.describe()
    assert announce(ParticipantEntered("garden", "s", participant)) == ParticipantJoined(
        participant=participant
    )


class Camera:
    """As much of a relay's track as a lobby looks at."""

    id, kind, muted, audio_slots = "t-1", "video", False, None

    def set_muted(self, muted: bool) -> None:
        self.muted = muted


def test_a_snapshot_shows_every_change_made_before_it() -> None:
    lobbies = make_lobbies()
    ada, track = Guest("Ada").participant, Camera()
    lobby = lobbies.enter("garden", ada)

    def shown() -> tuple[str, list[tuple[str, bool]]]:
        (one,) = lobby.snapshot(ada).participants
        return one.name, [(track.source, track.muted) for track in one.tracks]

    assert shown() == ("Ada", [])
    lobby.rename(ada, "Ada L.")
    assert shown() == ("Ada L.", [])
    lobby.publish(ada, track, "camera")
    assert shown() == ("Ada L.", [("camera", False)])
    lobby.set_muted(ada, track.id, muted=True)
    assert shown() == ("Ada L.", [("camera", True)])
    lobby.unpublish(ada, track.id)
    assert shown() == ("Ada L.", [])
    assert lobby.snapshot(ada).participants[0] is lobby.snapshot(ada).participants[0]


def test_who_comes_back_brings_no_tracks_along() -> None:
    lobbies = make_lobbies()
    ada = Guest("Ada").participant
    lobby = lobbies.enter("garden", ada)
    lobby.publish(ada, Camera(), "camera")
    assert lobby.snapshot(ada).participants[0].tracks
    lobbies.leave(lobby, ada, "moved")
    assert not lobbies.enter("hall", ada).snapshot(ada).participants[0].tracks
