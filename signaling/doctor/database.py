"""Whether the database answers, and whether its tables are those of this version. Reads only; changes nothing."""

from collections.abc import Iterator
from pathlib import Path

import sqlalchemy
from sqlalchemy.engine import URL, make_url

from signaling.doctor.finding import Finding, fail, ok, warn
from signaling.redaction import redact_text
from signaling.settings import MEMORY_DATABASE

#: Where Alembic notes how far a database is migrated.
VERSION_TABLE = "alembic_version"
CONNECT_SECONDS = 5


def check_database(database_url: str, newest_revision: str | None) -> Iterator[Finding]:
    """Yield findings on a database. ``newest_revision``: of this version's migrations, when it is known."""
    if database_url == MEMORY_DATABASE:
        yield warn("database", "kept in memory", "whatever is to outlive the process needs another database")
        return
    try:
        url = make_url(database_url)
    except (sqlalchemy.exc.ArgumentError, ValueError) as error:
        yield fail(
            "database", f"the URL cannot be read: {redact_text(str(error))}", "correct the setting database"
        )
        return
    shown = url.render_as_string(hide_password=True)
    if url.get_backend_name() == "sqlite" and not (url.database and Path(url.database).exists()):
        yield ok("database", f"{shown} is made at the first start")
        return
    yield from _ask(url, shown, newest_revision)


def _ask(url: URL, shown: str, newest_revision: str | None) -> Iterator[Finding]:
    arguments: dict[str, object] = {"timeout": CONNECT_SECONDS}
    if url.get_backend_name() == "postgresql":
        url, arguments = url.set(drivername="postgresql+psycopg"), {"connect_timeout": CONNECT_SECONDS}
    try:
        engine = sqlalchemy.create_engine(url, connect_args=arguments, poolclass=sqlalchemy.NullPool)
    except ImportError as error:
        yield fail("database", f"{shown}: {error}", "pip install 'trio-relay[postgres]'")
        return
    try:
        with engine.connect() as connection:
            revision = _revision(connection)
            connection.rollback()
    except (sqlalchemy.exc.SQLAlchemyError, OSError, ValueError) as error:
        cause = getattr(error, "orig", None) or error
        said = redact_text(" ".join(str(cause).split()))
        yield fail(
            "database", f"{shown} does not answer: {said}", "start it, or correct the setting database"
        )
        return
    finally:
        engine.dispose()
    if revision is None:
        yield ok("database", f"{shown} answers; its tables are made at the first start")
    elif newest_revision is not None and revision != newest_revision:
        yield warn(
            "database",
            f"{shown} answers; its tables are of revision {revision}, this version's are {newest_revision}",
            "the next start migrates it; take a copy first",
        )
    else:
        yield ok("database", f"{shown} answers; its tables are of revision {revision}")


def _revision(connection: sqlalchemy.Connection) -> str | None:
    if not sqlalchemy.inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.execute(sqlalchemy.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608 - a constant
    return None if found is None else str(found)
