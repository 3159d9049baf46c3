"""Who speaks: hysteresis, and a monitor that looks only where there is something to hear."""

from collections import Counter

import pytest
import trio
from offers import Section, make_offer
from running_server import running_server
from wire_client import Client, in_lobby

import relay
from signaling.messages import (
    Answer,
    Leave,
    Left,
    Mute,
    Offer,
    Ok,
    PublishRequest,
    Speaking,
)
from signaling.speaking import HOLD_POLLS, INTERVAL_SECONDS, START_DBOV, STOP_DBOV, SpeakingDetector


def changes(levels: list[int | None]) -> list[tuple[int, bool]]:
    detector = SpeakingDetector()
    return [(number, detector.speaking) for number, level in enumerate(levels) if detector.update(level)]


def test_a_loud_poll_starts_and_a_pause_between_words_does_not_stop() -> None:
    assert changes([127, START_DBOV + 1, START_DBOV, 90, 30]) == [(2, True)]


def test_quiet_for_long_enough_stops() -> None:
    assert changes([20] + [127] * HOLD_POLLS) == [(0, True), (HOLD_POLLS, False)]


def test_levels_between_the_thresholds_change_nothing() -> None:
    between = (START_DBOV + STOP_DBOV) // 2
    assert changes([between] * 20) == []
    assert changes([20] + [127] * (HOLD_POLLS - 1) + [between] * 20) == [(0, True)]


def test_what_cannot_be_heard_stops_at_once() -> None:
    assert changes([20, None]) == [(0, True), (1, False)]
    assert changes([None]) == []


class Levels:
    """How loud each track is, as the packets' extensions would say; and how often somebody asked."""

    def __init__(self) -> None:
        self.dbov: dict[str, int] = {}
        self.asked: Counter[str] = Counter()

    def read(self, track: relay.Track) -> int:
        self.asked[track.id] += 1
        return self.dbov.get(track.id, 127)


@pytest.fixture
def levels(monkeypatch) -> Levels:
    found = Levels()
    monkeypatch.setattr(relay.Track, "level_dbov", property(found.read))
    return found


async def publish(client: Client, *sources: str) -> list[str]:
    sections = [Section(str(number)) for number, _ in enumerate(sources)]
    offer = Offer(
        sdp=make_offer(*sections, identity=client.welcome.session_id),
        publish=tuple(
            PublishRequest(mid=str(number), source=source) for number, source in enumerate(sources)
        ),
    )
    return [one.track_id for one in (await client.expect(offer, Answer)).published]


async def test_everybody_is_told_who_starts_and_stops_speaking(levels: Levels) -> None:
    async with (
        running_server() as server,
        in_lobby(server.url, name="Ada") as ada,
        in_lobby(server.url, name="Grace") as grace,
    ):
        (track_id,) = await publish(ada, "microphone")
        for level, speaking in ((30, True), (90, False), (10, True)):
            levels.dbov[track_id] = level
            for client in (ada, grace):
                told = await client.until(Speaking)
                assert told.participant_id == ada.joined.participant_id
                assert (told.speaking, told.level_dbov) == (speaking, level)


async def test_muting_ends_speaking_at_once_and_the_monitor_sleeps(levels: Levels) -> None:
    async with running_server() as server, in_lobby(server.url, name="Ada") as ada:
        (track_id,) = await publish(ada, "microphone")
        levels.dbov[track_id] = 20
        assert (await ada.until(Speaking)).speaking
        await ada.expect(Mute(track_id=track_id, muted=True), Ok)
        stopped = await ada.until(Speaking)
        assert (stopped.speaking, stopped.level_dbov) == (False, 127)
        asked = levels.asked[track_id]
        # Nothing to wait for: the proof is that nothing happens for a while.
        await trio.sleep(3 * INTERVAL_SECONDS)
        assert levels.asked[track_id] == asked
        await ada.expect(Mute(track_id=track_id, muted=False), Ok)
        assert (await ada.until(Speaking)).speaking


async def test_what_a_screen_plays_is_not_speech(levels: Levels) -> None:
    async with running_server() as server, in_lobby(server.url, name="Ada") as ada:
        screen, microphone = await publish(ada, "screen_audio", "microphone")
        levels.dbov[screen] = 0
        with trio.fail_after(10):
            while levels.asked[microphone] < 3:
                await trio.lowlevel.checkpoint()
        assert not levels.asked[screen]
        assert not any(isinstance(event, Speaking) for event in ada.events)
        levels.dbov[microphone] = 40
        assert (await ada.until(Speaking)).level_dbov == 40


async def test_lobbies_are_forgotten_when_their_speakers_leave(levels: Levels) -> None:
    async with running_server() as server, in_lobby(server.url, name="Ada") as ada:
        (track_id,) = await publish(ada, "microphone")
        levels.dbov[track_id] = 20
        assert (await ada.until(Speaking)).speaking
        await ada.expect(Leave(), Left)
        asked = levels.asked[track_id]
        await trio.sleep(3 * INTERVAL_SECONDS)
        assert levels.asked[track_id] == asked
        # Whoever comes back starts anew.
        await ada.join()
        (track_id,) = await publish(ada, "microphone")
        levels.dbov[track_id] = 20
        assert (await ada.until(Speaking)).speaking
