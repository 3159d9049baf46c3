"""A mixer thread of the relay's own, and the compiled loop that plays a worker towards it (`bench.mix_loop`)."""

import os
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns
from typing import Any, Final

import numpy as np
import trio

from bench.compiled_peers import play_until_cancelled
from bench.machine import Pinning
from bench.mix_loop import play_voices
from bench.mix_shape import Shape
from bench.mix_sound import payload_table
from bench.mix_tables import (
    MIX_PLAYER,
    MIX_STREAM,
    MIX_VOICE,
    PlayerTally,
)
from bench.process import sample_process
from media.mixer.inputs import PARK_PACKETS
from media.mixer.operations import MixerOperation
from media.mixer.state import MixerCapacity
from media.mixer.tables import MAX_OWN_INPUTS, MAX_WHISPERS, Tally
from media.native import TIMESPEC
from media.state import COUNTER_WORDS, Capacity, SharedMemory
from media.tables import NONE
from relay.command_port import Row
from relay.mixer import Mixer

THREAD: Final = "relay mixer"
PAUSE_NS: Final = 500_000
PLAYER: Final = 0
MIXER: Final = 1

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class MixSnapshot:
    """Everything that is counted, at one moment."""

    at_ns: int
    cpu_ns: int  # of the mixer's thread
    busy_ns: int  # of the same by the clock: what others took of its core is in it
    tallies: Mapping[str, int]
    lateness: tuple[int, ...]  # ticks, by powers of two of microseconds
    lost_to_workers: int
    player: Mapping[str, int]
    gaps: int
    received_bytes: int


class MixStage:
    """Made by `open_mix_stage`."""

    def __init__(self, shape: Shape, pinning: Pinning) -> None:
        self.shape = shape
        self._pinning = pinning
        self._shared = SharedMemory(2, Capacity())
        rows = shape.all_participants
        self.mixer = Mixer(
            index=MIXER,
            shared=self._shared,
            capacity=MixerCapacity(mixes=shape.lobbies, inputs=rows, outputs=rows),
            real_time=False,  # it is driven to its limit beside a generator
        )
        self._voices: Array = np.zeros(rows, MIX_VOICE)
        self._streams: Array = np.zeros(shape.lobbies + rows, MIX_STREAM)
        self._streams["sequence"] = -1
        self._tallies: Array = np.zeros(len(PlayerTally), np.int64)
        self._counters: Array = np.zeros(COUNTER_WORDS, np.int64)
        self._buffers: dict[str, Array] = {
            "clock": np.zeros(1, TIMESPEC),
            "wake_count": np.ones(1, np.int64),
        }
        self._player: Array = np.zeros(1, MIX_PLAYER)

    async def fill(self) -> None:
        """Open all rows, and return when the mixer has them."""
        shape, mixer = self.shape, self.mixer
        senders = 0
        for lobby in range(shape.lobbies):
            mix = mixer.open_row(MixerOperation.OPEN_MIX, MixerOperation.CLOSE_MIX, (0,))
            mixer.post(MixerOperation.SET_LINK, mix.index, (PLAYER, lobby, 1))
            for place in range(shape.participants):
                talks = place < shape.talkers
                row = self._open_participant(mix, shape.lobbies + lobby * shape.participants + place)
                if talks or shape.sending:
                    self._voices[senders]["input"] = row.index
                    self._voices[senders]["generation"] = row.generation
                    self._voices[senders]["talks"] = talks
                    senders += 1
                if senders % 256 == 0:
                    await trio.lowlevel.checkpoint()
        applied = trio.Event()
        mixer.when_applied(applied.set)
        await applied.wait()
        # As if they had been quiet for a while: else all of them would have to be decoded for the first half second.
        mixer.memory.inputs["quiet_packets"] = PARK_PACKETS
        self._prepare(senders)

    def _open_participant(self, mix: Row, stream: int) -> Row:
        mixer = self.mixer
        voice = mixer.open_row(MixerOperation.OPEN_RTP_INPUT, MixerOperation.CLOSE_INPUT, (mix.index,))
        output = mixer.open_row(
            MixerOperation.OPEN_RTP_OUTPUT,
            MixerOperation.CLOSE_OUTPUT,
            (mix.index, PLAYER, stream, 1, stream, 1),
        )
        own = (voice.index, *[NONE] * (MAX_OWN_INPUTS - 1 + MAX_WHISPERS))
        mixer.post(MixerOperation.SET_OWN, output.index, own)
        return voice

    def _prepare(self, senders: int) -> None:
        table = payload_table(self.shape.all_talkers)
        # Talkers and others in turn: each has a moment of the 20 ms of its own.
        voices = self._voices[:senders]
        np.random.default_rng(1).shuffle(voices)
        talkers = 0
        for voice in voices:
            talkers += int(voice["talks"])
            table.give(voice, talkers if voice["talks"] else None)
        self._buffers |= {"payloads": table.payloads, "payload_lengths": table.lengths}
        shared = self._shared
        fields: dict[str, int] = {
            "worker": PLAYER,
            "workers": shared.workers,
            "taps": shared.taps.ctypes.data,
            "tap_cursors": shared.cursors.ctypes.data,
            "tap_mask": shared.taps.shape[1] - 1,
            "sleep_flags": shared.sleep_flags.ctypes.data,
            "wake_fds": shared.wake_fds.ctypes.data,
            "counters": self._counters.ctypes.data,
            "mixer": MIXER,
            "voices": self._voices.ctypes.data,
            "voice_count": senders,
            "streams": self._streams.ctypes.data,
            "stream_count": self._streams.size,
            "payload_count": table.lengths.size,
            "tallies": self._tallies.ctypes.data,
            "pause_ns": PAUSE_NS,
            **{name: array.ctypes.data for name, array in self._buffers.items()},
        }
        for name, value in fields.items():
            self._player[name] = value

    async def play(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Let all of them send until cancelled."""
        await play_until_cancelled(
            play_voices, self._player, self._pinning.client_cpu, task_status=task_status
        )

    def snapshot(self) -> MixSnapshot:
        """Read all counts, racily."""
        memory = self.mixer.memory
        threads = sample_process(os.getpid()).threads_ns
        return MixSnapshot(
            at_ns=monotonic_ns(),
            cpu_ns=sum(spent for name, spent in threads.items() if name.startswith(THREAD)),
            busy_ns=int(memory.context["busy_ns"][0]),
            tallies={tally.name.lower(): int(memory.tallies[tally]) for tally in Tally},
            lateness=tuple(int(count) for count in memory.lateness),
            lost_to_workers=int(memory.counters.sum()),
            player={tally.name.lower(): int(self._tallies[tally]) for tally in PlayerTally},
            gaps=int(self._streams["gaps"].sum()),
            received_bytes=int(self._streams["bytes"].sum()),
        )


@asynccontextmanager
async def open_mix_stage(shape: Shape, pinning: Pinning) -> AsyncGenerator[MixStage]:
    """Let a mixer mix these lobbies as long as the scope is open. *Owns*: both threads and all their memory."""
    stage = MixStage(shape, pinning)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(stage.mixer.run)
            await stage.fill()
            with _mixer_on_core(pinning.server_cpu):
                async with trio.open_nursery() as players:
                    await players.start(stage.play)
                    yield stage
                    players.cancel_scope.cancel()
            nursery.cancel_scope.cancel()
    finally:
        stage.mixer.release()


@contextmanager
def _mixer_on_core(cpu: int | None) -> Iterator[None]:
    """Keep the mixer's thread on a core. It goes on to do other work, for which it must have its cores back."""
    before = os.sched_getaffinity(0)
    tasks = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # another has ended meanwhile
            if (task / "comm").read_text().strip() == THREAD:
                tasks.append(int(task.name))
    if cpu is not None:
        for number in tasks:
            os.sched_setaffinity(number, {cpu})
    try:
        yield
    finally:
        for number in tasks:
            os.sched_setaffinity(number, before)
