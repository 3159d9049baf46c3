"""The interface of a store. ``memory.py`` and ``sql.py`` implement it, and pass the same tests.

What every store does: a call's changes are kept all or none; calls are applied in their order; texts come back
exactly, NUL bytes and lone surrogates too; times come back aware, in UTC, to the microsecond; of what is kept as JSON,
tuples may come back as lists.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from signaling.storage.changes import Change
from signaling.storage.records import AuditRecord, ChatRecord, DeadLetterRecord, EventRecord, Snapshot


class StoreUnavailableError(Exception):
    """The store did not take a change, or give a page, in time; the text says why. It was not acknowledged."""


class ChangeRefusedError(StoreUnavailableError):
    """The database will never take these changes, whatever it is asked: they are dropped, and others go on."""


class StoreOpenError(StoreUnavailableError):
    """The store cannot be opened; the text says why and what to do."""


class StoreHealth(Enum):
    """What readiness says of a store."""

    #: Writes are committed as they come.
    OK = "ok"
    #: Writes wait in memory, for the database does not answer; nothing is lost so far.
    WAITING = "waiting"
    #: The queue is full: durable changes are refused, others are dropped and counted.
    REFUSING = "refusing"


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """Figures for metrics; they only grow, but for ``queued`` and ``health``."""

    health: StoreHealth
    #: Why it is not OK.
    fault: str | None
    #: Changes that wait to be committed, and how many may.
    queued: int
    capacity: int
    committed: int
    batches: int
    #: Changes of ``submit`` for which there was no room.
    dropped: int
    retries: int
    commit_seconds_total: float
    #: Changes that the database would never have taken.
    rejected: int = 0
    #: Rows removed for their age.
    expired: int = 0


class Store(Protocol):
    """See the module. All methods are called on the Trio thread; none blocks it."""

    async def load(self) -> Snapshot:
        """Return what is kept; called once, before any change.

        Raises: StoreUnavailableError.
        """

    def submit(self, *changes: Change) -> None:
        """Queue changes without waiting for them; when the queue is full they are dropped and counted.

        Events are dropped before the queue is quite full, so that what is missed more finds room for longer.
        """

    async def commit(self, *changes: Change) -> None:
        """Queue changes after all that were queued before and wait until they are durable.

        The changes are queued before the first checkpoint, so that their order is the order of the calls.

        Raises: StoreUnavailableError when the queue is full, and after the store's patience; the changes may still
        become durable then, as any acknowledgement that was lost on its way may. ChangeRefusedError.
        """

    async def chat_before(self, lobby_id: str, *, before: int | None, limit: int) -> tuple[ChatRecord, ...]:
        """Return up to ``limit`` lines with numbers below ``before`` (None: the newest), in ascending order.

        Raises: StoreUnavailableError, as all that reads does.
        """

    async def events_after(
        self, seq: int, *, limit: int, types: frozenset[str] | None = None, lobby_id: str | None = None
    ) -> tuple[EventRecord, ...]:
        """Return up to ``limit`` kept events with numbers above ``seq``, in ascending order."""

    async def audit_before(self, *, before: int | None, limit: int) -> tuple[AuditRecord, ...]:
        """Return up to ``limit`` audit entries with ids below ``before`` (None: the newest), newest first."""

    async def dead_letters(self, *, limit: int) -> tuple[DeadLetterRecord, ...]:
        """Return up to ``limit`` dead letters, oldest first."""

    def statistics(self) -> StoreStatistics:
        """Return figures for metrics and readiness."""
