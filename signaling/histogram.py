"""How often values fell into fixed ranges, as Prometheus counts them. Constant memory; no clock inside."""

from bisect import bisect_left
from collections.abc import Sequence

#: Seconds from half a millisecond (a quiet loop) to ten seconds (something is very wrong).
LATENCY_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Histogram:
    """Counts of values by upper bounds; what exceeds the last falls into one more, unbounded."""

    __slots__ = ("_bounds", "_counts", "count", "sum")

    def __init__(self, bounds: Sequence[float] = LATENCY_BOUNDS) -> None:
        if not bounds or list(bounds) != sorted(set(bounds)):
            raise ValueError("the bounds of a histogram must ascend, and there must be one")
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self.count = 0
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value; a bound belongs to the range below it."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.count += 1
        self.sum += value

    def cumulative(self) -> list[tuple[str, int]]:
        """Return (upper bound, values at or below it), the last of them ``+Inf``: as Prometheus wants its buckets."""
        total = 0
        rows = []
        for bound, count in zip([*map(str, self._bounds), "+Inf"], self._counts, strict=True):
            total += count
            rows.append((bound, total))
        return rows

    def quantile(self, share: float) -> float:
        """Return the bound at or below which this share of the values lies; infinity beyond the last, 0 of none."""
        wanted = share * self.count
        total = 0
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            total += count
            if total and total >= wanted:
                return bound
        return 0.0
