"""Databases of older and newer versions, and the tables that migrations leave."""

import pytest
import sqlalchemy
import trio
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import make_url
from store_records import AUDIT, EVENT, LINE, LOBBY, SESSION
from store_waits import chat_of

from signaling.storage import AddAudit, AddChat, AddEvent, PutLobby, PutSession, StoreOpenError
from signaling.storage.applying import apply_changes
from signaling.storage.migrations import SCRIPTS, migrate, newest_revision
from signaling.storage.opening import open_store
from signaling.storage.tables import METADATA


@pytest.fixture
def engine(durable_url, tmp_path):
    (tmp_path / "kept").mkdir()
    url = make_url(durable_url)
    if url.get_backend_name() == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    yield engine
    engine.dispose()


def revision_of(engine) -> str | None:
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def test_migrations_leave_the_tables_that_the_code_uses(engine):
    with engine.begin() as connection:
        migrate(connection, "it")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, METADATA) == []
    assert revision_of(engine) == newest_revision()


def test_migrating_twice_is_nothing(engine):
    for _ in range(2):
        with engine.begin() as connection:
            migrate(connection, "it")
    assert revision_of(engine) == newest_revision()


async def test_an_older_database_is_migrated_with_all_it_holds(engine, durable_url):
    with engine.begin() as connection:
        migrate(connection, "it", target="0001")
        changes = [PutSession(SESSION), PutLobby(LOBBY), AddChat(LINE), AddEvent(EVENT), AddAudit(AUDIT)]
        apply_changes(connection, changes)
    assert revision_of(engine) == "0001"
    with trio.fail_after(60):
        async with open_store(durable_url) as store:
            kept = await store.load()
            assert (kept.sessions, kept.lobbies) == ((SESSION,), (LOBBY,))
            assert (kept.chat_seqs, kept.event_seq) == ({"l1": 1}, 1)
            assert await chat_of(store) == [1]
    assert revision_of(engine) == newest_revision()


async def test_a_database_of_a_newer_version_is_refused_and_left_as_it_is(engine, durable_url):
    with engine.begin() as connection:
        migrate(connection, "it")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreOpenError, match=r"revision 9999, made by a newer version .*restore the copy"):
        async with open_store(durable_url):
            raise AssertionError
    assert revision_of(engine) == "9999"


async def test_a_migration_that_fails_leaves_the_database_as_it_was(engine, durable_url):
    with engine.begin() as connection:
        migrate(connection, "it", target="0001")
        # In the way of the next revision, after its first step.
        connection.exec_driver_sql("CREATE TABLE ix_chat_sent_at (it INTEGER)")
    with pytest.raises(StoreOpenError, match="ix_chat_sent_at"):
        async with open_store(durable_url, open_seconds=0):
            raise AssertionError
    assert revision_of(engine) == "0001"
    assert not sqlalchemy.inspect(engine).has_table("marks")
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE ix_chat_sent_at")
    with trio.fail_after(60):
        async with open_store(durable_url):
            pass
    assert revision_of(engine) == newest_revision()


def test_revisions_are_one_line_of_history():
    scripts = ScriptDirectory(str(SCRIPTS))
    assert scripts.get_heads() == [newest_revision()]
    assert scripts.get_bases() == ["0001"]


QUERIES = {
    "SELECT * FROM chat WHERE lobby_id = 'x' AND seq < 9 ORDER BY seq DESC LIMIT 9": "autoindex_chat_1",
    "SELECT * FROM events WHERE seq > 9 ORDER BY seq LIMIT 9": "INTEGER PRIMARY KEY",
    "SELECT * FROM events WHERE seq > 9 AND lobby_id = 'x' ORDER BY seq LIMIT 9": "ix_events_lobby_id_seq",
    "SELECT * FROM events WHERE seq > 9 AND type IN ('x', 'y') ORDER BY seq LIMIT 9": "ix_events_type_seq",
    "SELECT * FROM audit WHERE entry_id < 9 ORDER BY entry_id DESC LIMIT 9": "INTEGER PRIMARY KEY",
    "SELECT * FROM dead_letters ORDER BY given_up_at, delivery_id LIMIT 9": "ix_dead_letters_given_up_at",
    "SELECT seq FROM events WHERE at < 9 ORDER BY at LIMIT 9": "ix_events_at",
    "SELECT lobby_id, seq FROM chat WHERE sent_at < 9 ORDER BY sent_at LIMIT 9": "ix_chat_sent_at",
    "SELECT entry_id FROM audit WHERE at < 9 ORDER BY at LIMIT 9": "ix_audit_at",
}


@pytest.mark.parametrize(("query", "index"), QUERIES.items())
def test_every_page_is_found_by_an_index(query, index):
    engine = sqlalchemy.create_engine("sqlite://")
    METADATA.create_all(engine)
    with engine.connect() as connection:
        plan = " ".join(str(row[3]) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}"))
    engine.dispose()
    assert index in plan
    assert "SCAN chat" not in plan
