"""A database as the store sees it: connections to it, the lock on it, and what its errors mean."""

from enum import Enum, auto
from typing import Protocol

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError

#: One connection each, and one thread: pages of chat and events are read quickly, or the database is in trouble.
READERS = 3


class Blame(Enum):
    """Whose fault an error is."""

    #: The database's, or the way's to it: the same changes are tried again.
    DATABASE = auto()
    #: The change's: it would fail for ever.
    CHANGE = auto()


class Database(Protocol):
    """See the module. All methods block, but for ``shown``: they are for threads."""

    #: Its address without secrets, for texts.
    shown: str

    def prepare(self) -> None:
        """Make what must be there before the first connection, and keep other servers out.

        Raises: StoreOpenError.
        """

    def connect_writer(self) -> Connection:
        """Return a new connection that may write, and holds the lock that keeps other servers out.

        Raises: SQLAlchemyError, DatabaseFaultError.
        """

    def check(self) -> None:
        """Raise DatabaseFaultError when what is written on an open connection would go nowhere."""

    def readers(self) -> Engine:
        """Return the engine of the readers' connections."""

    def dispose(self) -> None:
        """Close what is open, once no thread uses it."""

    def release(self) -> None:
        """Let other servers in."""

    def blame(self, error: Exception) -> Blame:
        """Tell whose fault an error is that a change met."""

    def explain(self, error: Exception) -> str:
        """Return what is wrong with the database and what to do, in one line without secrets."""


class DatabaseFaultError(Exception):
    """The database cannot be used now; the text says why and what to do."""


def blame_beside_driver(error: Exception) -> Blame | None:
    """Tell whose fault an error is, or None when what the driver said must be looked at."""
    if isinstance(error, DBAPIError):
        return Blame.DATABASE if error.connection_invalidated else None
    if isinstance(error, DatabaseFaultError):
        return Blame.DATABASE
    if isinstance(error, SQLAlchemyError) and not isinstance(error, StatementError):
        # About the state of a connection or a transaction.
        return Blame.DATABASE
    # A value that our column types or the driver cannot write down.
    return Blame.CHANGE


def one_line(error: BaseException) -> str:
    """Return what a driver said, in one line: the first, for what follows may quote what was to be stored."""
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().partition("\n")[0].strip() or type(cause).__name__
