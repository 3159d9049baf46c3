"""Lobbies that are kept open by nobody but bots, and since when. No clock inside.

A lobby that was made by who entered it vanishes with its last participant; without this, a bot that nobody stops would
keep it for ever. Persistent lobbies are none of those: bots may wait in them.
"""

import math


class LonelyLobbies:
    """See the module. Times in seconds."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        #: lobby id -> when its bots are to leave.
        self._due: dict[str, float] = {}

    def note(self, lobby_id: str, now: float, *, lonely: bool) -> bool:
        """Note how a lobby is now; tell whether it has become lonely."""
        if not lonely:
            self._due.pop(lobby_id, None)
        elif lobby_id not in self._due:
            self._due[lobby_id] = now + self._patience_s
            return True
        return False

    def forget(self, lobby_id: str) -> None:
        """Note that a lobby is no more."""
        self._due.pop(lobby_id, None)

    def next_timeout(self) -> float:
        """Return when ``overdue`` has something to say."""
        return min(self._due.values(), default=math.inf)

    def overdue(self, now: float) -> tuple[str, ...]:
        """Return the lobbies that were lonely for too long, once."""
        found = tuple(lobby_id for lobby_id, due in self._due.items() if due <= now)
        for lobby_id in found:
            del self._due[lobby_id]
        return found
