"""Playouts, one behind another through one mouth: order, pace, exact accounts, interruptions. In virtual time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
import trio
import trio.testing
from fake_mix import FakeMix, FakeMouth

import relay
from signaling.messages import PlayProgress
from signaling.voices.counters import SoundCounters
from signaling.voices.playout import Playout
from signaling.voices.speech import LEAD_SECONDS, Speech


class Speaker:
    """A speech, the mix it is heard in, and what its client was told."""

    def __init__(self, nursery: trio.Nursery, **limits: int) -> None:
        self.mix = FakeMix(**limits)
        self.told: list[PlayProgress] = []
        #: When it was told.
        self.times: list[float] = []
        self.counters = SoundCounters()
        self.speech = Speech(
            open_mouth=lambda rate: self.mix.open_mouth(rate=rate),
            close_mouth=FakeMouth.close,
            tell=self._note,
            counters=self.counters,
        )
        self._nursery = nursery
        self._numbers = 0

    def _note(self, progress: PlayProgress) -> None:
        self.told.append(progress)
        self.times.append(round(trio.current_time() - self.began, 6))

    began = 0.0

    def open(self, rate: int = 16000) -> Playout:
        self._numbers += 1
        playout = Playout(self._numbers, rate=rate)
        self.speech.open(playout)
        if not self.speech.running:
            self.speech.running = True
            self._nursery.start_soon(self.speech.run)
        return playout

    def say(self, seconds: float, level: int, rate: int = 16000, *, pieces: int = 1) -> Playout:
        """Begin a playout and give it all it has at once."""
        playout = self.open(rate)
        for piece in np.array_split(sound(seconds, level, rate), pieces):
            self.speech.give(playout, piece, end=False)
        self.speech.give(playout, sound(0, 0, rate), end=True)
        return playout

    def finals(self) -> list[tuple[int, float, str, str | None]]:
        return [
            (each.stream, each.played_ms, each.state, each.reason)
            for each in self.told
            if each.state != "playing"
        ]

    async def wait_over(self) -> None:
        with trio.fail_after(300):
            while self.speech.running:  # noqa: ASYNC110 - the clock is virtual
                await trio.sleep(0.01)


def sound(seconds: float, level: int, rate: int = 16000) -> np.ndarray:
    return np.full(round(seconds * rate), level, np.int16)


@asynccontextmanager
async def speaking(**limits: int) -> AsyncIterator[Speaker]:
    async with trio.open_nursery() as nursery:
        speaker = Speaker(nursery, **limits)
        speaker.began = trio.current_time()
        nursery.start_soon(speaker.mix.run)
        yield speaker
        await speaker.wait_over()
        nursery.cancel_scope.cancel()


async def test_a_playout_of_any_length_is_heard_whole_and_told_of_exactly(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with speaking() as speaker:
        speaker.say(5.0123125, 3, pieces=17)
    (mouth,) = speaker.mix.mouths
    assert mouth.heard == [3] * 80197
    assert speaker.finals() == [(1, 5012.3125, "done", None)]
    assert speaker.counters.playouts == {"done": 1}
    # A tick of 20 ms for each frame, in a row.
    assert [tick for tick, _ in mouth.frames] == list(range(251))


async def test_progress_comes_every_100_ms(autojump_clock: trio.testing.MockClock) -> None:
    async with speaking() as speaker:
        speaker.say(1, 3)
    playing = [each.played_ms for each in speaker.told if each.state == "playing"]
    assert len(playing) in {9, 10}
    assert playing == sorted(set(playing))
    steps = np.diff(speaker.times[: len(playing)])
    assert np.allclose(steps, 0.1)
    assert abs(speaker.told[0].played_ms - 100) <= 20


async def test_playouts_follow_each_other_without_a_gap(autojump_clock: trio.testing.MockClock) -> None:
    async with speaking() as speaker:
        for level in (1, 2, 3):
            speaker.say(0.333, level)
    (mouth,) = speaker.mix.mouths
    assert mouth.heard == [1] * 5328 + [2] * 5328 + [3] * 5328
    assert all(len(frame) == 320 for _, frame in mouth.frames[:-1])
    assert speaker.finals() == [(number, 333, "done", None) for number in (1, 2, 3)]
    # Each is told of when it is over, not when all are.
    ends = [at for at, each in zip(speaker.times, speaker.told, strict=True) if each.state == "done"]
    assert np.allclose(ends, (0.34, 0.68, 1.0), atol=0.021)


async def test_the_end_of_one_is_heard_though_the_next_has_nothing_yet(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with speaking() as speaker:
        speaker.say(0.05, 1)
        later = speaker.open()
        await trio.sleep(1)
        assert speaker.finals() == [(1, 50, "done", None)]
        assert speaker.mix.mouths[0].heard == [1] * 800
        speaker.speech.give(later, sound(0.02, 2), end=True)
    assert speaker.mix.mouths[0].heard == [1] * 800 + [2] * 320


async def test_another_rate_has_another_mouth_when_its_turn_has_come(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with speaking(max_mouths=1) as speaker:
        for rate, level in ((16000, 1), (24000, 2), (24000, 3), (8000, 4)):
            speaker.say(0.1, level, rate)
    assert [(each.rate, each.heard) for each in speaker.mix.mouths] == [
        (16000, [1] * 1600),
        (24000, [2] * 2400 + [3] * 2400),
        (8000, [4] * 800),
    ]
    assert [each.closed for each in speaker.mix.mouths] == [True, True, False]
    assert [each[1:3] for each in speaker.finals()] == [(100, "done")] * 4


async def test_no_more_than_the_lead_is_in_the_mouth(autojump_clock: trio.testing.MockClock) -> None:
    async with speaking() as speaker:
        speaker.say(20, 1, pieces=20)
        (mouth,) = speaker.mix.mouths
        while speaker.speech.playouts:
            assert mouth.queued - mouth.played <= (LEAD_SECONDS + 1) * 16000
            await trio.sleep(0.5)
    assert len(mouth.heard) == 20 * 16000


async def test_clear_silences_all_at_once_and_says_what_was_heard(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with speaking() as speaker:
        for level in (1, 2):
            speaker.say(1, level)
        other = speaker.say(1, 3, 8000)
        await trio.sleep(1.305)
        (mouth,) = speaker.mix.mouths
        before = len(mouth.heard)
        played = await speaker.speech.clear("cleared")
        after = len(mouth.heard)
        assert after == before
        assert played == {2: (after - 16000) / 16, 3: 0}
        assert speaker.speech.played_ms(other) == 0
        await trio.sleep(1)
        assert len(mouth.heard) == after
    assert speaker.finals() == [
        (1, 1000, "done", None),
        (2, played[2], "cleared", "cleared"),
        (3, 0, "cleared", "cleared"),
    ]
    assert len(speaker.mix.mouths) == 1


async def test_what_is_said_right_after_a_clear_is_heard_from_its_beginning(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with speaking() as speaker:
        speaker.say(1, 1)
        await trio.sleep(0.5)
        await speaker.speech.clear("cleared")
        speaker.say(0.1, 2)
    (mouth,) = speaker.mix.mouths
    assert mouth.heard[-1600:] == [2] * 1600
    assert set(mouth.heard[:-1600]) == {1}
    assert speaker.finals()[-1] == (2, 100, "done", None)


async def test_what_is_opened_while_it_is_being_cleared_waits(autojump_clock: trio.testing.MockClock) -> None:
    async with speaking() as speaker:
        speaker.say(1, 1)
        await trio.sleep(0.5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(speaker.speech.clear, "cleared")
            await trio.testing.wait_all_tasks_blocked()
            speaker.say(0.1, 2)
    assert speaker.mix.mouths[0].heard[-1600:] == [2] * 1600
    assert [each[2] for each in speaker.finals()] == ["cleared", "done"]


async def test_a_mouth_that_does_not_answer_is_not_waited_for(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def clear(_: FakeMouth) -> int:
        await trio.sleep_forever()

    monkeypatch.setattr(FakeMouth, "clear", clear)
    async with speaking() as speaker:
        speaker.say(0.5, 1)
        await trio.sleep(0.31)
        (played_ms,) = (await speaker.speech.clear("cleared")).values()
        assert 300 <= played_ms <= 500


async def test_samples_that_come_late_are_a_pause_and_nothing_else(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with speaking() as speaker:
        playout = speaker.open()
        for _ in range(3):
            speaker.speech.give(playout, sound(0.1, 1), end=False)
            await trio.sleep(1)
        told = len(speaker.told)
        await trio.sleep(100)
        assert len(speaker.told) == told
        speaker.speech.give(playout, sound(0.1, 1), end=True)
    assert speaker.mix.mouths[0].heard == [1] * 6400
    assert speaker.finals() == [(1, 400, "done", None)]


async def test_while_nothing_is_said_nobody_wakes(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        speaker = Speaker(nursery)
        speaker.open()
        # No deadline is set by anybody: the clock has nothing to jump to but this.
        await trio.sleep(3600)
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().seconds_to_next_deadline == float("inf")
        nursery.cancel_scope.cancel()


async def test_a_playout_without_samples_is_done_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with speaking() as speaker:
        speaker.say(0, 0)
    assert speaker.finals() == [(1, 0, "done", None)]


async def test_too_much_is_cut_off_after_what_is_in_the_mouth(autojump_clock: trio.testing.MockClock) -> None:
    async with speaking() as speaker:
        playout = speaker.open()
        for _ in range(10):
            speaker.speech.give(playout, sound(1, 1), end=False)
        assert speaker.speech.seconds_unplayed(playout) == 10
        await trio.sleep(1.01)
        assert speaker.speech.seconds_unplayed(playout) == 9
        speaker.speech.overflow(playout)
    heard = len(speaker.mix.mouths[0].heard)
    assert heard in {3 * 16000, 4 * 16000}
    assert speaker.finals() == [(1, heard / 16, "cleared", "play_overflow")]


async def test_closing_ends_all_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with speaking() as speaker:
        speaker.say(1, 1)
        speaker.say(1, 2)
        await trio.sleep(0.51)
        speaker.speech.close("left")
        heard = len(speaker.mix.mouths[0].heard)
        assert speaker.finals() == [(1, heard / 16, "cleared", "left"), (2, 0, "cleared", "left")]
        assert speaker.mix.open_mouths == []


async def test_a_mixer_that_ends_ends_the_playouts(autojump_clock: trio.testing.MockClock) -> None:
    async with speaking() as speaker:
        speaker.say(0.5, 1)
        later = speaker.open()
        await trio.sleep(0.205)
        speaker.mix.close()
        await trio.sleep(0.2)
        assert [each[2:] for each in speaker.finals()] == [("cleared", "failed")] * 2
        assert later not in speaker.speech.playouts


async def test_without_room_for_a_mouth_nothing_is_opened(autojump_clock: trio.testing.MockClock) -> None:
    async with speaking(max_mouths=0) as speaker:
        with pytest.raises(relay.CapacityError):
            speaker.open()
        assert speaker.speech.playouts == ()
        assert not speaker.speech.running


async def test_without_room_when_its_turn_has_come_a_playout_fails(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with speaking() as speaker:
        speaker.say(0.1, 1)
        speaker.say(0.1, 2, 48000)
        speaker.mix.max_mouths = 0
    assert speaker.finals() == [(1, 100, "done", None), (2, 0, "cleared", "failed")]
