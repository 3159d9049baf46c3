"""Tells from marks how far a provider's playout is behind, so that a caller does not hear the lobby later and later.

What we send is played in the order in which it comes. When the network stalls and then delivers all at once, the provider has
a backlog that never goes away, for we send as fast as it plays. So a mark goes with the audio every second; when one does
not come back in time although others did, what waits is cleared. No clock inside.
"""

from collections import deque

MARK_SECONDS = 1.0
#: A mark that is out for longer: the way there and back, and what waits to be played.
BEHIND_SECONDS = 2.0
MARK_PREFIX = "relay-"


class PlayoutWatch:
    """See the module. All times are in seconds, of one clock that does not run backwards."""

    def __init__(self) -> None:
        #: Number of a mark that is out -> when it went.
        self._out: deque[tuple[int, float]] = deque(maxlen=64)
        self._count = 0
        self._next_s = 0.0
        # A provider that never sends marks back says nothing about its playout.
        self._answers = False
        self._cleared = False

    def next_mark(self, now_s: float) -> str | None:
        """Return the name of a mark to send, if one is due."""
        if now_s < self._next_s:
            return None
        self._next_s = now_s + MARK_SECONDS
        self._count += 1
        self._out.append((self._count, now_s))
        return f"{MARK_PREFIX}{self._count}"

    def came_back(self, name_untrusted: str) -> None:
        """Note that a mark came back."""
        digits = name_untrusted.removeprefix(MARK_PREFIX)
        if not (digits.isascii() and digits.isdecimal() and len(digits) < 12):
            return
        while self._out and self._out[0][0] <= int(digits):
            self._out.popleft()
            self._answers = True
        self._cleared = self._cleared and bool(self._out)

    def must_clear(self, now_s: float) -> bool:
        """Tell whether to clear now: once, until the marks that were out have come back."""
        if not self._answers or self._cleared or not self._out:
            return False
        self._cleared = now_s - self._out[0][1] > BEHIND_SECONDS
        return self._cleared
