"""The load generator's Python half: makes the arrays of the compiled loop, runs it in a thread, reads its results.

One `Generator` serves all runs over the same peers (a search for the highest rate makes many): sockets, SRTP sessions
and sequence numbers go on from run to run, counters start anew.
"""

import select
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic_ns
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import trio

from bench.histogram import BUCKETS, Int64Array
from bench.loop import CONTROL_BYTES, Load, run_load
from bench.machine import pinned_thread
from bench.native import EPOLL_EVENT
from bench.options import SPIN_FOREVER_NS
from bench.payload import PayloadKind, frame_ticks, make_template
from bench.tables import (
    CONSENT_BYTES,
    CONTROL_CONSENT,
    CONTROL_CONSENT_NS,
    CONTROL_STOP,
    CONTROL_WORDS,
    ENDPOINT,
    EVENT_BATCH,
    FLOW,
    PROBE,
    PUBLISHER,
    RECEIVE_BATCH,
    RECEIVE_SLOT_BYTES,
    SCHEDULE,
    SLOT_BYTES,
    Counter,
    Series,
)
from media.native import IOVEC, MMSGHDR, POLLFD, SEGMENT_CONTROL, TIMESPEC
from relay.scheduling import favoured

CONSENT_INTERVAL_NS: Final = 5_000_000_000  # per peer, RFC 7675 section 5.1
DRAIN_NS: Final = 500_000_000
START_DELAY_NS: Final = 20_000_000  # for the thread to start before the first deadline


@dataclass(frozen=True)
class Sender:
    """One publisher as the loop sees it."""

    fd: int
    session: int
    ssrc: int
    payload_type: int
    consent: bytes = b""


@dataclass(frozen=True)
class Receiver:
    """One subscriber as the loop sees it."""

    fd: int
    session: int
    consent: bytes = b""


@dataclass(frozen=True)
class Traffic:
    """What is sent: `rate` packets/s from each publisher, each an RTP packet of `size` bytes before SRTP.

    `burst` of them leave back to back, as the packets of a video frame do, and then none until the next are due.
    """

    rate: float
    size: int
    ramp_s: float
    duration_s: float
    kind: PayloadKind = PayloadKind.AUDIO
    burst: int = 1


@dataclass(frozen=True)
class LoopResult:
    """What one run of the loop counted. Delivered, lost and latency are of packets sent after the ramp."""

    traffic: Traffic
    started_ns: int
    counters: dict[Counter, int]
    sent: int
    expected: int
    delivered: int
    latencies: Int64Array
    series: Int64Array

    @property
    def lost(self) -> int:
        """Packets a subscriber should have received, and did not."""
        return self.expected - self.delivered

    @property
    def window_s(self) -> float:
        """From the end of the ramp to the last delivery, and not less than the sending took."""
        begin = self.started_ns + round(self.traffic.ramp_s * 1e9)
        end = max(begin + self.traffic.duration_s * 1e9, self.counters[Counter.LAST_DELIVERY_NS])
        return (end - begin) / 1e9

    @property
    def delivered_per_s(self) -> float:
        """Rate at which they were delivered: a relay with a backlog gets no credit for the time it still needed."""
        return self.delivered / self.window_s

    @property
    def busy_share(self) -> float:
        """Share of the loop's time in which it had something to send or to receive."""
        elapsed = self.counters[Counter.FINISHED_NS] - self.started_ns + START_DELAY_NS
        return 1 - self.counters[Counter.IDLE_NS] / elapsed


class Run:
    """One run in progress. Its counters may be read at any time; `result` waits until it is over."""

    def __init__(self, load: Load, traffic: Traffic) -> None:
        self.traffic = traffic
        self.started_ns = int(load.schedule[0]["start_ns"])
        self._load = load
        self._finished = trio.Event()

    def count(self, counter: Counter) -> int:
        """Return a counter's value now."""
        return int(self._load.counters[counter])

    def latencies(self) -> Int64Array:
        """Return the histogram as it is now; the difference of two says what was in between."""
        return self._load.latencies.copy()

    def take_longest_gap_ns(self) -> int:
        """Return the longest time any subscriber was without a packet of a publisher, since the last call."""
        gaps = self._load.flows["gap_ns"]
        longest = int(gaps.max(initial=0))
        gaps[:] = 0
        return longest

    def finish(self) -> None:
        """Send nothing more. The loop ends when all that was sent has come back, or nothing more comes."""
        self._load.schedule["total_packets"] = 0

    async def wait_finished(self) -> None:
        """Wait until the loop has sent everything and nothing more comes back."""
        await self._finished.wait()

    async def result(self) -> LoopResult:
        """Wait for the end, and return what was counted."""
        await self._finished.wait()
        load = self._load
        sent = int(load.publishers["sent"].sum())
        return LoopResult(
            traffic=self.traffic,
            started_ns=self.started_ns,
            counters={counter: int(load.counters[counter]) for counter in Counter},
            sent=sent,
            expected=sent * load.flows.shape[0],
            delivered=int(load.flows["delivered"].sum()),
            latencies=load.latencies.copy(),
            series=load.series.copy(),
        )

    async def _run(self, cpu: int | None) -> None:
        def thread() -> None:
            # Where the loop shares its core with handshakes, it must not wait for them. One that never sleeps would
            # leave them nothing, were it a real-time thread.
            sleeps = self._load.schedule["spin_ns"][0] == 0
            with pinned_thread(cpu), favoured(real_time=bool(sleeps)):
                run_load(self._load)

        await trio.to_thread.run_sync(thread, thread_name="bench loop")
        self._finished.set()


class Generator:
    """The arrays, the epoll set and the thread of the compiled loop. A context manager: closing it frees the epoll set.

    *Owns*: nothing of the peers. Their sockets and sessions must outlive every run, and be touched by nobody meanwhile.
    """

    def __init__(
        self, senders: Sequence[Sender], receivers: Sequence[Receiver], cpu: int | None = None
    ) -> None:
        self._senders = tuple(senders)
        self._cpu = cpu
        self._subscribers = len(receivers)
        self._publishers = np.zeros(len(senders), PUBLISHER)
        self._publishers["session"] = [sender.session for sender in senders]
        self._publishers["fd"] = [sender.fd for sender in senders]
        peers: list[Sender | Receiver] = [*receivers, *senders]
        self._endpoints = np.zeros(len(peers), ENDPOINT)
        self._endpoints["fd"] = [peer.fd for peer in peers]
        self._endpoints["session"] = [receiver.session for receiver in receivers] + [0] * len(senders)
        self._endpoints["subscriber"] = [*range(len(receivers)), *([-1] * len(senders))]
        self._endpoints["consent_length"] = [len(peer.consent) for peer in peers]
        self._consents = np.zeros((len(peers), CONSENT_BYTES), np.uint8)
        self._endpoint_of_fd = np.full(max(peer.fd for peer in peers) + 1, -1, np.int32)
        self._consent_row = 0  # whose turn it is: a short run does not get round to everybody
        self._epoll = select.epoll()
        for row, peer in enumerate(peers):
            self._consents[row, : len(peer.consent)] = np.frombuffer(peer.consent, np.uint8)
            self._endpoint_of_fd[peer.fd] = row
            self._epoll.register(peer.fd, select.EPOLLIN | select.EPOLLET)
        self._received = np.zeros((RECEIVE_BATCH, RECEIVE_SLOT_BYTES), np.uint8)
        self._vectors = np.zeros(RECEIVE_BATCH, IOVEC)
        self._vectors["base"] = self._received.ctypes.data + np.arange(RECEIVE_BATCH) * RECEIVE_SLOT_BYTES
        self._vectors["length"] = RECEIVE_SLOT_BYTES
        self._controls = np.zeros(RECEIVE_BATCH, SEGMENT_CONTROL)
        self._headers = np.zeros(RECEIVE_BATCH, MMSGHDR)
        self._headers["iov"] = self._vectors.ctypes.data + np.arange(RECEIVE_BATCH) * IOVEC.itemsize
        self._headers["iov_count"] = 1
        self._headers["control"] = self._controls.ctypes.data + np.arange(RECEIVE_BATCH) * CONTROL_BYTES
        self._headers["control_length"] = CONTROL_BYTES

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._epoll.close()

    @asynccontextmanager
    async def run(self, traffic: Traffic, spin_ns: int = SPIN_FOREVER_NS) -> AsyncGenerator[Run]:
        """Run the loop in a thread as long as the scope is open, or until it has finished by itself.

        One run at a time. Leaving the scope early, for any reason, stops the loop and joins its thread.
        """
        load = self._load(traffic, spin_ns)
        run = Run(load, traffic)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run._run, self._cpu)  # noqa: SLF001 - one pair of classes
            try:
                yield run
            finally:
                load.control[CONTROL_STOP] = 1
        self._consent_row = int(load.control[CONTROL_CONSENT])

    def _load(self, traffic: Traffic, spin_ns: int) -> Load:
        publishers, senders = self._publishers, self._senders
        publishers["first"] = publishers["sequence"]
        publishers["sent"] = 0
        publishers["length"] = traffic.size
        publishers["ticks"] = frame_ticks(traffic.kind, traffic.rate / traffic.burst)
        flows = np.zeros((self._subscribers, len(senders)), FLOW)
        flows["highest"] = publishers["first"] - 1
        control = np.zeros(CONTROL_WORDS, np.int64)
        schedule = self._schedule(traffic, spin_ns)
        control[CONTROL_CONSENT_NS] = schedule["start_ns"][0]
        control[CONTROL_CONSENT] = self._consent_row
        templates = np.zeros((len(senders), SLOT_BYTES), np.uint8)
        for row, sender in enumerate(senders):
            templates[row, : traffic.size] = make_template(
                traffic.kind, sender.ssrc, sender.payload_type, traffic.size
            )
        seconds = int(traffic.ramp_s + traffic.duration_s) + 2
        return Load(
            schedule=schedule,
            publishers=publishers,
            templates=templates,
            endpoints=self._endpoints,
            endpoint_of_fd=self._endpoint_of_fd,
            flows=flows,
            consents=self._consents,
            events=np.zeros(EVENT_BATCH, EPOLL_EVENT),
            headers=self._headers,
            controls=self._controls,
            received=self._received,
            outgoing=np.zeros(SLOT_BYTES, np.uint8),
            probe=np.zeros(1, PROBE),
            length=np.zeros(1, np.int32),
            timespec=np.zeros(1, TIMESPEC),
            poll=np.zeros(1, POLLFD),
            latencies=np.zeros(BUCKETS, np.int64),
            series=np.zeros((seconds, len(Series)), np.int64),
            counters=np.zeros(len(Counter), np.int64),
            control=control,
        )

    def _schedule(self, traffic: Traffic, spin_ns: int) -> np.ndarray[Any, Any]:
        count, burst = len(self._senders), traffic.burst
        ramp_packets = round(traffic.rate * traffic.ramp_s / 2 / burst) * burst
        packets = max(1, round(traffic.rate * traffic.duration_s / burst)) * burst
        schedule = np.zeros(1, SCHEDULE)
        schedule["start_ns"] = monotonic_ns() + START_DELAY_NS
        schedule["ramp_ns"] = round(traffic.ramp_s * 1e9)
        schedule["ramp_packets"] = ramp_packets * count
        schedule["total_packets"] = (ramp_packets + packets) * count
        schedule["burst"] = burst
        schedule["packet_interval_ns"] = 1e9 / (traffic.rate * count)
        schedule["consent_interval_ns"] = CONSENT_INTERVAL_NS // len(self._endpoints)
        schedule["spin_ns"] = spin_ns
        schedule["drain_ns"] = DRAIN_NS
        schedule["prefix_bytes"] = traffic.kind.prefix_bytes
        schedule["epoll_fd"] = self._epoll.fileno()
        return schedule
