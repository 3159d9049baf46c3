"""Overload of a worker as the control plane tells of it: one event when it begins, one with figures when it is over.

What is shed, and when, is the worker's own affair (`media.overload`); nothing here acts on it but admission.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from media.verdicts import Verdict

SHED_VERDICTS: Final = (
    Verdict.ROUTE_SHED_VIDEO,
    Verdict.ROUTE_SHED_SPEAKER_VIDEO,
    Verdict.ROUTE_SHED_QUIET_AUDIO,
)


@dataclass(frozen=True)
class OverloadBegan:
    """A worker cannot keep up and sheds."""

    worker: int
    wait_ms: float
    """How long packets have waited in its receive queue, at the least."""


@dataclass(frozen=True)
class OverloadEnded:
    """A worker forwards everything again."""

    worker: int
    lasted_s: float
    level: int
    """The highest grade that was shed."""
    shed: Mapping[str, int]
    """Copies of packets that were not sent, by verdict."""


OverloadEvent = OverloadBegan | OverloadEnded


class OverloadWatch:
    """Makes events of what a worker's kernel says. No clock inside."""

    def __init__(self, worker: int) -> None:
        self._worker = worker
        self._began_ns: int | None = None
        self._level = 0
        self._shed_before: Mapping[str, int] = {}

    @property
    def is_quiet(self) -> bool:
        """Whether no overload is under way, as far as has been told."""
        return self._began_ns is None

    def update(
        self, *, level: int, tracks: int, wait_ms: float, shed: Mapping[str, int], now_ns: int
    ) -> OverloadEvent | None:
        """Take the state of a worker: its level of shedding, tracks shed, shortest wait, counters so far."""
        self._level = max(self._level, level)
        if self._began_ns is None and level:
            self._began_ns = now_ns
            return OverloadBegan(self._worker, wait_ms)
        if self._began_ns is not None and not level and not tracks:
            ended = OverloadEnded(
                worker=self._worker,
                lasted_s=(now_ns - self._began_ns) / 1e9,
                level=self._level,
                shed={name: count - self._shed_before.get(name, 0) for name, count in shed.items()},
            )
            self._began_ns, self._level, self._shed_before = None, 0, shed
            return ended
        return None
