"""A mixer thread seen from the control plane: its rows, its ports and what it counts."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import trio

from media.mixer.loop import run_mixer
from media.mixer.operations import MixerOperation
from media.mixer.state import MixerCapacity, MixerMemory
from media.mixer.tables import Tally
from media.state import SharedMemory
from relay.command_port import CommandPort

TURN_PORTS: Final = 64
"""Ports attended to between two checkpoints."""


class PortUser(Protocol):
    """Has a port: an ear or a mouth."""

    def attend(self) -> None:
        """Look at the port: the mixer has ticked. Must neither wait nor raise."""


@dataclass(frozen=True)
class MixerStatistics:
    """One mixer, racily read."""

    rows: Mapping[str, int]
    tallies: Mapping[str, int]
    lateness_us: Mapping[int, int]
    """Ticks by how late they began: upper bound in microseconds -> how many since the relay began."""
    latest_ms: float
    busy_s: float
    packets_lost_to_workers: int
    """Packets the ring to a worker had no room for."""


class Mixer(CommandPort[MixerOperation]):
    """One compiled loop that mixes every 20 ms. Its index counts on from those of the workers."""

    title = "mixer"

    def __init__(self, *, index: int, shared: SharedMemory, capacity: MixerCapacity, real_time: bool) -> None:
        wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._event_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.memory = MixerMemory(
            index=index,
            shared=shared,
            capacity=capacity,
            wake_fd=wake_fd,
            event_fd=self._event_fd,
            real_time=real_time,
        )
        super().__init__(
            index=index,
            commands=self.memory.commands,
            cursors=self.memory.command_cursors,
            wake_fd=wake_fd,
            capacity={
                MixerOperation.CLOSE_MIX: capacity.mixes,
                MixerOperation.CLOSE_INPUT: capacity.inputs,
                MixerOperation.CLOSE_OUTPUT: capacity.outputs,
            },
            stop=MixerOperation.STOP,
        )
        self.port_users: dict[PortUser, None] = {}
        """Those to be told of every tick that did something with a port; they come and go by themselves."""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Run the kernel and attend to the ports until cancelled; then stop it, join it and retire all rows."""
        await self._run_thread(
            run_mixer, self.memory.context, "relay mixer", self._attend, task_status=task_status
        )

    def release(self) -> None:
        """Close the descriptors of a mixer that does not run, or no longer. Call once."""
        os.close(self._wake_fd)
        os.close(self._event_fd)
        self.memory.free()

    def wake(self) -> None:
        """Let the mixer look at its ports, should it be asleep or about to be."""
        self._commands_wait.set()

    @property
    def is_running(self) -> bool:
        """Whether ticks may be waited for."""
        return not self.memory.context["stopping"][0]

    def statistics(self) -> MixerStatistics:
        """Counters since the relay began."""
        memory = self.memory
        return MixerStatistics(
            rows=self.rows_in_use(),
            tallies={tally.name.lower(): int(memory.tallies[tally]) for tally in Tally},
            lateness_us={1 << bucket: int(count) for bucket, count in enumerate(memory.lateness)},
            latest_ms=int(memory.context["latest_ns"][0]) / 1e6,
            busy_s=int(memory.context["busy_ns"][0]) / 1e9,
            packets_lost_to_workers=int(np.sum(memory.counters)),
        )

    async def _attend(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._event_fd)
            os.eventfd_read(self._event_fd)
            applied = self._applied()
            for number, user in enumerate(tuple(self.port_users)):
                user.attend()
                if number % TURN_PORTS == TURN_PORTS - 1:
                    await trio.lowlevel.checkpoint()
            self._acknowledge(applied)
