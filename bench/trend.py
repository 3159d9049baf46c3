"""Is a series flat? A straight line by least squares, with how far its slope can be trusted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

WARM_UP_SHARE: Final = 0.2  # of the samples; caches and allocators fill, and that is not what is asked
CERTAINTY: Final = 3.0  # standard errors


@dataclass(frozen=True)
class Trend:
    """A line through a series after its warm-up. NaN where there are too few samples."""

    mean: float
    per_hour: float
    error_per_hour: float  # standard error of the slope, as if samples were independent
    span_s: float

    @property
    def growth(self) -> float:
        """What it rose by over the time that was looked at."""
        return self.per_hour * self.span_s / 3600

    def rises_by(self, allowance: float) -> bool:
        """Whether it rose by more than this over its whole span, beyond what scatter explains."""
        certain = self.per_hour > CERTAINTY * self.error_per_hour
        return bool(certain and self.growth > allowance)


def trend_of(at_s: Sequence[float], values: Sequence[float]) -> Trend:
    """Fit a line; the first fifth does not count."""
    first = math.ceil(WARM_UP_SHARE * len(values))
    x, y = np.asarray(at_s[first:], float), np.asarray(values[first:], float)
    known = np.isfinite(y)
    x, y = x[known], y[known]
    if x.size < 3 or float(np.ptp(x)) == 0:
        mean = float(y.mean()) if y.size else math.nan
        return Trend(mean, math.nan, math.nan, 0)
    slope, start = np.polyfit(x, y, 1)
    scatter = y - (slope * x + start)
    variance = float(scatter @ scatter) / (x.size - 2)
    error = math.sqrt(variance / float(((x - x.mean()) ** 2).sum()))
    return Trend(float(y.mean()), float(slope) * 3600, error * 3600, float(np.ptp(x)))
