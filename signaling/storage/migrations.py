"""Brings a database's tables to what this version of the program needs. Blocks: for threads only."""

from pathlib import Path
from threading import Lock

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from signaling.logs import get_logger
from signaling.storage.store import StoreOpenError

SCRIPTS = Path(__file__).parent / "alembic"

#: Alembic hands its context to the revisions through a module of its own, one at a time in a process.
_ALEMBIC = Lock()
_log = get_logger(__name__)


def newest_revision() -> str:
    """Return the revision of this version's tables. Blocks: it reads files."""
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    assert newest is not None
    return newest


def migrate(connection: Connection, shown: str, *, target: str = "head") -> None:
    """Migrate within the connection's transaction, which the caller commits. ``shown`` names the database in texts.

    Raises: StoreOpenError for a database that a newer version has migrated.
    """
    config = _config()
    current = MigrationContext.configure(connection).get_current_revision()
    known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    if current is not None and current not in known:
        raise StoreOpenError(
            f"the tables of {shown} are of revision {current}, made by a newer version of this program, which knows "
            f"up to {known[0]}; start that version, or restore the copy taken before it was first started"
        )
    if current == known[0]:
        return
    if connection.dialect.name == "postgresql":
        # Large tables may take longer than any batch.
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    config.attributes["connection"] = connection
    with _ALEMBIC:
        command.upgrade(config, target)
    _log.info("the tables of the database were migrated", before=current, now=known[0])


def _config() -> Config:
    config = Config()
    # Alembic reads % as the start of an interpolation.
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    # Without it Alembic says at every start which separator of paths it will assume.
    config.set_main_option("path_separator", "os")
    return config
