"""The stand-in of a track, or of an audio slot, on another worker."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from media.operations import Operation
from media.tables import AUDIO, NONE, VIDEO
from relay.source import Kind
from relay.worker import Row, Worker

KINDS: Final = {"audio": AUDIO, "video": VIDEO}
CLOCK_RATES_HZ: Final = {"audio": 48_000, "video": 90_000}
"""Every codec the relay forwards has the clock rate of its kind."""

MIRROR_ROWS: Final[Mapping[Operation, int]] = {Operation.CLOSE_TRACK: 1, Operation.CLOSE_INBOUND: 1}
"""What a mirror takes on the worker where it stands."""

TAP_ROWS: Final[Mapping[Operation, int]] = {Operation.CLOSE_OUTBOUND: 1}
"""What it takes on the worker it mirrors."""


@dataclass
class Mirror:
    """A track and a stream without a peer, fed by a tap from the worker of the original."""

    home: Worker
    worker: Worker
    track: Row
    inbound: Row
    tap: Row  # the outbound row at home that feeds it
    subscribers: int = 0

    @classmethod
    def open(
        cls, home: Worker, source: Row, worker: Worker, kind: Kind, origin: Row | None = None
    ) -> "Mirror":
        """Mirror the track in row `source` on another worker. `origin`: the stream to ask for keyframes, if known."""
        clock_rate = CLOCK_RATES_HZ[kind]
        asked = origin or Row(NONE, 0)
        track = worker.open_row(Operation.OPEN_TRACK, Operation.CLOSE_TRACK, (KINDS[kind],))
        inbound = worker.open_row(
            Operation.OPEN_INBOUND,
            Operation.CLOSE_INBOUND,
            (NONE, track.index, 0, clock_rate, NONE, 0, home.index, asked.index, asked.generation),
        )
        tap = home.open_row(
            Operation.OPEN_OUTBOUND,
            Operation.CLOSE_OUTBOUND,
            (NONE, 0, 0, 0, clock_rate, worker.index, inbound.index, inbound.generation),
        )
        home.post(Operation.SET_SOURCE, tap.index, (source.index,))
        return cls(home, worker, track, inbound, tap)

    def close(self) -> None:
        """End it; call once."""
        self.home.retire_row(Operation.CLOSE_OUTBOUND, self.tap)
        self.worker.retire_row(Operation.CLOSE_INBOUND, self.inbound)
        self.worker.retire_row(Operation.CLOSE_TRACK, self.track)
