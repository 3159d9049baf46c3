"""SQLite: one file, one server at a time, and every commit on the disk before it is told of.

WAL lets readers read while the writer writes. ``synchronous=FULL`` waits for the disk at each commit: what was
acknowledged survives the loss of power, where the disk tells the truth.
"""

import fcntl
import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, NullPool, QueuePool, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import StatementError

from signaling.storage.database import READERS, Blame, DatabaseFaultError, blame_beside_driver, one_line
from signaling.storage.store import StoreOpenError

#: The writer tries again anyway, and must notice when it is to stop.
BUSY_SECONDS = 0.5
#: What the write-ahead log is cut to when it has been larger, after a great import or a reader that was slow.
WAL_BYTES = 64 * 1024**2
#: Nobody else may read it, or write to it: it holds people's chat.
FILE_MODE = 0o600
DIRECTORY_MODE = 0o700

_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    f"PRAGMA journal_size_limit={WAL_BYTES}",
)
_READER_PRAGMAS = ("PRAGMA query_only=ON",)


#: Constraints, values too large, values of types there are none of.
_CHANGES_FAULT = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError)


class SqliteDatabase:
    """See the module, and ``Database``."""

    def __init__(self, url: URL) -> None:
        name = url.database or ""
        if not name or name == ":memory:" or name.startswith("file:") or url.query:
            raise StoreOpenError(
                f"{url.render_as_string()} is no database the store can use: expected sqlite:////absolute/file or "
                "sqlite:///relative/file, without options; memory: keeps nothing on disk"
            )
        self.path = Path(name).absolute()
        self.shown = str(self.path)
        self._lock: int | None = None
        self._identity: tuple[int, int] | None = None
        self._writers = self._engine("BEGIN IMMEDIATE", _PRAGMAS, poolclass=NullPool)
        self._readers = self._engine(
            "BEGIN", _READER_PRAGMAS, poolclass=QueuePool, pool_size=READERS, max_overflow=0
        )

    def prepare(self) -> None:
        """See ``Database``."""
        self._attempt("the directory of the database", self.path.parent, self._make_directory)
        self._attempt("the lock of the database", self._lock_path, self._take_lock)
        self._attempt("the database", self.path, self._make_file)

    def connect_writer(self) -> Connection:
        """See ``Database``."""
        self.check()
        return self._writers.connect()

    def check(self) -> None:
        """See ``Database``: the file must be the one that was opened."""
        try:
            found = self.path.stat()
        except OSError as error:
            raise DatabaseFaultError(
                f"the database {self.shown} is gone while in use ({error.strerror}): put it back, or restart the relay"
            ) from None
        if (found.st_dev, found.st_ino) != self._identity:
            raise DatabaseFaultError(
                f"the database {self.shown} was replaced while in use: restart the relay to use the new one"
            )

    def readers(self) -> Engine:
        """See ``Database``."""
        return self._readers

    def dispose(self) -> None:
        """See ``Database``."""
        self._readers.dispose()
        self._writers.dispose()

    def release(self) -> None:
        """See ``Database``."""
        if self._lock is not None:
            # The file stays: who removes it lets two servers lock two files of the same name.
            os.close(self._lock)
            self._lock = None

    def blame(self, error: Exception) -> Blame:
        """See ``Database``."""
        found = blame_beside_driver(error)
        if found is None:
            cause = getattr(error, "orig", None)
            found = Blame.CHANGE if isinstance(cause, _CHANGES_FAULT) else Blame.DATABASE
        return found

    def explain(self, error: Exception) -> str:
        """See ``Database``."""
        cause = error.orig if isinstance(error, StatementError) else error
        if isinstance(error, DatabaseFaultError) or not isinstance(cause, sqlite3.Error):
            return one_line(error)
        name = getattr(cause, "sqlite_errorname", "")
        for start, (what, to_do) in _ADVICE.items():
            if name.startswith(start):
                return f"the database {self.shown} {what} ({one_line(cause)}): {to_do}"
        return f"the database {self.shown} cannot be used ({one_line(cause)}): see `relay doctor`"

    @property
    def _lock_path(self) -> Path:
        return self.path.with_name(self.path.name + ".lock")

    def _engine(self, begin: str, pragmas: tuple[str, ...], **options: Any) -> Engine:
        def connect() -> sqlite3.Connection:
            connection = sqlite3.connect(
                # An existing file only: one that somebody removed must not be made anew, empty.
                f"{self.path.as_uri()}?mode=rw",
                uri=True,
                timeout=BUSY_SECONDS,
                # The threads take turns.
                check_same_thread=False,
                # Transactions begin where we say.
                isolation_level=None,
            )
            try:
                for pragma in pragmas:
                    connection.execute(pragma)
            except sqlite3.Error:
                connection.close()
                raise
            return connection

        engine = create_engine("sqlite://", creator=connect, hide_parameters=True, **options)
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
        return engine

    def _attempt(self, what: str, path: Path, make: Callable[[], None]) -> None:
        try:
            make()
        except OSError as error:
            raise StoreOpenError(
                f"{what}, {path}, cannot be made or opened: {error.strerror}; give it to the user the relay runs as, "
                "or let --data-dir or --database name another"
            ) from None

    def _make_directory(self) -> None:
        self.path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)

    def _take_lock(self) -> None:
        lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise StoreOpenError(
                f"another server uses the database {self.shown}: stop it, or let --data-dir or --database name another"
            ) from None
        self._lock = lock

    def _make_file(self) -> None:
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            found = os.fstat(file)
            # A copy that was put back may be for all to read; what the group may do was somebody's wish.
            if stat.S_IMODE(found.st_mode) & stat.S_IRWXO:
                os.fchmod(file, stat.S_IMODE(found.st_mode) & ~stat.S_IRWXO)
            self._identity = (found.st_dev, found.st_ino)
        finally:
            os.close(file)
        # The name must survive the loss of power as well; SQLite sees to that of its log only.
        directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


#: Beginning of SQLite's name of an error -> what is wrong, what to do.
_ADVICE = {
    "SQLITE_FULL": ("has no room on its disk", "make room"),
    "SQLITE_BUSY": ("is locked by another program", "end it; a backup or a shell must not hold it for long"),
    "SQLITE_LOCKED": (
        "is locked by another program",
        "end it; a backup or a shell must not hold it for long",
    ),
    "SQLITE_READONLY": (
        "cannot be written to",
        "mount its disk for writing, and give the file and its directory to the user the relay runs as",
    ),
    "SQLITE_IOERR": ("cannot be read or written", "look at its disk: is it full, over a quota, failing?"),
    "SQLITE_CANTOPEN": (
        "cannot be opened",
        "give the file and its directory to the user the relay runs as; is its disk there?",
    ),
    "SQLITE_CORRUPT": ("is damaged", "stop the relay, look at the disk, and put the last copy back"),
    "SQLITE_NOTADB": (
        "is no SQLite database",
        "stop the relay, and put the last copy back or move the file away",
    ),
}
