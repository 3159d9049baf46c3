"""Token buckets by key, in bounded memory: how often each of many may do something. No clock inside.

When there are more keys than places, the key that was used longest ago is forgotten. A bucket that has filled up
again is worth as much as a forgotten one, so with enough places nothing is lost; ``forgotten_early`` counts the others.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

#: An entry is some 300 bytes.
DEFAULT_CAPACITY = 10_000


@dataclass(frozen=True, slots=True)
class Rate:
    """``burst`` at once and ``per_second`` in the long run."""

    burst: int
    per_second: float


@dataclass(frozen=True, slots=True)
class Allowance:
    """What was granted, and the figures a client may be told."""

    allowed: bool
    limit: int
    remaining: int
    #: Until the bucket is full again.
    full_in_seconds: float
    #: Until the next one would be granted; 0 when this one was.
    retry_after_seconds: float


class Allowances:
    """See the module. ``now`` is in seconds on any clock that does not run backwards."""

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        self.forgotten_early = 0
        self._capacity = capacity
        self._buckets: OrderedDict[Hashable, tuple[float, float, Rate]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: Hashable, rate: Rate, now: float) -> Allowance:
        """Take one token of this key's if there is one."""
        tokens = self._tokens(key, rate, now)
        allowed = tokens >= 1
        if allowed:
            tokens -= 1
        self._keep(key, tokens, rate, now)
        return Allowance(
            allowed=allowed,
            limit=rate.burst,
            remaining=int(tokens),
            full_in_seconds=(rate.burst - tokens) / rate.per_second,
            retry_after_seconds=0.0 if allowed else (1 - tokens) / rate.per_second,
        )

    def give_back(self, key: Hashable, rate: Rate, now: float) -> None:
        """Undo a ``take`` that turned out not to count."""
        if key in self._buckets:
            self._keep(key, min(rate.burst, self._tokens(key, rate, now) + 1), rate, now)

    def _tokens(self, key: Hashable, rate: Rate, now: float) -> float:
        tokens, last, _ = self._buckets.get(key, (rate.burst, now, rate))
        return min(rate.burst, tokens + max(0.0, now - last) * rate.per_second)

    def _keep(self, key: Hashable, tokens: float, rate: Rate, now: float) -> None:
        self._buckets[key] = (tokens, now, rate)
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._capacity:
            _, (left, last, former) = self._buckets.popitem(last=False)
            self.forgotten_early += left + (now - last) * former.per_second < former.burst
