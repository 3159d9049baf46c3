"""Opens the store that a URL names, for the length of a scope."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import trio
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from signaling.storage.database import Database
from signaling.storage.memory import MemoryStore
from signaling.storage.postgres import PostgresDatabase
from signaling.storage.retention import Keep, Retention
from signaling.storage.sql import SqlStore
from signaling.storage.sqlite import SqliteDatabase
from signaling.storage.store import Store, StoreOpenError
from signaling.tracing.tracer import NO_TRACER, Tracer

MEMORY_URL = "memory:"

#: Of ``commit`` and of reads.
PATIENCE_SECONDS = 5.0
#: A database that starts at the same time as the server is waited for.
OPEN_SECONDS = 15.0
#: For what waits at the end.
CLOSE_SECONDS = 5.0


@asynccontextmanager
async def open_store(
    url: str,
    *,
    queue_changes: int = 10_000,
    keep: Keep = Keep(),  # noqa: B008 - frozen
    patience_seconds: float = PATIENCE_SECONDS,
    open_seconds: float = OPEN_SECONDS,
    close_seconds: float = CLOSE_SECONDS,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    tracer: Tracer = NO_TRACER,
) -> AsyncIterator[Store]:
    """Give the store, migrated and ready; leaving the scope writes what waits, within ``close_seconds``, or logs it lost.

    ``queue_changes`` may wait while the database does not answer. What is raised inside the scope comes out of it in
    an exception group, as out of any nursery.

    Raises: StoreOpenError.
    """
    if url == MEMORY_URL:
        yield MemoryStore()
        return
    database = await trio.to_thread.run_sync(_database, url)
    store = SqlStore(
        database,
        Retention(keep, clock=clock),
        queue_changes=queue_changes,
        patience_seconds=patience_seconds,
        tracer=tracer,
    )
    failure = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.run_writer, open_seconds)
        try:
            failure = await store.opened()
            if failure is None:
                yield store
        finally:
            await store.close(close_seconds)
    if failure is not None:
        raise failure


def _database(url: str) -> Database:
    """Return the database; nothing is opened yet. Blocks: drivers are imported."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # What was given may hold a password: it is not repeated.
        raise StoreOpenError(
            "the setting database is no URL; expected sqlite:////absolute/file, postgresql://user:password@host/name "
            "or memory:"
        ) from None
    match parsed.get_backend_name():
        case "sqlite":
            return SqliteDatabase(parsed)
        case "postgresql":
            return PostgresDatabase(parsed)
        case other:
            raise StoreOpenError(
                f"there is no store for {other}: the setting database can name sqlite, postgresql or memory:"
            )
