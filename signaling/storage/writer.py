"""The writer's thread: the one connection that writes, and the only code that uses it.

What waits is written in one transaction, so that one wait for the disk serves all who wait for it. When the database
fails, the batch stays as it is and is tried again until it works; batches are made so that twice is as good as once.
When the database is well and a change is not, every call of the batch is tried by itself, and only that one fails.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from signaling.logs import get_logger
from signaling.storage.applying import apply_changes
from signaling.storage.change_queue import ChangeQueue, Ticket
from signaling.storage.changes import AddAudit, Change
from signaling.storage.database import Blame, Database, DatabaseFaultError, one_line
from signaling.storage.marks import last_audit_id
from signaling.storage.migrations import migrate
from signaling.storage.ownership import check_owner, take_ownership
from signaling.storage.retention import Retention
from signaling.storage.store import ChangeRefusedError, StoreOpenError, StoreUnavailableError
from signaling.tracing.tracer import NO_TRACER, Tracer

#: Of one transaction; a call that has more is one by itself.
BATCH_CHANGES = 1000
#: Between attempts: at first, and at most.
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0

#: What values that cannot be stored raise on their way to the driver.
_VALUE_ERRORS = (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError)
_ERRORS = (SQLAlchemyError, DatabaseFaultError, *_VALUE_ERRORS)

_log = get_logger(__name__)


class Writer:
    """See the module. ``open`` and ``run`` block: they are for its thread; the rest may be read from anywhere.

    ``settle`` is called from the thread, with calls that are over.
    """

    def __init__(
        self,
        database: Database,
        queue: ChangeQueue,
        retention: Retention,
        *,
        settle: Callable[[list[Ticket]], None],
        tracer: Tracer = NO_TRACER,
    ) -> None:
        #: Why the last attempt failed; None when it did not.
        self.fault: str | None = None
        #: Since when an attempt has been under way, by the monotonic clock.
        self.attempt_since: float | None = None
        self.committed = 0
        self.batches = 0
        self.retries = 0
        self.rejected = 0
        self.expired = 0
        self.commit_seconds_total = 0.0
        #: What was given up at the end, by kind of change.
        self.lost: Counter[str] = Counter()
        self._database = database
        self._queue = queue
        self._retention = retention
        self._settle = settle
        self._tracer = tracer
        self._connection: Connection | None = None
        self._owner: str | None = None
        self._audit_id = 0

    def open(self, patience_seconds: float) -> None:
        """Migrate the database and make it ours; one that does not answer is waited for.

        Raises: StoreOpenError.
        """
        self._database.prepare()
        deadline = time.monotonic() + patience_seconds
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                self._open_once()
            except (SQLAlchemyError, DatabaseFaultError) as error:
                fault = self._database.explain(error)
                self._disconnect()
                if time.monotonic() + pause > deadline or not self._queue.pause(pause):
                    raise StoreOpenError(fault) from None
                if self.fault is None:
                    _log.warning("waiting for the database", fault=fault)
                self.fault = fault
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            except StoreOpenError:
                self._disconnect()
                raise
            else:
                self.fault = None
                return

    def run(self) -> None:
        """Write until the queue is closed and empty, or given up."""
        try:
            while not self._queue.is_over:
                tickets = self._queue.take(BATCH_CHANGES, self._retention.due_at)
                if tickets:
                    self._write(tickets)
                if self.fault is None and time.monotonic() >= self._retention.due_at:
                    self._expire()
        finally:
            self._give_up(self._rest())
            self._disconnect()

    # Batches.

    def _write(self, tickets: list[Ticket]) -> None:
        """Write a batch, however long that takes."""
        self._number_audit(tickets)
        pause = FIRST_PAUSE_SECONDS
        failed_since: float | None = None
        while True:
            started = self.attempt_since = time.monotonic()
            try:
                with self._tracer.span("store batch", calls=len(tickets)):
                    self._attempt(tickets)
            except _ERRORS as error:
                self._note_fault(error, tickets)
                failed_since = failed_since or started
                if not self._queue.pause(pause):
                    self._give_up(tickets)
                    return
                self.retries += 1
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                break
            finally:
                self.attempt_since = None
        now = time.monotonic()
        self.commit_seconds_total += now - started
        self.batches += 1
        kept = [ticket for ticket in tickets if ticket.error is None]
        self.committed += sum(len(ticket.changes) for ticket in kept)
        if failed_since is not None:
            self.fault = None
            _log.warning("the database takes changes again", after_seconds=round(now - failed_since, 1))
        self._finish(tickets)

    def _attempt(self, tickets: list[Ticket]) -> None:
        connection = self._connected()
        try:
            with connection.begin():
                apply_changes(connection, (change for ticket in tickets for change in ticket.changes))
        except _ERRORS as error:
            if self._database.blame(error) is Blame.DATABASE:
                raise
            self._attempt_each(connection, tickets)

    def _attempt_each(self, connection: Connection, tickets: list[Ticket]) -> None:
        """Write a batch of which at least one change cannot be written: the others."""
        errors: dict[Ticket, Exception] = {}
        partly: dict[Ticket, list[Change]] = {}
        with connection.begin():
            for ticket in tickets:
                error = self._try(connection, ticket.changes)
                if error is None:
                    continue
                if ticket.settled is None and len(ticket.changes) > 1:
                    # Nobody waits for all of it: what can be kept is.
                    tried = [(change, self._try(connection, (change,))) for change in ticket.changes]
                    partly[ticket] = [change for change, fault in tried if fault is None]
                else:
                    partly[ticket] = []
                errors[ticket] = error
        # Only now is it certain.
        for ticket, error in errors.items():
            rejected = len(ticket.changes) - len(partly[ticket])
            self.rejected += rejected
            self.committed += len(partly[ticket])
            kinds = sorted({type(change).__name__ for change in ticket.changes})
            _log.error(
                "changes were dropped, for the database will never take them",
                changes=rejected,
                kinds=kinds,
                fault=one_line(error),
            )
            ticket.error = ChangeRefusedError(
                f"the database does not take it, and trying again will not help: {one_line(error)}"
            )

    def _try(self, connection: Connection, changes: Sequence[Change]) -> Exception | None:
        """Apply changes, all or none; return why they cannot be."""
        try:
            with connection.begin_nested():
                apply_changes(connection, changes)
        except _ERRORS as error:
            if self._database.blame(error) is Blame.DATABASE:
                raise
            return error
        return None

    def _number_audit(self, tickets: list[Ticket]) -> None:
        """Give entries of the audit log their numbers, before the first attempt."""
        for ticket in tickets:
            if any(type(change) is AddAudit for change in ticket.changes):
                ticket.changes = tuple(map(self._numbered, ticket.changes))

    def _numbered(self, change: Change) -> Change:
        if not isinstance(change, AddAudit):
            return change
        self._audit_id += 1
        return AddAudit(replace(change.entry, entry_id=self._audit_id))

    # Endings.

    def _finish(self, tickets: list[Ticket]) -> None:
        self._queue.written(tickets)
        self._settle(tickets)

    def _rest(self) -> list[Ticket]:
        rest: list[Ticket] = []
        while more := self._queue.take(self._queue.capacity, 0.0):
            rest += more
        return rest

    def _give_up(self, tickets: list[Ticket]) -> None:
        for ticket in tickets:
            self.lost.update(type(change).__name__ for change in ticket.changes)
            ticket.error = StoreUnavailableError(f"the server stopped before it was kept: {self.fault}")
        self._finish(tickets)

    def _note_fault(self, error: Exception, tickets: list[Ticket]) -> None:
        fault = self._database.explain(error)
        if self.fault is None:
            waiting = sum(len(ticket.changes) for ticket in tickets)
            _log.error(
                "the database does not take changes; they wait in memory", fault=fault, changes=waiting
            )
        self.fault = fault
        self._disconnect()

    def _expire(self) -> None:
        self.attempt_since = time.monotonic()
        try:
            connection = self._connected()
            with connection.begin():
                removed = self._retention.step(connection, time.monotonic())
        except (SQLAlchemyError, DatabaseFaultError) as error:
            # Nothing waits for it: the next round will do. A fault of the database shows when the next change comes.
            self._retention.postpone(time.monotonic())
            _log.warning("old rows could not be removed now", fault=self._database.explain(error))
            self._disconnect()
        else:
            self.expired += removed
        finally:
            self.attempt_since = None

    # The connection.

    def _open_once(self) -> None:
        connection = self._connection = self._database.connect_writer()
        with connection.begin():
            migrate(connection, self._database.shown)
            self._audit_id = last_audit_id(connection)
            owner = take_ownership(connection)
        self._owner = owner

    def _connected(self) -> Connection:
        """Return the connection, made anew if there is none."""
        self._database.check()
        if self._connection is None:
            self._connection = self._database.connect_writer()
            with self._connection.begin():
                assert self._owner is not None
                check_owner(self._connection, self._owner, self._database.shown)
        return self._connection

    def _disconnect(self) -> None:
        """Close the connection, whatever state it is in."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError):
                connection.invalidate()
            with suppress(SQLAlchemyError):
                connection.close()
