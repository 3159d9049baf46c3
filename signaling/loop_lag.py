"""How late the Trio thread runs its tasks: the delay of a task that asks to be woken at set times.

When this grows, everything the control plane does grows with it: replies, events, handshakes. Media is forwarded by
threads of its own and is not delayed.
"""

from collections import deque
from dataclasses import dataclass

import trio

#: 20 wake-ups a second cost some 0.05 % of a core; a stall longer than this is always seen.
INTERVAL_SECONDS = 0.05
#: What the statistics look back on.
WINDOW_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class LoopLagStatistics:
    """Delays of the last ten seconds, in seconds; zero as long as nothing was measured."""

    p50_seconds: float
    p99_seconds: float
    max_seconds: float
    #: Since the start, all delays together; as a counter, it tells of stalls between two looks.
    total_seconds: float


class LoopLag:
    """See the module. Constant memory: as many delays as fit into the window."""

    def __init__(
        self, *, interval_seconds: float = INTERVAL_SECONDS, window_seconds: float = WINDOW_SECONDS
    ) -> None:
        self._interval = interval_seconds
        self._window = window_seconds
        #: (when it was woken, how late). A delayed loop measures less often, so there is always room.
        self._delays: deque[tuple[float, float]] = deque(maxlen=round(window_seconds / interval_seconds))
        self._total = 0.0
        self._due: float | None = None

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            self._due = trio.current_time() + self._interval
            await trio.sleep_until(self._due)
            now = trio.current_time()
            self._delays.append((now, now - self._due))
            self._total += now - self._due

    def statistics(self) -> LoopLagStatistics:
        """Return the delays of the last ten seconds. Who calls while the task is overdue is told of that too.

        Cost: some 20 µs.
        """
        now = trio.current_time()
        recent = [late for when, late in self._delays if now - when <= self._window]
        if self._due is not None and now > self._due:
            recent.append(now - self._due)
        recent.sort()
        if not recent:
            return LoopLagStatistics(0.0, 0.0, 0.0, self._total)
        last = len(recent) - 1
        return LoopLagStatistics(recent[last // 2], recent[round(last * 0.99)], recent[last], self._total)
