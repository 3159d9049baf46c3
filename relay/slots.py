"""Audio slots: three streams that carry the loudest speakers of a group of tracks, whoever they are at the time.

Which track goes out through which slot is decided by the workers, packet by packet (`media.slots`). Here is only who takes
part. A group has rows on a worker while somebody listens there; where nobody listens it costs nothing.

With several workers, each worker that has tracks lets them compete for slots of their own (the *offer*), which are mirrored on
every other worker that has listeners. There the mirrors compete with the local tracks for what is heard.
"""

import secrets
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from media.operations import Operation
from media.slots import RELEASE_NS
from media.tables import AUDIO, AUDIO_SLOTS, CNAME_BYTES, NONE
from relay.errors import LocalProtocolError
from relay.mirror import MIRROR_ROWS, TAP_ROWS, Mirror
from relay.source import Kind
from relay.worker import Row, Worker

if TYPE_CHECKING:
    from relay.track import Track

GROUP_ROWS: Final[Mapping[Operation, int]] = {Operation.CLOSE_GROUP: 1, Operation.CLOSE_TRACK: AUDIO_SLOTS}


@dataclass(frozen=True)
class AudioSlotsStatistics:
    """Who takes part, racily read."""

    tracks: int
    subscriptions: int


class AudioSlots:
    """The slots of one group of tracks, for peers to subscribe to.

    They hold nothing while nobody listens, so they need not be closed when all who took part have gone.
    """

    def __init__(self) -> None:
        self.slots = tuple(AudioSlot(self, index) for index in range(AUDIO_SLOTS))
        """What listeners subscribe to. Take all of them: any may carry any speaker."""
        self.closed = False
        self._places: defaultdict[Worker, _Place] = defaultdict(_Place)

    def add(self, track: "Track") -> None:
        """Let a track be heard through the slots. It leaves them by itself when it ends.

        Raises: LocalProtocolError when it has ended, is not audio or is in some slots already; CapacityError when a table is
        full.
        """
        if self.closed:
            raise LocalProtocolError("the audio slots are closed")
        if track.closed or track.kind != "audio" or track.audio_slots is not None:
            raise LocalProtocolError(
                f"track {track.id} cannot be heard through audio slots: it has to be audio, live, and in no others"
            )
        here = track.worker
        listening = [] if self._speaks(here) else self._listening_beside(here)
        _require(self._rows_to_link((here, each) for each in listening))
        self._places[here].tracks[track] = None
        track.audio_slots = self
        for each in listening:
            self._link(here, each)
        self._place_track(track)

    def remove(self, track: "Track") -> None:
        """Undo `add`. Does nothing when the track is not among them."""
        if track.audio_slots is not self:
            return
        place = self._places[track.worker]
        del place.tracks[track]
        track.audio_slots = None
        track.set_groups(NONE, NONE)
        if not place.tracks:
            for each in list(place.mirrors):
                self._unlink(track.worker, each)
        self._tidy(track.worker)

    def close(self) -> None:
        """End the slots: what listeners have of them is parked, the tracks go on. Idempotent."""
        self.closed = True
        for worker in list(self._places):
            for track in list(self._places[worker].tracks):
                self.remove(track)
        for worker, place in list(self._places.items()):
            place.subscriptions = 0
            self._stop_listening(worker)

    @property
    def speakers(self) -> "frozenset[Track]":
        """The tracks that hold a slot anywhere, racily read."""
        return frozenset(
            track
            for worker, place in self._places.items()
            for group in (place.heard, place.offered)
            if group is not None
            for track in place.tracks
            if track.row.index in group.holders(worker)
        )

    def statistics(self) -> AudioSlotsStatistics:
        """How many tracks and subscriptions there are."""
        return AudioSlotsStatistics(
            tracks=sum(len(place.tracks) for place in self._places.values()),
            subscriptions=sum(place.subscriptions for place in self._places.values()),
        )

    def rows_to_attach(self, worker: Worker) -> Mapping[Worker, Mapping[Operation, int]]:
        """See `Feed`."""
        if self._is_heard(worker):
            return {}
        rows = self._rows_to_link((each, worker) for each in self._speaking_beside(worker))
        rows[worker].update(GROUP_ROWS)
        return rows

    def attach(self, slot: int, worker: Worker, outbound: Row) -> None:
        """Feed an outbound stream from a slot. There must be room for it."""
        place = self._places[worker]
        place.subscriptions += 1
        if place.heard is None:
            place.heard = _Group.open(worker)
            for each in self._speaking_beside(worker):
                self._link(each, worker)
            self._place_tracks(worker)
        worker.post(Operation.SET_SOURCE, outbound.index, (place.heard.slots[slot].index,))

    def detach(self, worker: Worker, outbound: Row) -> None:
        """Undo `attach`."""
        worker.post(Operation.SET_SOURCE, outbound.index, (NONE,))
        place = self._places[worker]
        place.subscriptions -= 1
        if place.subscriptions == 0:
            self._stop_listening(worker)

    def _speaks(self, worker: Worker) -> bool:
        return worker in self._places and bool(self._places[worker].tracks)

    def _is_heard(self, worker: Worker) -> bool:
        return worker in self._places and self._places[worker].heard is not None

    def _speaking_beside(self, worker: Worker) -> list[Worker]:
        return [each for each in self._places if each is not worker and self._speaks(each)]

    def _listening_beside(self, worker: Worker) -> list[Worker]:
        return [each for each in self._places if each is not worker and self._is_heard(each)]

    def _stop_listening(self, worker: Worker) -> None:
        for each, place in list(self._places.items()):
            if worker in place.mirrors:
                self._unlink(each, worker)
        place = self._places[worker]
        group, place.heard = place.heard, None
        self._place_tracks(worker)
        if group is not None:
            group.close(worker)
        self._tidy(worker)

    def _rows_to_link(
        self, links: Iterable[tuple[Worker, Worker]]
    ) -> defaultdict[Worker, Counter[Operation]]:
        rows: defaultdict[Worker, Counter[Operation]] = defaultdict(Counter)
        opened: set[Worker] = set()
        for home, worker in links:
            if home not in opened and not (home in self._places and self._places[home].offered):
                opened.add(home)
                rows[home].update(GROUP_ROWS)
            for _ in range(AUDIO_SLOTS):
                rows[home].update(TAP_ROWS)
                rows[worker].update(MIRROR_ROWS)
        return rows

    def _link(self, home: Worker, worker: Worker) -> None:
        """Let those who listen on `worker` hear the best of `home`."""
        place, heard = self._places[home], self._places[worker].heard
        assert heard is not None
        if place.offered is None:
            place.offered = _Group.open(home)
            self._place_tracks(home)
        mirrors = tuple(Mirror.open(home, slot, worker, "audio") for slot in place.offered.slots)
        for mirror in mirrors:
            worker.post(Operation.SET_GROUPS, mirror.track.index, (heard.row.index, NONE))
        place.mirrors[worker] = mirrors

    def _unlink(self, home: Worker, worker: Worker) -> None:
        place = self._places[home]
        for mirror in place.mirrors.pop(worker):
            mirror.close()
        if not place.mirrors and place.offered is not None:
            group, place.offered = place.offered, None
            self._place_tracks(home)
            group.close(home)

    def _place_tracks(self, worker: Worker) -> None:
        for track in self._places[worker].tracks:
            self._place_track(track)

    def _place_track(self, track: "Track") -> None:
        place = self._places[track.worker]
        groups = (NONE if one is None else one.row.index for one in (place.heard, place.offered))
        track.set_groups(*groups)

    def _tidy(self, worker: Worker) -> None:
        place = self._places[worker]
        if not place.tracks and not place.subscriptions and place.heard is None and place.offered is None:
            del self._places[worker]


class AudioSlot:
    """One of the slots: a source like a track, with a speaker in it or none."""

    kind: Kind = "audio"

    def __init__(self, slots: AudioSlots, index: int) -> None:
        self.slots = slots
        self.index = index
        self.stream_id = secrets.token_hex(CNAME_BYTES // 2)
        self.id = f"slot-{index}-{self.stream_id}"

    @property
    def closed(self) -> bool:
        """See `Source`."""
        return self.slots.closed

    @property
    def feed(self) -> AudioSlots:
        """See `Source`: all three share one group."""
        return self.slots

    def require_attachable(self, worker: Worker) -> None:
        """See `Source`."""
        if self.closed:
            raise LocalProtocolError("the audio slots are closed")
        _require(self.slots.rows_to_attach(worker))

    def attach_outbound(self, worker: Worker, outbound: Row) -> None:
        """See `Source`."""
        self.require_attachable(worker)
        self.slots.attach(self.index, worker, outbound)

    def detach_outbound(self, worker: Worker, outbound: Row) -> None:
        """See `Source`."""
        self.slots.detach(worker, outbound)


@dataclass(frozen=True)
class _Group:
    """A row of the groups table, and those of its slots."""

    row: Row
    slots: tuple[Row, ...]

    @classmethod
    def open(cls, worker: Worker) -> "_Group":
        slots = tuple(
            worker.open_row(Operation.OPEN_TRACK, Operation.CLOSE_TRACK, (AUDIO,)) for _ in range(AUDIO_SLOTS)
        )
        values = tuple(slot.index for slot in slots)
        return cls(worker.open_row(Operation.OPEN_GROUP, Operation.CLOSE_GROUP, values), slots)

    def close(self, worker: Worker) -> None:
        """Free it; no track may be in it any more."""
        worker.retire_row(Operation.CLOSE_GROUP, self.row)
        for slot in self.slots:
            worker.retire_row(Operation.CLOSE_TRACK, slot)

    def holders(self, worker: Worker) -> set[int]:
        """Rows of the tracks that hold its slots now, racily read."""
        group = worker.memory.groups[self.row.index]
        now_ns = int(worker.memory.context["now_ns"][0])
        return {
            int(holder)
            for holder, heard_ns in zip(group["holder"], group["heard_ns"], strict=True)
            if now_ns - int(heard_ns) <= RELEASE_NS
        }


@dataclass
class _Place:
    """What one worker has to do with the slots."""

    tracks: "dict[Track, None]" = field(default_factory=dict)
    subscriptions: int = 0
    heard: _Group | None = None
    """What is heard here."""
    offered: _Group | None = None
    """What the other workers are offered of the tracks here."""
    mirrors: dict[Worker, tuple[Mirror, ...]] = field(default_factory=dict)
    """Of the offer, by the worker that has listeners."""


def _require(rows: Mapping[Worker, Mapping[Operation, int]]) -> None:
    for worker, needed in rows.items():
        worker.require(needed)
