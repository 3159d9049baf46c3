"""The sessions' shadow in the store: what was last said of each, a batch at a time.

Somebody who joins, renames and leaves within a moment is written once. The first change after a quiet time is handed on
at once; those that follow within ``PAUSE_SECONDS`` wait together, at most one a session.
"""

import trio

from signaling.storage import DropSession, PutSession, SessionRecord, Store

#: A thousand joins within a second are ten batches.
PAUSE_SECONDS = 0.1


class SessionShadow:
    """See the module. ``run`` must run while there are sessions."""

    def __init__(self, store: Store) -> None:
        self._store = store
        #: session -> the last change; the order is that of their first ones.
        self._pending: dict[str, PutSession | DropSession] = {}
        self._changed = trio.Event()

    def put(self, session: SessionRecord) -> None:
        """Keep a session as it is now."""
        self._note(session.session_id, PutSession(session))

    def drop(self, session_id: str) -> None:
        """Keep a session no longer."""
        self._note(session_id, DropSession(session_id))

    def flush(self) -> None:
        """Hand all to the store now; what is committed after this comes after it."""
        if self._pending:
            changes = tuple(self._pending.values())
            self._pending.clear()
            self._store.submit(*changes)

    async def run(self) -> None:
        """Hand changes to the store until cancelled; what is left then is left to a last ``flush``."""
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            self.flush()
            await trio.sleep(PAUSE_SECONDS)

    def _note(self, session_id: str, change: PutSession | DropSession) -> None:
        self._pending[session_id] = change
        self._changed.set()
