"""Who may come in, and where to: the configured budget, and the worker with the most room.

A new peer is refused when the budget is used, or when every worker is overloaded: it sheds, or has been busy for more than
`BUSY_LIMIT` of the time in `BUSY_LOOKS` looks in a row, with sending as a good part of its work (so that a flood from
strangers, which is dropped at the door, keeps nobody out). Peers that are there may renegotiate as they like, and be
replaced by their own client's next connection.

The worker that has most room is the one whose busy share would be lowest with one more peer like those it has, in steps
of a tenth; among equals, the one with the fewest peers. So idle workers are filled evenly, and a worker with few but
costly peers is left alone.
"""

from collections.abc import Sequence
from typing import Final

from media.operations import Operation
from media.verdicts import Verdict
from relay.errors import CapacityError
from relay.worker import Worker

BUSY_LIMIT: Final = 0.95
BUSY_LOOKS: Final = 3
"""Looks are about a second apart."""

BUSY_STEPS: Final = 10
SHORTEST_LOOK_NS: Final = 500_000_000


class WorkerLoad:
    """How busy one worker has been lately."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.busy_share = 0.0
        self._busy_looks = 0
        self._peers = 0
        self._looked_ns: int | None = None
        self._before = self._read()

    @property
    def overloaded(self) -> bool:
        """Whether it should get no more peers."""
        # Nobody looks while there are no peers, and then it is not busy with any.
        return self.worker.shedding > 0 or (self._busy_looks >= BUSY_LOOKS and self.worker.load > 0)

    @property
    def cost(self) -> tuple[int, int]:
        """What is lowest where a new peer should go."""
        growth = (self.worker.load + 1) / self._peers if self._peers else 1
        return int(self.busy_share * growth * BUSY_STEPS), self.worker.load

    def look(self, now_ns: int) -> None:
        """Take the counters of the worker. Looks that follow too closely are left out."""
        if self._looked_ns is not None and now_ns - self._looked_ns < SHORTEST_LOOK_NS:
            return
        before, self._before = self._before, self._read()
        if self._looked_ns is not None:
            busy_ns, received, sent = (b - a for a, b in zip(before, self._before, strict=True))
            self.busy_share = min(1.0, busy_ns / (now_ns - self._looked_ns))
            is_full = self.busy_share > BUSY_LIMIT and 2 * sent >= received
            self._busy_looks = self._busy_looks + 1 if is_full else 0
            self._peers = self.worker.load
        self._looked_ns = now_ns

    def _read(self) -> tuple[int, int, int]:
        memory = self.worker.memory
        sent = int(memory.counters[Verdict.DATAGRAM_SENT])
        return int(memory.context["busy_ns"][0]), int(memory.context["received"][0]), sent


class Admission:
    """Lets peers in. `max_peers` and `max_outbound_streams`: of all workers together; tables are the limit above."""

    def __init__(
        self, workers: Sequence[Worker], max_peers: int | None, max_outbound_streams: int | None
    ) -> None:
        self.loads = tuple(WorkerLoad(worker) for worker in workers)
        peer_rows = sum(worker.capacity_of(Operation.CLOSE_PEER) for worker in workers)
        outbound_rows = sum(worker.capacity_of(Operation.CLOSE_OUTBOUND) for worker in workers)
        self.max_peers = min(peer_rows, max_peers or peer_rows)
        self.max_outbound_streams = min(outbound_rows, max_outbound_streams or outbound_rows)

    def look(self, now_ns: int) -> None:
        """See how busy the workers are; about once a second while there are peers."""
        for load in self.loads:
            load.look(now_ns)

    def refusal(self) -> str | None:
        """Why a new peer would be refused now; None when it is welcome."""
        peers = sum(load.worker.load for load in self.loads)
        if peers >= self.max_peers:
            return f"{peers} of {self.max_peers} peers are connected; try again when some have left"
        streams = sum(load.worker.in_use(Operation.CLOSE_OUTBOUND) for load in self.loads)
        if streams >= self.max_outbound_streams:
            return (
                f"{streams} of {self.max_outbound_streams} outbound streams are in use; "
                "try again when some have ended"
            )
        if all(load.overloaded for load in self.loads):
            busiest = max(load.busy_share for load in self.loads)
            level = max(load.worker.shedding for load in self.loads)
            state = f"sheds media (level {level})" if level else f"is busy {busiest:.0%} of the time"
            return f"every worker is overloaded, one {state}; try again in some seconds, or add workers"
        return None

    def choose_worker(self, *, replacing: bool) -> Worker:
        """The worker for a new peer. `replacing`: it takes the place of one that is there, and is never refused.

        Raises: CapacityError.
        """
        refusal = None if replacing else self.refusal()
        if refusal is not None:
            raise CapacityError(refusal)
        roomy = [load for load in self.loads if not load.worker.is_full(Operation.CLOSE_PEER)]
        calm = [load for load in roomy if not load.overloaded]
        return min(calm or roomy or self.loads, key=lambda load: load.cost).worker
