"""What a line says, into a mouth that a test ticks; in virtual time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
import trio
import trio.testing
from fake_mix import FakeMix, FakeMouth
from phone_parts import PATIENCE_SECONDS

from signaling.telephony import LineOverflowError
from signaling.telephony.line import Samples
from signaling.telephony.line_speech import LEAD_SECONDS, MAX_WAITING_SECONDS, LineSpeech

RATE = 8000


def ramp(first: int, size: int) -> Samples:
    """Return samples that tell their places."""
    return (np.arange(first, first + size) % 32_000).astype(np.int16)


@asynccontextmanager
async def speaking(*, is_ticking: bool = True) -> AsyncIterator[tuple[LineSpeech, FakeMouth]]:
    mix = FakeMix()
    mouth = mix.open_mouth(rate=RATE)
    speech = LineSpeech(mouth, live=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(speech.run)
        if is_ticking:
            nursery.start_soon(mix.run)
        with trio.fail_after(2 * MAX_WAITING_SECONDS):
            yield speech, mouth
        nursery.cancel_scope.cancel()


async def test_five_minutes_may_wait_and_no_more(autojump_clock: object) -> None:
    async with speaking(is_ticking=False) as (speech, mouth):
        size = MAX_WAITING_SECONDS * RATE
        assert speech.give(ramp(0, size)) == size
        assert mouth.queued <= (LEAD_SECONDS + 1) * RATE
        with pytest.raises(LineOverflowError, match="300 s"):
            speech.give(ramp(0, 1))


async def test_more_than_the_mouth_takes_is_played_without_a_gap(autojump_clock: object) -> None:
    async with speaking() as (speech, mouth):
        size = 20 * RATE
        await speech.wait_played(speech.give(ramp(0, size)))
        heard = np.concatenate([frame for _, frame in mouth.frames])
        assert np.array_equal(heard, ramp(0, size))
        ticks = [tick for tick, _ in mouth.frames]
        assert ticks == list(range(ticks[0], ticks[0] + len(ticks)))


async def test_pieces_of_any_size_are_joined_and_the_end_is_heard(autojump_clock: object) -> None:
    async with speaking() as (speech, mouth):
        given = 0
        for size in (1, 159, 33, 0, 500, 7):
            position = speech.give(ramp(given, size))
            given += size
            assert position == given
        await speech.wait_played(given)
        assert mouth.heard == list(range(given))
        assert speech.played == given
        # What comes later begins anew.
        await speech.wait_played(speech.give(ramp(given, 20)))
        assert mouth.heard == list(range(given + 20))


async def test_a_mark_in_the_middle_is_passed_when_it_is_played(autojump_clock: object) -> None:
    async with speaking() as (speech, mouth):
        speech.give(ramp(0, 20 * RATE))
        await speech.wait_played(5 * RATE)
        assert 5 * RATE <= mouth.played <= 5 * RATE + 2 * 160


async def test_what_is_cleared_is_not_heard_and_who_waits_for_it_goes_on(autojump_clock: object) -> None:
    async with speaking() as (speech, mouth):
        end = speech.give(ramp(0, 100 * RATE))
        released: list[int] = []

        async def wait() -> None:
            await speech.wait_played(end)
            released.append(end)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await speech.wait_played(3 * RATE)
            played = await speech.clear()
        assert played == mouth.played == len(mouth.heard)
        assert 3 * RATE <= played < 4 * RATE
        assert released == [end]
        assert speech.played == end
        after = speech.give(ramp(7, 320))
        assert after == end + 320
        await speech.wait_played(after)
        assert mouth.heard == [*range(played), *range(7, 327)]


async def test_what_is_given_while_it_is_cleared_is_heard_after_that(autojump_clock: object) -> None:
    async with speaking() as (speech, mouth):
        speech.give(ramp(0, RATE))
        await speech.wait_played(1600)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(speech.clear)
            await trio.testing.wait_all_tasks_blocked()
            end = speech.give(ramp(30_000, 160))
        await speech.wait_played(end)
        assert mouth.heard[-160:] == list(range(30_000, 30_160))
        assert len(mouth.heard) < RATE


async def test_clearing_again_and_again_keeps_the_positions(autojump_clock: object) -> None:
    async with speaking() as (speech, mouth):
        given = 0
        for _ in range(20):
            given = speech.give(ramp(0, RATE)) if given == 0 else speech.give(ramp(given, RATE))
            await speech.wait_played(given - RATE // 2)
            played = await speech.clear()
            assert given - RATE < played < given
            await speech.wait_played(given)
        assert len(mouth.heard) == pytest.approx(10 * RATE, abs=20 * 3 * 160)


async def test_one_that_is_closed_releases_those_who_wait(autojump_clock: object) -> None:
    async with speaking(is_ticking=False) as (speech, mouth):
        end = speech.give(ramp(0, 100 * RATE))
        with trio.fail_after(PATIENCE_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(speech.wait_played, end)
                nursery.start_soon(speech.wait_played, 160)
                await trio.testing.wait_all_tasks_blocked()
                speech.close()
                mouth.close()


async def test_a_mouth_that_is_lost_ends_it(autojump_clock: object) -> None:
    async with speaking(is_ticking=False) as (speech, mouth):
        end = speech.give(ramp(0, 160))
        await trio.testing.wait_all_tasks_blocked()
        mouth.close()
        with trio.fail_after(PATIENCE_SECONDS):
            await speech.wait_played(end)
        assert speech.closed
