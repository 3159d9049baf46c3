"""How long sound takes between a person and a bot, and how soon a bot is silent: measured in lobbies of the two of them.

A *click* is 10 ms of a tone in silence. Each lobby has a phase of its own between the person's packets and the mixer's ticks.
"""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from time import monotonic_ns
from typing import Any, Final

import numpy as np
import trio

import voicebot
from bench.ear_peer import EarPeer, Samples, click, open_ear_peer
from bench.lobby import random_lobby
from bench.mix_sound import voice
from bench.peer import SIGNALING_TIMEOUTS, PeerSettings
from bench.progress import Phase
from media.audio.samples import SAMPLE_RATE

BOT_RATE: Final = 16_000
PLAY_RATE: Final = 24_000
LOUD: Final = 0.05  # of full scale: far above what a codec makes of silence, far below a click
APART_S: Final = 0.35
PATIENCE_S: Final = 2.0
TALK_S: Final = 4.0
CLEAR_AFTER_S: Final = 1.0
REST_S: Final = 0.4


@dataclass
class Delays:
    """Everything measured, in ns unless it says otherwise."""

    mouth_to_bot_ns: list[int] = field(default_factory=list)
    bot_to_ear_ns: list[int] = field(default_factory=list)
    clear_ns: list[int] = field(default_factory=list)
    """From the call of `clear` to the arrival of the last packet with anything loud in it."""
    clear_reply_ns: list[int] = field(default_factory=list)
    clear_error_ms: list[float] = field(default_factory=list)
    """What `clear` said was heard, less what the listener recorded."""
    missed: int = 0
    packets: int = 0
    packets_late: int = 0
    """Of the persons', sent more than 5 ms after they were due: what they add is the generator's."""


class Watch:
    """Notes when something loud was heard first, and last, since it was told to look."""

    def __init__(self) -> None:
        self._waiting: trio.Event | None = None
        self.first_ns = 0
        self.last_ns = 0
        self.span_samples = 0
        self._position = 0
        self._first_position: int | None = None

    def look(self) -> trio.Event:
        """Forget what was; the event is set by the next loud sample."""
        self._waiting = trio.Event()
        self._first_position = None
        self.first_ns = self.last_ns = self.span_samples = 0
        return self._waiting

    def hear(self, at_ns: int, samples: Samples) -> None:
        """Look at a frame that arrived at this moment."""
        loud = np.flatnonzero(np.abs(samples) > LOUD)
        if loud.size and self._waiting is not None:
            if self._first_position is None:
                self._first_position = self._position + int(loud[0])
                self.first_ns = at_ns
                self._waiting.set()
            self.last_ns = at_ns
            self.span_samples = self._position + int(loud[-1]) + 1 - self._first_position
        self._position += samples.size


@dataclass
class Couple:
    """A person and a bot, alone in a lobby."""

    person: EarPeer
    bot: voicebot.Connection
    at_bot: Watch
    at_person: Watch


@asynccontextmanager
async def open_couple(settings: PeerSettings, number: int) -> AsyncGenerator[Couple]:
    """Let the two be in a lobby of their own as long as the scope is open. Raises: BenchError, VoicebotError."""
    place = replace(settings, lobby=random_lobby())
    async with AsyncExitStack() as owned:
        person = await owned.enter_async_context(open_ear_peer(place, f"person {number}"))
        bot = await owned.enter_async_context(
            voicebot.connect(place.url, lobby=place.lobby, name=f"bot {number}", timeouts=SIGNALING_TIMEOUTS)
        )
        couple = Couple(person, bot, Watch(), Watch())
        person.heard = couple.at_person.hear
        nursery = await owned.enter_async_context(trio.open_nursery())
        nursery.start_soon(_listen, bot, couple.at_bot)
        # Twice: the first click may come before the bot hears anything.
        for _ in range(2):
            await person.click()
            await trio.sleep(APART_S)
        yield couple
        nursery.cancel_scope.cancel()


async def _listen(bot: voicebot.Connection, watch: Watch) -> None:
    async for frame in bot.mixed(rate=BOT_RATE, frame_ms=20):
        watch.hear(monotonic_ns(), (frame.samples / np.float32(32_768)).astype(np.float32))


async def measure_couple(couple: Couple, rounds: int, clears: int, delays: Delays, advance: Phase) -> None:
    """Click both ways, so many times, then talk and be silent."""
    for _ in range(rounds):
        with trio.move_on_after(PATIENCE_S) as scope:
            loud = couple.at_bot.look()
            sent_ns = await couple.person.click()
            await loud.wait()
            delays.mouth_to_bot_ns.append(couple.at_bot.first_ns - sent_ns)
        delays.missed += scope.cancelled_caught
        await trio.sleep(APART_S)
        with trio.move_on_after(PATIENCE_S) as scope:
            loud = couple.at_person.look()
            asked_ns = monotonic_ns()
            await couple.bot.play(_as_int16(click()[:: SAMPLE_RATE // PLAY_RATE]), rate=PLAY_RATE)
            await loud.wait()
            delays.bot_to_ear_ns.append(couple.at_person.first_ns - asked_ns)
        delays.missed += scope.cancelled_caught
        await trio.sleep(APART_S)
        advance(len(delays.bot_to_ear_ns) + len(delays.clear_ns))
    for _ in range(clears):
        with trio.move_on_after(PATIENCE_S + TALK_S) as scope:
            await _clear(couple, delays)
        delays.missed += scope.cancelled_caught
        advance(len(delays.bot_to_ear_ns) + len(delays.clear_ns))


async def _clear(couple: Couple, delays: Delays) -> None:
    """Say something loud, be silent in the middle of it, and see what was heard."""
    watch = couple.at_person
    moments = np.arange(round(TALK_S * PLAY_RATE)) / PLAY_RATE
    loud = watch.look()
    await couple.bot.play(_as_int16(0.5 * np.sin(2 * np.pi * 1_000 * moments)), rate=PLAY_RATE)
    await loud.wait()
    await trio.sleep(CLEAR_AFTER_S)
    asked_ns = monotonic_ns()
    played_ms = await couple.bot.clear()
    delays.clear_reply_ns.append(monotonic_ns() - asked_ns)
    await trio.sleep(REST_S)
    delays.clear_ns.append(max(0, watch.last_ns - asked_ns))
    delays.clear_error_ms.append(played_ms - watch.span_samples * 1_000 / SAMPLE_RATE)


def _as_int16(samples: Any) -> np.ndarray[Any, np.dtype[np.int16]]:
    return np.rint(samples * 32_767).astype(np.int16)


async def measure_delays(
    settings: PeerSettings, *, couples: int, rounds: int, clears: int, phase: Phase
) -> Delays:
    """Measure in so many lobbies at the same time."""
    delays = Delays()
    async with AsyncExitStack() as owned:
        pairs = [await owned.enter_async_context(open_couple(settings, number)) for number in range(couples)]
        async with trio.open_nursery() as nursery:
            for pair in pairs:
                nursery.start_soon(partial(measure_couple, pair, rounds, clears, delays, phase))
        delays.packets = sum(pair.person.sent for pair in pairs)
        delays.packets_late = sum(pair.person.sent_late for pair in pairs)
    return delays


def speech_pcm(seconds: float, rate: int, seed: int) -> bytes:
    """Return s16le of somebody who talks."""
    sound = voice(round(seconds * SAMPLE_RATE), seed)[:: SAMPLE_RATE // rate]
    return _as_int16(sound).tobytes()
