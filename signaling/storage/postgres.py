"""PostgreSQL, by psycopg. One server at a time uses a database: the writer's connection holds an advisory lock on it.

Where the way to the server breaks without a word, the system notices within seconds and the writer connects anew.
"""

from typing import Any

from sqlalchemy import Connection, Engine, NullPool, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import StatementError

from signaling.redaction import redact_text
from signaling.storage.database import READERS, Blame, DatabaseFaultError, blame_beside_driver, one_line
from signaling.storage.store import StoreOpenError

CONNECT_SECONDS = 5
#: What has not been acknowledged for so long is lost, and the connection with it.
SILENT_SECONDS = 10
#: A batch takes milliseconds; who locks a table for longer than this makes writes wait in memory instead.
STATEMENT_SECONDS = 30
LOCK_SECONDS = 5
#: "trio-relay" in eight bytes or so: other programs may lock other numbers in the same database.
LOCK_NUMBER = 0x7472_696F_2D72_656C

_WRITER_SETTINGS = {
    "statement_timeout": f"{STATEMENT_SECONDS}s",
    "lock_timeout": f"{LOCK_SECONDS}s",
    "idle_in_transaction_session_timeout": f"{STATEMENT_SECONDS}s",
}
_READER_SETTINGS = {"statement_timeout": f"{STATEMENT_SECONDS}s", "default_transaction_read_only": "on"}

#: SQLSTATE, or its class -> what to do.
_ADVICE = {
    "08": "start it, or correct the setting database",
    "28": "correct the user or the password in the setting database",
    "3D": "make it (createdb), or correct the setting database",
    "42501": "let the relay's user own the database, or grant it all on the schema",
    "42": "its tables are not as the relay made them: put the last copy back",
    "25006": "let the setting database name the server that takes writes",
    "53100": "make room on its disk",
    "53": "give it more of what it lacks",
    "55P03": "end what holds a lock on the relay's tables",
    "57": "start it",
}
#: Of data, of constraints, of what is too large for an index: the change's fault.
_CHANGES_FAULT = ("22", "23", "54")


class PostgresDatabase:
    """See the module, and ``Database``."""

    def __init__(self, url: URL) -> None:
        self.shown = url.render_as_string(hide_password=True)
        url = url.set(drivername="postgresql+psycopg")
        options: dict[str, Any] = {
            "connect_timeout": CONNECT_SECONDS,
            "keepalives_idle": SILENT_SECONDS,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": SILENT_SECONDS * 1000,
            "application_name": "trio-relay",
        }
        # What the URL says itself goes first.
        arguments = {name: value for name, value in options.items() if name not in url.query}
        try:
            self._writers = create_engine(
                url, connect_args=arguments, poolclass=NullPool, hide_parameters=True
            )
        except ImportError as error:
            raise StoreOpenError(
                f"{self.shown} needs a driver that is not installed ({error}): pip install 'trio-relay[postgres]'"
            ) from None
        self._readers = create_engine(
            url,
            connect_args=arguments,
            pool_size=READERS,
            max_overflow=0,
            # A connection of before the server's restart is found out before it is used.
            pool_pre_ping=True,
            hide_parameters=True,
        )
        _set_at_connect(self._writers, _WRITER_SETTINGS)
        _set_at_connect(self._readers, _READER_SETTINGS)

    def prepare(self) -> None:
        """See ``Database``: there is nothing to make, and connections hold the lock."""

    def connect_writer(self) -> Connection:
        """See ``Database``."""
        connection = self._writers.connect()
        try:
            with connection.begin():
                self._take_lock(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def check(self) -> None:
        """See ``Database``: the server sees to its files."""

    def readers(self) -> Engine:
        """See ``Database``."""
        return self._readers

    def dispose(self) -> None:
        """See ``Database``."""
        self._readers.dispose()
        self._writers.dispose()

    def release(self) -> None:
        """See ``Database``: the lock went with its connection."""

    def blame(self, error: Exception) -> Blame:
        """See ``Database``."""
        found = blame_beside_driver(error)
        if found is not None:
            return found
        state = _state(error)
        if state:
            return Blame.CHANGE if state.startswith(_CHANGES_FAULT) else Blame.DATABASE
        # Without a word from the server: the driver could not write a value down, or there is no connection.
        driver = self._writers.dialect.loaded_dbapi
        values = (driver.DataError, driver.ProgrammingError)
        return Blame.CHANGE if isinstance(getattr(error, "orig", None), values) else Blame.DATABASE

    def explain(self, error: Exception) -> str:
        """See ``Database``."""
        if isinstance(error, DatabaseFaultError):
            return str(error)
        state = _state(error)
        to_do = next((advice for start, advice in _ADVICE.items() if state.startswith(start)), None)
        if to_do is None:
            to_do = "look at its log" if state else "start it, or correct the setting database"
        return f"the database {self.shown} cannot be used ({redact_text(one_line(error))}): {to_do}"

    def _take_lock(self, connection: Connection) -> None:
        if not connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({LOCK_NUMBER})").scalar():
            raise DatabaseFaultError(
                f"another server uses the database {self.shown}: stop it, or let --database name another"
            )
        if connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "off":
            # Whoever turned it off for the database did not think of what is acknowledged here.
            connection.exec_driver_sql("SET synchronous_commit TO on")


def _state(error: Exception) -> str:
    cause = error.orig if isinstance(error, StatementError) else error
    return getattr(cause, "sqlstate", None) or ""


def _set_at_connect(engine: Engine, settings: dict[str, str]) -> None:
    # Not by the option "options", which the URL may give for something else.
    @event.listens_for(engine, "connect")
    def _set(connection: Any, _record: object) -> None:
        connection.autocommit = True
        for name, value in settings.items():
            connection.execute("SELECT set_config(%s, %s, false)", (name, value))
        connection.autocommit = False
