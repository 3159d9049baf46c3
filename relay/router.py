"""The media relay: workers, peers, and what comes between them.

`open_relay` is the only way in. Inside its scope the workers run; leaving it closes every peer, stops the workers,
joins them and frees what they used.
"""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import trio

from media.mixer.state import MixerCapacity
from media.mixer.tables import MAX_WORKERS
from media.state import Capacity, SharedMemory
from media.tables import NONE
from media.warm_up import warm_up
from relay.admission import Admission
from relay.answer import HostCandidate
from relay.certificate import Certificate
from relay.errors import LocalProtocolError
from relay.examination import default_mixers, default_workers
from relay.ice import peek_local_ufrag
from relay.mix import Mix
from relay.mixer import Mixer, MixerStatistics
from relay.overload import OverloadEvent
from relay.peer import Peer, PeerState
from relay.stun import Address
from relay.udp import advertised_addresses, open_udp_socket
from relay.worker import Worker

TIMER_INTERVAL_S: Final = 0.05
"""How often due DTLS retransmissions are looked for while a handshake is under way; the shortest is 200 ms."""

CONSENT_INTERVAL_S: Final = 1.0

_JOINING: Final = frozenset({PeerState.NEW, PeerState.CONNECTING})

MAX_THREADS: Final = 64
"""Workers; as many mixers may be added."""

OVERLOAD_BUFFER: Final = 64
"""Overload events nobody has taken yet; those that do not fit are dropped."""


@dataclass(frozen=True)
class RelayConfig:
    """How to run the relay."""

    host: str = "0.0.0.0"  # noqa: S104 - a media server is there to be reached
    udp_port: int = 0
    """Of the first worker; the others follow. 0: whatever is free."""
    workers: int | None = None
    """Default: one per core but one, at least one."""
    public_addresses: tuple[str, ...] = ()
    """What clients send to. Default: the machine's own addresses, or the bound one."""
    keyframe_interval_ms: int = 500
    """At most one keyframe request per stream and interval reaches a publisher."""
    consent_timeout_s: float = 30.0
    """A peer silent for this long is closed (RFC 7675)."""
    capacity: Capacity = field(default_factory=Capacity)
    certificate: Certificate | None = None
    max_peers: int | None = None
    """Peers of all workers together; a new one beyond is refused. Default: as many as the tables hold."""
    max_outbound_streams: int | None = None
    """Likewise streams to subscribers: while this many are in use, no new peer is taken."""
    mixers: int | None = None
    """Threads that mix. Default: one per eight cores, at least one."""
    mixer_capacity: MixerCapacity = field(default_factory=MixerCapacity)
    real_time: bool = True
    """Whether workers and mixers ask for real-time scheduling while they are not busy, where the system allows it."""


@dataclass(frozen=True)
class WorkerStatistics:
    """One worker, racily read."""

    udp_port: int
    peers: int
    rows: Mapping[str, int]
    verdicts: Mapping[str, int]
    busy_s: float
    busy_share: float
    """Of the last second or so."""
    control_datagrams_dropped: int
    datagrams_dropped: int
    """By the system: the socket's receive buffer was full."""
    shedding: int
    """The grade up to which packets are shed: 0 none, 1 video of who does not speak, 2 all video, 3 quiet audio too."""
    shed_tracks: int
    queue_wait_ms: float
    """The shortest wait in the receive queue, during the last 50 ms."""
    real_time: bool
    """Whether its thread is a real-time one now (`media.priority`)."""


@dataclass(frozen=True)
class RouterStatistics:
    """The whole relay, racily read."""

    peers: int
    tracks: int
    outbound_streams: int
    max_peers: int
    max_outbound_streams: int
    refusal: str | None
    """Why a new peer would be refused now."""
    verdicts: Mapping[str, int]
    workers: tuple[WorkerStatistics, ...]
    mixers: tuple[MixerStatistics, ...]


@asynccontextmanager
async def open_relay(config: RelayConfig | None = None) -> AsyncIterator["Router"]:
    """Run a media relay for the length of a scope.

    Compiles the kernels first if need be, in a thread: up to two minutes once, milliseconds from then on.
    Raises: LocalProtocolError when an address cannot be used or a port is taken.
    """
    config = config or RelayConfig()
    await trio.to_thread.run_sync(warm_up)
    router = Router(config)
    try:
        async with trio.open_nursery() as nursery:
            try:
                for worker in router.workers:
                    await nursery.start(worker.run, router)
                for mixer in router.mixers:
                    await nursery.start(mixer.run)
                nursery.start_soon(router.run_timers)
                yield router
            finally:
                router.close()
                nursery.cancel_scope.cancel()
    finally:
        # Only now: closing peers tells the workers, and some may never have begun to run.
        for worker in router.workers:
            worker.release()
        for mixer in router.mixers:
            mixer.release()


class Router:
    """The relay's public face. Made by `open_relay`; every method runs on the Trio thread and returns at once."""

    def __init__(self, config: RelayConfig) -> None:
        self._config = config
        self._addresses = advertised_addresses(config.host, config.public_addresses)
        self._certificate = config.certificate or Certificate.generate()
        self._peers: dict[str, Peer] = {}
        self._by_ufrag: dict[str, Peer] = {}
        self._by_row: dict[tuple[int, int], Peer] = {}
        self._joining: set[Peer] = set()
        """Those whose handshake may still need its timers; looked at often, so the many who are connected are not in it."""
        self._arrivals = trio.Event()
        self._mixes: set[Mix] = set()
        self._closed = False
        self.unclaimed_checks = 0
        """STUN datagrams that named no peer of the worker they came to."""
        self.workers, self.mixers = _make_threads(config)
        self._admission = Admission(self.workers, config.max_peers, config.max_outbound_streams)
        self._overloads_in, self.overloads = trio.open_memory_channel[OverloadEvent](OVERLOAD_BUFFER)

    @property
    def udp_ports(self) -> tuple[int, ...]:
        """One per worker."""
        return tuple(worker.port for worker in self.workers)

    @property
    def addresses(self) -> tuple[str, ...]:
        """What clients are told to send to."""
        return self._addresses

    @property
    def peers(self) -> Mapping[str, Peer]:
        """Open peers by id."""
        return self._peers

    def add_peer(self, label: str = "", *, replacing: Peer | None = None) -> Peer:
        """Make a peer on the worker that has the most room (`relay.admission`).

        `replacing`: a peer of the same client that the caller is about to close; while it is open, the new one takes
        its place and is not refused for load or budget.
        Raises: CapacityError when the relay takes no new peers now, LocalProtocolError when it is closed.
        """
        if self._closed:
            raise LocalProtocolError("the relay is closed")
        worker = self._admission.choose_worker(
            replacing=replacing is not None and replacing.id in self._peers
        )
        peer = Peer(
            label=label,
            worker=worker,
            certificate=self._certificate,
            candidates=tuple(HostCandidate(address, worker.port) for address in self._addresses),
            announce=self._announce,
            forget=self._forget,
        )
        worker.load += 1
        self._peers[peer.id] = peer
        self._by_row[worker.index, peer.row.index] = peer
        self._joining.add(peer)
        self._arrivals.set()
        return peer

    def open_mix(self) -> Mix:
        """Make a mix on the mixer that has the fewest inputs and outputs.

        Raises: CapacityError when there is no room, LocalProtocolError when the relay is closed.
        """
        if self._closed:
            raise LocalProtocolError("the relay is closed")
        mixer = min(self.mixers, key=lambda each: sum(each.rows_in_use().values()))
        mix = Mix(mixer, self.workers, forget=self._mixes.discard)
        self._mixes.add(mix)
        return mix

    def statistics(self) -> RouterStatistics:
        """Counters of all workers and their sum."""
        workers = tuple(
            WorkerStatistics(
                udp_port=worker.port,
                peers=worker.load,
                rows=worker.rows_in_use(),
                verdicts=worker.verdicts(),
                busy_s=int(worker.memory.context["busy_ns"][0]) / 1e9,
                busy_share=load.busy_share,
                control_datagrams_dropped=worker.control_datagrams_dropped,
                datagrams_dropped=worker.datagrams_dropped(),
                shedding=worker.shedding,
                shed_tracks=worker.shed_tracks,
                queue_wait_ms=worker.queue_wait_ms,
                real_time=worker.is_real_time,
            )
            for worker, load in zip(self.workers, self._admission.loads, strict=True)
        )
        names = workers[0].verdicts
        return RouterStatistics(
            peers=len(self._peers),
            tracks=sum(len(peer.tracks) for peer in self._peers.values()),
            outbound_streams=sum(one.rows["outbound"] for one in workers),
            max_peers=self._admission.max_peers,
            max_outbound_streams=self._admission.max_outbound_streams,
            refusal=self._admission.refusal(),
            verdicts={name: sum(one.verdicts[name] for one in workers) for name in names},
            workers=workers,
            mixers=tuple(mixer.statistics() for mixer in self.mixers),
        )

    def close(self) -> None:
        """Close every peer and mix. `open_relay` does this when its scope is left."""
        self._closed = True
        for mix in tuple(self._mixes):
            mix.close()
        for peer in list(self._peers.values()):
            peer.close("the relay is shutting down")

    def receive_datagram(
        self, worker: Worker, data: bytes, source: Address, peer_row: int, now_ns: int
    ) -> None:
        """See `EventHandler`."""
        if data[0] < 4:
            ufrag = peek_local_ufrag(data)
            peer = self._by_ufrag.get(ufrag) if ufrag is not None else None
            if peer is None or peer.worker is not worker:
                self.unclaimed_checks += 1
            else:
                peer.transport.receive_stun(data, source, now_ns)
            return
        peer = self._by_row.get((worker.index, peer_row)) if peer_row != NONE else None
        if peer is not None:
            peer.transport.receive_dtls(data, now_ns)

    def discover_stream(self, worker: Worker, peer_row: int, ssrc: int, payload_type: int, mid: str) -> None:
        """See `EventHandler`."""
        peer = self._by_row.get((worker.index, peer_row))
        if peer is not None:
            peer.bind_discovered_stream(ssrc, payload_type, mid)

    def tell_overload(self, event: OverloadEvent) -> None:
        """See `EventHandler`."""
        with suppress(
            trio.WouldBlock, trio.BrokenResourceError
        ):  # nobody listens: it is in the statistics as well
            self._overloads_in.send_nowait(event)

    async def run_timers(self) -> None:
        """Retransmit DTLS, close peers that have fallen silent. Sleeps while there are no peers."""
        next_consent = trio.current_time()
        while True:
            if not self._peers:
                self._arrivals = trio.Event()
                await self._arrivals.wait()
            await trio.sleep(TIMER_INTERVAL_S)
            now_ns = time.monotonic_ns()
            self._joining = {peer for peer in self._joining if peer.state in _JOINING}
            for peer in tuple(self._joining):
                due = peer.transport.next_timeout_ns()
                if due is not None and due <= now_ns:
                    peer.transport.handle_timeout(now_ns)
            if trio.current_time() >= next_consent:
                next_consent = trio.current_time() + CONSENT_INTERVAL_S
                self._check_consent(now_ns)
                self._admission.look(now_ns)

    def _check_consent(self, now_ns: int) -> None:
        limit_ns = int(self._config.consent_timeout_s * 1e9)
        for worker in self.workers:
            for row in worker.silent_peers(now_ns - limit_ns):
                peer = self._by_row.get((worker.index, row))
                if peer is None or now_ns - max(peer.created_ns, peer.transport.last_heard_ns()) <= limit_ns:
                    continue
                seconds = f"{self._config.consent_timeout_s:g} s"
                silent = peer.state is PeerState.CONNECTED
                peer.close(f"nothing heard for {seconds}" if silent else f"not connected within {seconds}")

    def _announce(self, peer: Peer, ufrag: str) -> None:
        if peer.ufrags:  # an ICE restart: of all former credentials only the last ones may still be valid
            for stale in set(peer.ufrags).difference(peer.transport.valid_ufrags):
                peer.ufrags.remove(stale)
                del self._by_ufrag[stale]
        self._by_ufrag[ufrag] = peer
        peer.ufrags.append(ufrag)

    def _forget(self, peer: Peer) -> None:
        peer.worker.load -= 1
        del self._peers[peer.id]
        self._joining.discard(peer)
        del self._by_row[peer.worker.index, peer.row.index]
        for ufrag in peer.ufrags:
            del self._by_ufrag[ufrag]


def _make_threads(config: RelayConfig) -> tuple[tuple[Worker, ...], tuple[Mixer, ...]]:
    number = config.workers if config.workers is not None else default_workers()
    if not 1 <= number <= MAX_THREADS:
        raise LocalProtocolError(f"{number} workers asked for; expected 1 to {MAX_THREADS}")
    mixing = config.mixers if config.mixers is not None else default_mixers()
    if not 1 <= mixing <= MAX_WORKERS - MAX_THREADS:
        raise LocalProtocolError(f"{mixing} mixers asked for; expected 1 to {MAX_WORKERS - MAX_THREADS}")
    if config.udp_port and config.udp_port + number > 65536:
        raise LocalProtocolError(f"{number} workers from UDP port {config.udp_port} on run over port 65535")
    shared = SharedMemory(number + mixing, config.capacity)
    workers: list[Worker] = []
    mixers: list[Mixer] = []
    try:
        for index in range(number):
            socket = open_udp_socket(config.host, config.udp_port + index if config.udp_port else 0)
            workers.append(
                Worker(
                    index=index,
                    shared=shared,
                    capacity=config.capacity,
                    socket=socket,
                    keyframe_interval_ns=config.keyframe_interval_ms * 1_000_000,
                    real_time=config.real_time,
                )
            )
        mixers.extend(
            Mixer(
                index=number + index,
                shared=shared,
                capacity=config.mixer_capacity,
                real_time=config.real_time,
            )
            for index in range(mixing)
        )
    except BaseException:
        for worker in workers:
            worker.release()
        for mixer in mixers:
            mixer.release()
        raise
    return tuple(workers), tuple(mixers)
