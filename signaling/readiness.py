"""Whether the service should be given new clients: what ``/api/system/live`` and ``/api/system/ready`` answer.

- *live*: the process answers at all. Whoever restarts programs asks this, and nothing deeper: a restart mends neither a
  database nor an overload, and ends every call.
- *ready*: new clients will be served well. Load balancers ask this. Each check says ``ready``, ``degraded`` (served, with
  something missing or slow; still 200) or ``down`` (give new clients to another server; 503), and why. The worst counts.

A store that does not answer is *degraded*: calls are the service's purpose and go on without it. The checks are pure;
``Readiness`` gathers what they judge.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import relay
from signaling.disk import Disk, DiskSpace
from signaling.drain import Drain, DrainStatistics
from signaling.loop_lag import LoopLag, LoopLagStatistics
from signaling.storage import StoreHealth, StoreStatistics

#: A busy server writes some 100 MB a day.
LOW_DISK_BYTES = 1024**3
LOW_DISK_SHARE = 0.02
LOW_INODES = 10_000
#: People notice a chat or a mute that takes longer.
SLOW_LOOP_P50_SECONDS = 0.1
#: A client's handshakes time out after a few of these.
DEAD_LOOP_P50_SECONDS = 1.0
#: A single stall is worth a word when it is longer than a keepalive allows.
STALL_SECONDS = 2.0
#: Of the store's queue.
FULL_QUEUE_SHARE = 0.5


class Status(IntEnum):
    """From best to worst."""

    READY = 0
    DEGRADED = 1
    DOWN = 2


@dataclass(frozen=True, slots=True)
class Check:
    """One part's answer; ``figures`` are what it was judged by."""

    name: str
    status: Status
    reason: str | None = None
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReadinessReport:
    """All answers, and the one that counts."""

    checks: tuple[Check, ...]

    @property
    def status(self) -> Status:
        """The worst of all."""
        return max((check.status for check in self.checks), default=Status.READY)

    @property
    def http_status(self) -> int:
        """200 as long as new clients should come here."""
        return 503 if self.status is Status.DOWN else 200

    def content(self) -> dict[str, Any]:
        """Return what the endpoint answers."""
        return {
            "status": self.status.name.lower(),
            "reasons": [f"{check.name}: {check.reason}" for check in self.checks if check.reason],
            "checks": {
                check.name: {
                    "status": check.status.name.lower(),
                    **({"reason": check.reason} if check.reason else {}),
                    **check.figures,
                }
                for check in self.checks
            },
        }


class Readiness:
    """See the module. A part that a service lacks is not asked."""

    def __init__(
        self,
        *,
        router_statistics: Callable[[], relay.RouterStatistics],
        loop_lag: LoopLag,
        drain: Drain,
        store_statistics: Callable[[], StoreStatistics] | None = None,
        disk: Disk | None = None,
    ) -> None:
        self._router_statistics = router_statistics
        self._loop_lag = loop_lag
        self._drain = drain
        self._store_statistics = store_statistics
        self._disk = disk

    async def report(self) -> ReadinessReport:
        """Return the state of all parts. Takes a second at most, when the disk does not answer."""
        return ReadinessReport(tuple(await self._checks()))

    async def _checks(self) -> Iterable[Check]:
        checks = [
            check_drain(self._drain.statistics()),
            check_workers(self._router_statistics()),
            check_loop(self._loop_lag.statistics()),
        ]
        if self._store_statistics is not None:
            checks.append(check_store(self._store_statistics()))
        if self._disk is not None:
            checks.append(check_disk(await self._disk.space()))
        return checks


def live() -> dict[str, str]:
    """Return what ``/api/system/live`` answers: that there is an answer is all it says."""
    return {"status": "live"}


def check_drain(drain: DrainStatistics) -> Check:
    """Judge whether newcomers are wanted."""
    if not drain.draining:
        return Check("drain", Status.READY)
    assert drain.since is not None
    since = drain.since.isoformat(timespec="seconds")
    reason = f"draining since {since}" + (f": {drain.reason}" if drain.reason else "")
    return Check("drain", Status.DOWN, reason, {"since": since})


def check_workers(statistics: relay.RouterStatistics) -> Check:
    """Judge whether the media workers have room for newcomers."""
    shedding = [index for index, worker in enumerate(statistics.workers) if worker.shedding]
    figures = {"workers": len(statistics.workers), "overloaded": len(shedding), "peers": statistics.peers}
    if not statistics.workers:
        return Check("workers", Status.DOWN, "no media worker runs", figures)
    if statistics.refusal is not None:
        return Check("workers", Status.DOWN, f"new clients get no media: {statistics.refusal}", figures)
    if shedding:
        which = ", ".join(str(index) for index in shedding)
        reason = f"overloaded, shedding packets: worker {which} of {len(statistics.workers)} (counted from 0)"
        return Check("workers", Status.DEGRADED, reason, figures)
    return Check("workers", Status.READY, figures=figures)


def check_loop(lag: LoopLagStatistics) -> Check:
    """Judge whether the control plane keeps up."""
    figures = {
        "p50_ms": round(lag.p50_seconds * 1000, 2),
        "p99_ms": round(lag.p99_seconds * 1000, 2),
        "max_ms": round(lag.max_seconds * 1000, 2),
    }
    if lag.p50_seconds >= DEAD_LOOP_P50_SECONDS:
        return Check("loop", Status.DOWN, f"tasks run {figures['p50_ms']:g} ms late (median)", figures)
    if lag.p50_seconds >= SLOW_LOOP_P50_SECONDS:
        return Check("loop", Status.DEGRADED, f"tasks run {figures['p50_ms']:g} ms late (median)", figures)
    if lag.max_seconds >= STALL_SECONDS:
        reason = f"all tasks stood still for {figures['max_ms']:g} ms within the last ten seconds"
        return Check("loop", Status.DEGRADED, reason, figures)
    return Check("loop", Status.READY, figures=figures)


def check_store(store: StoreStatistics) -> Check:
    """Judge whether what is acknowledged can be kept."""
    figures = {
        "health": store.health.value,
        "queued": store.queued,
        "capacity": store.capacity,
        "dropped": store.dropped,
    }
    fault = f": {store.fault}" if store.fault else ""
    if store.health is StoreHealth.REFUSING:
        reason = f"the queue of {store.capacity} changes is full; what must be kept is refused{fault}"
        return Check("storage", Status.DEGRADED, reason, figures)
    if store.health is StoreHealth.WAITING:
        reason = f"the database does not answer; {store.queued} changes wait{fault}"
        return Check("storage", Status.DEGRADED, reason, figures)
    if store.queued >= store.capacity * FULL_QUEUE_SHARE:
        reason = f"the database is slow: {store.queued} of {store.capacity} changes wait"
        return Check("storage", Status.DEGRADED, reason, figures)
    return Check("storage", Status.READY, figures=figures)


def check_disk(space: DiskSpace) -> Check:
    """Judge whether there is room for what is kept."""
    if space.fault is not None:
        return Check("disk", Status.DEGRADED, space.fault)
    share = space.free_bytes / space.size_bytes if space.size_bytes else 0.0
    figures = {"free_bytes": space.free_bytes, "free_share": round(share, 4)}
    if space.free_bytes < LOW_DISK_BYTES and share < LOW_DISK_SHARE:
        reason = f"{space.free_bytes // 1024**2} MiB left ({share:.1%}): the database will refuse to grow"
        return Check("disk", Status.DEGRADED, reason, figures)
    if space.free_inodes is not None and space.free_inodes < LOW_INODES:
        return Check("disk", Status.DEGRADED, f"{space.free_inodes} files may still be created", figures)
    return Check("disk", Status.READY, figures=figures)
