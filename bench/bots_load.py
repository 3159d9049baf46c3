"""Many bots at once: each hears its lobby at 16 kHz and speaks without a pause, over a WebSocket of its own (`voicebot.connect`)."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from time import monotonic_ns
from typing import Final

import trio

import voicebot
from bench.bots_delays import BOT_RATE, PLAY_RATE, speech_pcm
from bench.lobby import random_lobby
from bench.machine import kept_to_client
from bench.options import RelayOptions
from bench.peer import SIGNALING_TIMEOUTS
from bench.process import ProcessUsage, sample_process, usage_between
from bench.progress import Phase
from bench.server import RelayServer

CONCURRENT_JOINS: Final = 8
SPEECHES: Final = 4
SPEECH_S: Final = 5.0
PIECE_BYTES: Final = PLAY_RATE * 2  # a second, as speech comes from a service
SETTLE_S: Final = 2.0
FRAME_NS: Final = 20_000_000
TELL_S: Final = 1.0


@dataclass
class BotCounts:
    """What all bots together have heard."""

    frames: int = 0
    gaps: int = 0
    silent: int = 0
    bytes: int = 0
    late_ns: list[int] = field(default_factory=list)
    """Of each frame: how much longer after the bot's soonest one it came than its timestamp says."""


@dataclass(frozen=True)
class BotsLoad:
    """The bots, and what they took of both sides."""

    bots: int
    elapsed_s: float
    relay: ProcessUsage
    client_share: float
    expected: int
    counts: BotCounts
    dropped: int  # by the client: its reader was too slow


class _Listener:
    """One bot's ears."""

    def __init__(self, counts: BotCounts) -> None:
        self._counts = counts
        self._soonest_ns: int | None = None
        self.dropped = 0
        self.counting = False

    async def listen(self, bot: voicebot.Connection) -> None:
        """Read what it hears until cancelled."""
        stream = bot.mixed(rate=BOT_RATE, frame_ms=20)
        async for frame in stream:
            if not self.counting:
                continue
            moment_ns = monotonic_ns() - frame.timestamp * 1_000_000_000 // BOT_RATE
            self._soonest_ns = moment_ns if self._soonest_ns is None else min(self._soonest_ns, moment_ns)
            counts = self._counts
            counts.frames += 1
            counts.bytes += len(frame.pcm)
            counts.gaps += frame.gap
            counts.silent += frame.level >= 127
            counts.late_ns.append(moment_ns - self._soonest_ns)
            self.dropped = stream.dropped


async def run_bots(
    relay: RelayOptions, server: RelayServer, *, bots: int, lobby_size: int, duration_s: float, phase: Phase
) -> BotsLoad:
    """Let so many bots talk and listen for so long. Raises: BenchError, VoicebotError."""
    counts = BotCounts()
    speeches = [speech_pcm(SPEECH_S, PLAY_RATE, seed) for seed in range(SPEECHES)]
    lobbies = [random_lobby() for _ in range(-(-bots // lobby_size))]
    listeners: list[_Listener] = []
    limiter = trio.CapacityLimiter(CONCURRENT_JOINS)

    async with AsyncExitStack() as owned:
        owned.enter_context(kept_to_client(relay.pinning))
        nursery = await owned.enter_async_context(trio.open_nursery())

        async def be_bot(number: int, *, task_status: trio.TaskStatus[None]) -> None:
            async with voicebot.connect(
                server.url,
                lobby=lobbies[number // lobby_size],
                name=f"bot {number}",
                is_bot=True,
                timeouts=SIGNALING_TIMEOUTS,
            ) as bot:
                listener = _Listener(counts)
                listeners.append(listener)
                await bot.play(endless(speeches[number % SPEECHES]), rate=PLAY_RATE)
                task_status.started()
                await listener.listen(bot)

        async def start(number: int) -> None:
            async with limiter:
                await nursery.start(be_bot, number)
            phase(len(listeners) / 2, f"{len(listeners)} bots")

        async with trio.open_nursery() as starting:
            for number in range(bots):
                starting.start_soon(start, number)
        await trio.sleep(SETTLE_S)
        before, own_before = await server.sample(), sample_process(os.getpid())
        for listener in listeners:
            listener.counting = True
        began_s = trio.current_time()
        while (left_s := began_s + duration_s - trio.current_time()) > 0:
            await trio.sleep(min(left_s, TELL_S))
            done = 1 - max(0.0, left_s) / duration_s
            phase(bots / 2 + bots / 2 * done, f"{counts.frames:,} frames heard")
        for listener in listeners:
            listener.counting = False
        elapsed_s = trio.current_time() - began_s
        after, own_after = await server.sample(), sample_process(os.getpid())
        nursery.cancel_scope.cancel()
    return BotsLoad(
        bots=bots,
        elapsed_s=elapsed_s,
        relay=usage_between(before, after),
        client_share=usage_between(own_before, own_after).cpu_share,
        expected=round(bots * elapsed_s * 1e9 / FRAME_NS),
        counts=counts,
        dropped=sum(listener.dropped for listener in listeners),
    )


async def endless(speech: bytes) -> AsyncIterator[bytes]:
    """Say it again and again, a second at a time."""
    while True:
        for start in range(0, len(speech), PIECE_BYTES):
            yield speech[start : start + PIECE_BYTES]
