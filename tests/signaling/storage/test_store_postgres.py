"""What only PostgreSQL does: its server stops and starts, connections are cut, others take over."""

import pytest
import trio
from sqlalchemy.engine import make_url
from store_records import AUDIT, LOBBY, line
from store_waits import chat_of, health, until

from signaling.storage import AddAudit, AddChat, PutLobby, StoreHealth, StoreOpenError, StoreUnavailableError
from signaling.storage.opening import open_store

run_in_thread = trio.to_thread.run_sync
WRITER = "application_name = 'trio-relay' AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')"


@pytest.fixture
def url(postgres) -> str:
    return postgres.new_database()


async def test_changes_wait_while_the_server_is_stopped(postgres, url):
    acknowledged = []

    async def say(seq):
        await store.commit(AddChat(line(seq)), AddAudit(AUDIT))
        acknowledged.append(seq)

    with trio.fail_after(60):
        async with open_store(url, patience_seconds=50) as store, trio.open_nursery() as nursery:
            await say(1)
            assert await chat_of(store) == [1]
            await run_in_thread(postgres.stop)
            try:
                for seq in range(2, 102):
                    nursery.start_soon(say, seq)
                statistics = await health(store, StoreHealth.WAITING)
                assert acknowledged == [1]
                with pytest.raises(StoreUnavailableError, match="start it, or correct the setting database"):
                    await chat_of(store)
            finally:
                await run_in_thread(postgres.start)
            assert "cannot be used" in statistics.fault
            await health(store, StoreHealth.OK)
            await until(lambda: len(acknowledged) == 101)
            assert await chat_of(store) == list(range(1, 102))
            assert [one.entry_id for one in await store.audit_before(before=None, limit=999)] == list(
                range(101, 0, -1)
            )


async def test_a_cut_connection_is_made_anew(postgres, url):
    with trio.fail_after(60):
        async with open_store(url, patience_seconds=50) as store:
            for seq in range(1, 6):
                await store.commit(AddChat(line(seq)))
                assert await chat_of(store) == list(range(1, seq + 1))
                await run_in_thread(
                    postgres.execute,
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'trio-relay'",
                )
            await store.commit(AddChat(line(6)))
            assert await chat_of(store) == list(range(1, 7))
            assert store.statistics().retries >= 1


async def test_a_store_that_was_cut_off_does_not_write_where_another_has(postgres, url):
    with trio.fail_after(60):
        async with open_store(url, patience_seconds=0.3, close_seconds=0.1) as first:
            await first.commit(PutLobby(LOBBY))
            # It notices, and would connect anew, when it next writes.
            cut = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {WRITER}"
            await run_in_thread(postgres.execute, cut)
            async with open_store(url) as second:
                with pytest.raises(StoreUnavailableError, match="another server uses the database"):
                    await first.commit(AddChat(line(1)))
                await second.commit(AddChat(line(2)))
            with pytest.raises(StoreUnavailableError, match="another server has used the database"):
                await first.commit(AddChat(line(3)))
        async with open_store(url) as third:
            assert await chat_of(third) == [2]


async def test_what_is_acknowledged_is_durable_even_where_the_database_is_set_to_be_quick(postgres, url):
    name = make_url(url).database
    postgres.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    with trio.fail_after(60):
        async with open_store(url) as store:
            await store.commit(PutLobby(LOBBY))
            assert store._writer._connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"


async def test_a_locked_table_makes_changes_wait(postgres, url, monkeypatch):
    monkeypatch.setattr("signaling.storage.postgres._WRITER_SETTINGS", {"lock_timeout": "50ms"})
    with trio.fail_after(60):
        async with open_store(url, patience_seconds=50) as store:
            async with trio.open_nursery() as nursery:
                with postgres.connect(make_url(url).database) as other, other.transaction():
                    other.execute("LOCK TABLE chat")
                    nursery.start_soon(store.commit, AddChat(line(1)))
                    statistics = await health(store, StoreHealth.WAITING)
                    assert "end what holds a lock" in statistics.fault
            assert await chat_of(store) == [1]


async def test_a_database_that_starts_later_is_waited_for(postgres, url):
    with trio.fail_after(60):
        await run_in_thread(postgres.stop)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_in_thread, postgres.start)
            async with open_store(url, open_seconds=50) as store:
                await store.commit(AddChat(line(1)))


async def test_a_database_that_is_not_there_is_told(postgres):
    url = postgres.new_database().replace("/test_", "/none_")
    with pytest.raises(StoreOpenError, match=r"does not exist.*: (make it|start it, or correct)"):
        async with open_store(url, open_seconds=0.1):
            raise AssertionError
