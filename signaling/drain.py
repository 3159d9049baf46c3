"""Emptying a server before it is stopped: who is here goes on, nobody new is taken.

An administrator begins it and may end it again. What takes new sessions, lobbies or bots asks ``refusal`` first; a
WebSocket is closed with 1013 and this reason.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import trio

DRAINING = "draining"
_MAX_REASON = 200


@dataclass(frozen=True, slots=True)
class DrainStatistics:
    """Whether the server drains, since when and why; for readiness, metrics and the admin API."""

    draining: bool
    since: datetime | None
    reason: str | None
    #: New sessions turned away, ever.
    refused: int


class Drain:
    """See the module."""

    def __init__(self) -> None:
        self._since: datetime | None = None
        self._reason = ""
        self._refused = 0
        self._changed = trio.Event()

    @property
    def active(self) -> bool:
        """Whether the server drains."""
        return self._since is not None

    def begin(self, reason: str = "") -> bool:
        """Take nobody new from now on; tell whether that changed anything. The reason of the first call stays."""
        if self._since is not None:
            return False
        self._since, self._reason = datetime.now(UTC), reason[:_MAX_REASON]
        self._announce()
        return True

    def end(self) -> bool:
        """Take new sessions again; tell whether that changed anything."""
        if self._since is None:
            return False
        self._since, self._reason = None, ""
        self._announce()
        return True

    def refusal(self) -> str | None:
        """Return what a newcomer is told, and count it; None: it may come in."""
        if self._since is None:
            return None
        self._refused += 1
        return f"{DRAINING}: {self._reason}" if self._reason else f"{DRAINING}: this server takes nobody new"

    async def wait_changed(self) -> None:
        """Wait until draining begins or ends."""
        await self._changed.wait()

    def statistics(self) -> DrainStatistics:
        """Return how it stands."""
        return DrainStatistics(self.active, self._since, self._reason or None, self._refused)

    def _announce(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
