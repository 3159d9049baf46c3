"""Where what a service heard comes from: its clock counts the audio it was sent, and ours goes on where none was sent."""

from bisect import bisect_right
from collections import deque

#: Breaks that are remembered: results come seconds after their audio.
MAX_BREAKS = 256


class Timeline:
    """Of one connection. The source's clock counts samples, silence and losses included."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._sent = 0
        self._expected: int | None = None
        #: (samples sent before, timestamp of the next) wherever the source's clock jumped
        self._breaks: deque[tuple[int, int]] = deque([(0, 0)], maxlen=MAX_BREAKS)

    @property
    def sent_s(self) -> float:
        """How much audio was sent."""
        return self._sent / self._rate

    def add(self, timestamp: int, samples: int) -> None:
        """Note that so many samples were sent, the first of which has this timestamp."""
        if timestamp != self._expected:
            self._breaks.append((self._sent, timestamp))
        self._sent += samples
        self._expected = timestamp + samples

    def source_ms(self, sent_s: float) -> float:
        """Return the time of the source, in ms since it began, of what was sent at ``sent_s``."""
        position = sent_s * self._rate
        breaks = list(self._breaks)
        at = max(0, bisect_right(breaks, position, key=lambda each: each[0]) - 1)
        before, timestamp = breaks[at]
        return max(0.0, (timestamp + position - before) * 1000 / self._rate)
