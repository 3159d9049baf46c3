"""A store in a database. Changes are written by one thread (``writer.py``), pages read by a few others.

submit, commit ── change queue ── writer thread ── database
                    reads ────── reader threads ──────┘
"""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import trio
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from signaling.logs import get_logger
from signaling.storage.change_queue import ChangeQueue, Ticket
from signaling.storage.changes import Change
from signaling.storage.database import READERS, Database, one_line
from signaling.storage.queries import (
    read_audit,
    read_chat,
    read_dead_letters,
    read_events,
    read_snapshot,
)
from signaling.storage.records import AuditRecord, ChatRecord, DeadLetterRecord, EventRecord, Snapshot
from signaling.storage.retention import Retention
from signaling.storage.store import StoreHealth, StoreOpenError, StoreStatistics, StoreUnavailableError
from signaling.storage.writer import Writer
from signaling.tracing.tracer import NO_TRACER, Tracer

#: A start may wait for a large database; a client must not.
LOAD_SECONDS = 60.0
#: For a writer that was told to give up: longer than SQLite waits for a lock.
GIVE_UP_SECONDS = 2.0

_Result = TypeVar("_Result")

_log = get_logger(__name__)


class SqlStore:
    """See the module, and ``Store``. ``open_store`` makes it, and ends it."""

    def __init__(
        self,
        database: Database,
        retention: Retention,
        *,
        queue_changes: int,
        patience_seconds: float,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._database = database
        self._patience_seconds = patience_seconds
        self._queue = ChangeQueue(queue_changes)
        self._writer = Writer(database, self._queue, retention, settle=self._settle, tracer=tracer)
        self._readers = trio.CapacityLimiter(READERS)
        self._token = trio.lowlevel.current_trio_token()
        self._opened = trio.Event()
        self._failure: StoreOpenError | None = None
        self._ended = trio.Event()
        #: The writer's thread; it is left alone only by ``close``.
        self._thread = trio.CancelScope(shield=True)
        self._dropped = 0
        #: How many batches there were when there last was no room for a change.
        self._refused_at: int | None = None

    # The life of it.

    async def run_writer(self, open_seconds: float) -> None:
        """Write changes until ``close``."""
        try:
            with self._thread:
                await trio.to_thread.run_sync(
                    self._work,
                    open_seconds,
                    abandon_on_cancel=True,
                    limiter=trio.CapacityLimiter(1),
                    thread_name="store-writer",
                )
        finally:
            self._opened.set()
            self._ended.set()

    async def opened(self) -> StoreOpenError | None:
        """Wait until the database is migrated and ours; return why it cannot be."""
        await self._opened.wait()
        return self._failure

    async def close(self, close_seconds: float) -> None:
        """Write what waits, for so long at most, and log what is lost."""
        self._queue.close()
        if not self._opened.is_set():
            self._queue.give_up()
        with trio.move_on_after(close_seconds, shield=True):
            await self._ended.wait()
        if not self._ended.is_set():
            self._queue.give_up()
            with trio.move_on_after(GIVE_UP_SECONDS, shield=True):
                await self._ended.wait()
        lost = dict(self._writer.lost)
        if not self._ended.is_set():
            # The call into the database does not come back: the thread ends with the process.
            self._thread.cancel()
            lost["unknown"] = self._queue.queued
        if lost:
            _log.error(
                "changes were lost, for the database did not take them before the end",
                changes=sum(lost.values()),
                kinds=lost,
                fault=self._writer.fault,
            )

    # See Store.

    async def load(self) -> Snapshot:
        """See ``Store``."""
        return await self._read(read_snapshot, seconds=LOAD_SECONDS)

    def submit(self, *changes: Change) -> None:
        """See ``Store``."""
        if changes and not self._queue.put(Ticket(changes)):
            self._dropped += len(changes)
            self._refused_at = self._writer.batches

    async def commit(self, *changes: Change) -> None:
        """See ``Store``. Without changes: wait until all that was submitted before is durable."""
        settled = trio.Event()
        ticket = Ticket(changes, settled)
        if not self._queue.put(ticket):
            raise StoreUnavailableError(self._refuse(len(changes)))
        with trio.move_on_after(self._patience_seconds):
            await settled.wait()
        if not settled.is_set():
            fault = self._writer.fault or f"the database {self._database.shown} is slow, or its disk is"
            raise StoreUnavailableError(f"not kept within {self._patience_seconds:g} s: {fault}")
        if ticket.error is not None:
            raise ticket.error

    async def chat_before(self, lobby_id: str, *, before: int | None, limit: int) -> tuple[ChatRecord, ...]:
        """See ``Store``."""
        return await self._read(lambda connection: read_chat(connection, lobby_id, before, limit))

    async def events_after(
        self, seq: int, *, limit: int, types: frozenset[str] | None = None, lobby_id: str | None = None
    ) -> tuple[EventRecord, ...]:
        """See ``Store``."""
        return await self._read(lambda connection: read_events(connection, seq, limit, types, lobby_id))

    async def audit_before(self, *, before: int | None, limit: int) -> tuple[AuditRecord, ...]:
        """See ``Store``."""
        return await self._read(lambda connection: read_audit(connection, before, limit))

    async def dead_letters(self, *, limit: int) -> tuple[DeadLetterRecord, ...]:
        """See ``Store``."""
        return await self._read(lambda connection: read_dead_letters(connection, limit))

    def statistics(self) -> StoreStatistics:
        """See ``Store``."""
        writer, queued, fault = self._writer, self._queue.queued, self._fault()
        health = StoreHealth.OK if fault is None else StoreHealth.WAITING
        if queued >= self._queue.capacity or self._refused_at == writer.batches:
            health = StoreHealth.REFUSING
        return StoreStatistics(
            health=health,
            fault=fault,
            queued=queued,
            capacity=self._queue.capacity,
            committed=writer.committed,
            batches=writer.batches,
            dropped=self._dropped,
            retries=writer.retries,
            commit_seconds_total=writer.commit_seconds_total,
            rejected=writer.rejected,
            expired=writer.expired,
        )

    # Private.

    def _fault(self) -> str | None:
        fault, since = self._writer.fault, self._writer.attempt_since
        if fault is None and since is not None:
            waited = time.monotonic() - since
            if waited > self._patience_seconds:
                return f"the database {self._database.shown} has not answered for {waited:.0f} s"
        return fault

    def _refuse(self, size: int) -> str:
        capacity = self._queue.capacity
        if size > capacity:
            return f"{size} changes at once are more than the {capacity} that may wait (store_queue_changes)"
        if self._queue.is_closed:
            return "the store is closed"
        self._refused_at = self._writer.batches
        fault = self._fault() or "the database is slow"
        return f"the {capacity} changes that may wait (store_queue_changes) do: {fault}"

    async def _read(self, query: Callable[[Connection], _Result], *, seconds: float | None = None) -> _Result:
        seconds = self._patience_seconds if seconds is None else seconds
        with trio.move_on_after(seconds):
            return await trio.to_thread.run_sync(
                self._query, query, limiter=self._readers, abandon_on_cancel=True, thread_name="store-reader"
            )
        raise StoreUnavailableError(
            f"the database {self._database.shown} did not answer within {seconds:g} s"
        )

    # In threads.

    def _query(self, query: Callable[[Connection], _Result]) -> _Result:
        try:
            with self._database.readers().connect() as connection:
                return query(connection)
        except SQLAlchemyError as error:
            raise StoreUnavailableError(self._database.explain(error)) from error
        except (TypeError, ValueError, ArithmeticError) as error:
            raise StoreUnavailableError(
                f"the database {self._database.shown} holds something that cannot be read ({one_line(error)}); "
                "was it changed by hand?"
            ) from error

    def _work(self, open_seconds: float) -> None:
        try:
            self._writer.open(open_seconds)
            self._tell(self._opened.set)
            self._writer.run()
        except StoreOpenError as failure:
            self._failure = failure
        finally:
            self._database.dispose()
            self._database.release()

    def _settle(self, tickets: list[Ticket]) -> None:
        if waited_for := [ticket.settled for ticket in tickets if ticket.settled is not None]:

            def settle() -> None:
                for settled in waited_for:
                    settled.set()

            self._tell(settle)

    def _tell(self, on_trio_thread: Callable[[], object]) -> None:
        # Nobody is there any more when this thread had to be left alone at the end.
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(on_trio_thread)
