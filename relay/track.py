"""A published track, and the mirrors through which subscribers on other workers get it."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from media.operations import Operation
from media.tables import NONE
from relay.errors import LocalProtocolError
from relay.mirror import CLOCK_RATES_HZ, KINDS, MIRROR_ROWS, TAP_ROWS, Mirror
from relay.source import Kind
from relay.worker import Row, Worker

if TYPE_CHECKING:
    from relay.mix import Mix
    from relay.peer import Peer
    from relay.slots import AudioSlots

MAX_INBOUND_STREAMS: Final = 8
"""SSRCs one track may use, all told; a client that invents more is not heard on them."""

SILENCE_AFTER_NS: Final = 500_000_000
"""A level this old says nothing: the publisher's DTX has stopped sending."""


@dataclass(frozen=True)
class TrackStatistics:
    """Counters of a track since it was published, racily read."""

    packets_received: int
    bytes_received: int
    packets_lost: int
    jitter_ms: float
    subscribers: int


@dataclass(frozen=True)
class _Repair:
    """An RTX stream."""

    row: Row
    repaired_ssrc: int


def _ignore(*_: object) -> None:
    """Do nothing."""


class Track:
    """One audio or video stream a peer publishes, or audio that a mixer makes of a bot's samples (`peer` None).

    Subscribers are attached through `Peer`. A closed track feeds nobody; its rows are free once acknowledged.
    """

    def __init__(
        self,
        *,
        track_id: str,
        kind: Kind,
        label: str,
        peer: "Peer | None",
        worker: Worker,
        stream_id: str = "",
    ) -> None:
        self.id = track_id
        self.kind: Kind = kind
        self.label = label
        self.peer = peer
        self.worker = worker
        self.stream_id = stream_id if peer is None else peer.id
        """See `Source`: tracks of one peer are in step."""
        self.mixes: set[Mix] = set()
        """The mixes it is heard in; kept by them."""
        self.audio_slots: AudioSlots | None = None
        """The slots it may be heard through; kept by them."""
        self.row = worker.open_row(Operation.OPEN_TRACK, Operation.CLOSE_TRACK, (KINDS[kind],))
        self._streams: dict[int, Row] = {}
        self._repairs: dict[int, _Repair] = {}
        self._mirrors: dict[Worker, Mirror] = {}
        self._active: Row | None = None
        self._muted = False
        self.on_mute: Callable[[], None] = _ignore
        """Called when it is muted or heard again; for who makes it of samples."""
        self.on_demand: Callable[[bool], None] = _ignore
        """Called when somebody begins to take it, and when nobody does any more; likewise."""
        self.measure: Callable[[], int] | None = None
        """Tells the level of a track that is made of samples, for it has no packets while nobody takes it."""
        self._routes = 0
        self._in_groups = False
        self._wanted = False
        self.closed = False

    @property
    def muted(self) -> bool:
        """Whether the relay withholds the track from everybody."""
        return self._muted

    def set_muted(self, muted: bool) -> None:
        """Stop or resume forwarding. Subscribers see a pause, not a loss."""
        if self.closed:
            raise LocalProtocolError(f"track {self.id} is closed")
        self._muted = muted
        self.worker.post(Operation.SET_MUTED, self.row.index, (int(muted),))
        for worker, mirror in self._mirrors.items():
            worker.post(Operation.SET_MUTED, mirror.track.index, (int(muted),))
        self.on_mute()

    @property
    def level_dbov(self) -> int:
        """Smoothed RFC 6464 audio level: 0 is the loudest, 127 silence (also when nothing is known)."""
        if self.closed or self._muted:
            return 127
        if self.measure is not None:
            return self.measure()
        level = self.worker.level_dbov(self.row, SILENCE_AFTER_NS)
        return 127 if level is None else level

    @property
    def feed(self) -> "Track":
        """See `Source`."""
        return self

    @property
    def ssrcs(self) -> frozenset[int]:
        """Media SSRCs bound to this track."""
        return frozenset(self._streams)

    def statistics(self) -> TrackStatistics:
        """Counters of all its inbound streams."""
        rows = [self.worker.memory.inbound[row.index] for row in self._streams.values()]
        clock_rate = CLOCK_RATES_HZ[self.kind]
        return TrackStatistics(
            packets_received=sum(int(row["packets"]) for row in rows),
            bytes_received=sum(int(row["bytes"]) for row in rows),
            packets_lost=sum(
                max(0, int(row["highest_sequence"]) - int(row["base_sequence"]) + 1 - int(row["received"]))
                for row in rows
                if row["started"]
            ),
            jitter_ms=max((int(row["jitter_16ths"]) / 16 / clock_rate * 1000 for row in rows), default=0.0),
            subscribers=0 if self.closed else self._count_subscribers(),
        )

    def set_groups(self, group: int, tap_group: int) -> None:
        """Compete in these groups of its worker; for `AudioSlots`."""
        self.worker.post(Operation.SET_GROUPS, self.row.index, (group, tap_group))
        self._in_groups = (group, tap_group) != (NONE, NONE)
        self._tell_demand()

    def open_stream(self) -> Row:
        """Return the row of a stream that is no peer's, for a mixer to send packets to."""
        row = self._open_inbound(0, NONE, repairable=False)
        self._streams[0] = row
        self._active = row
        return row

    def bind_stream(self, ssrc: int, *, repairable: bool) -> bool:
        """Take the packets of `ssrc` as this track's from now on. False when it has used up its SSRCs."""
        if ssrc in self._streams:
            return True
        if len(self._streams) >= MAX_INBOUND_STREAMS:
            return False
        row = self._open_inbound(ssrc, NONE, repairable=repairable)
        self._streams[ssrc] = row
        self._active = row
        for worker, mirror in self._mirrors.items():
            worker.post(Operation.SET_ORIGIN, mirror.inbound.index, (row.index, row.generation))
        return True

    def bind_repair(self, ssrc: int, repaired_ssrc: int) -> None:
        """Take the packets of `ssrc` as RTX (RFC 4588) of a stream bound before."""
        repaired = self._streams.get(repaired_ssrc)
        if repaired is not None and ssrc not in self._repairs and len(self._repairs) < MAX_INBOUND_STREAMS:
            row = self._open_inbound(ssrc, repaired.index, repairable=False)
            self._repairs[ssrc] = _Repair(row, repaired_ssrc)

    def release_streams_except(self, ssrcs: Collection[int], repairs: Mapping[int, int]) -> None:
        """Forget SSRCs a new offer no longer names. `repairs`: RTX SSRC -> the SSRC it repairs."""
        # Repairs first: their rows name those of what they repair, which are given out anew.
        for ssrc, repair in list(self._repairs.items()):
            if repairs.get(ssrc) != repair.repaired_ssrc or repair.repaired_ssrc not in ssrcs:
                self.worker.retire_row(Operation.CLOSE_INBOUND, repair.row)
                del self._repairs[ssrc]
        for ssrc, row in list(self._streams.items()):
            if ssrc not in ssrcs:
                self.worker.retire_row(Operation.CLOSE_INBOUND, row)
                del self._streams[ssrc]
                if row is self._active:
                    self._active = None

    def rows_to_attach(self, worker: Worker) -> Mapping[Worker, Mapping[Operation, int]]:
        """Rows `attach_outbound` would take for `worker`: none, or those of a mirror."""
        if worker is self.worker or worker in self._mirrors:
            return {}
        return {worker: MIRROR_ROWS, self.worker: TAP_ROWS}

    def require_attachable(self, worker: Worker) -> None:
        """Check that `attach_outbound` will succeed.

        Raises: LocalProtocolError when the track is closed, CapacityError when there is no room for a mirror.
        """
        if self.closed:
            raise LocalProtocolError(f"track {self.id} is closed")
        for each, rows in self.rows_to_attach(worker).items():
            each.require(rows)

    def attach_outbound(self, worker: Worker, outbound: Row) -> None:
        """Make this track the source of an outbound stream on `worker`. Raises as `require_attachable`."""
        self.require_attachable(worker)
        source = self.row
        if worker is not self.worker:
            mirror = self._mirrors.get(worker)
            if mirror is None:
                mirror = Mirror.open(self.worker, self.row, worker, self.kind, self._active)
                if self._muted:
                    worker.post(Operation.SET_MUTED, mirror.track.index, (1,))
                self._mirrors[worker] = mirror
            mirror.subscribers += 1
            source = mirror.track
        worker.post(Operation.SET_SOURCE, outbound.index, (source.index,))
        self._routes += 1
        self._tell_demand()

    def detach_outbound(self, worker: Worker, outbound: Row) -> None:
        """Undo `attach_outbound`: the stream is parked."""
        worker.post(Operation.SET_SOURCE, outbound.index, (NONE,))
        self._routes -= 1
        self._tell_demand()
        mirror = self._mirrors.get(worker)
        if worker is not self.worker and mirror is not None:
            mirror.subscribers -= 1
            if mirror.subscribers == 0:
                self._mirrors.pop(worker).close()

    def close(self) -> None:
        """End the track: routes, mirrors and streams. Idempotent."""
        if self.closed:
            return
        self.closed = True
        if self.audio_slots is not None:
            self.audio_slots.remove(self)
        for mix in tuple(self.mixes):
            mix.remove(self)
        for mirror in self._mirrors.values():
            mirror.close()
        self._mirrors.clear()
        self.on_mute = self.on_demand = _ignore
        self.measure = None
        self.release_streams_except((), {})
        self.worker.retire_row(Operation.CLOSE_TRACK, self.row)

    def _tell_demand(self) -> None:
        wanted = self._routes > 0 or self._in_groups
        if wanted != self._wanted:
            self._wanted = wanted
            self.on_demand(wanted)

    def _count_subscribers(self) -> int:
        routes = int(self.worker.memory.tracks["outbound_count"][self.row.index])
        taps = len(self._mirrors) + len(self.mixes)
        return routes - taps + sum(mirror.subscribers for mirror in self._mirrors.values())

    def _open_inbound(self, ssrc: int, repairs: int, *, repairable: bool) -> Row:
        values = (
            NONE if self.peer is None else self.peer.row.index,
            self.row.index,
            ssrc,
            CLOCK_RATES_HZ[self.kind],
            repairs,
            int(repairable),
        )
        return self.worker.open_row(Operation.OPEN_INBOUND, Operation.CLOSE_INBOUND, (*values, NONE, NONE, 0))
