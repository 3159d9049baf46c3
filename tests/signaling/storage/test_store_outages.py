"""Databases that fail and come back: locked, gone, full, stopped. Nothing that was acknowledged is lost."""

import resource
import sqlite3
import stat
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from sqlalchemy.engine import make_url
from store_records import AUDIT, EVENT, LOBBY, event, line
from store_waits import all_written, chat_of, health

from signaling.storage import (
    AddAudit,
    AddChat,
    AddEvent,
    PutLobby,
    StoreHealth,
    StoreOpenError,
    StoreUnavailableError,
)
from signaling.storage.opening import open_store


def path_of(url: str) -> Path:
    return Path(make_url(url).database)


@contextmanager
def locked(url: str):
    """Hold SQLite's lock from elsewhere, as a backup or a forgotten shell would."""
    other = sqlite3.connect(path_of(url), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close()


async def test_commits_that_wait_together_are_written_together(sqlite_url):
    acknowledged = []

    async def say(seq):
        await store.commit(AddChat(line(seq)), AddAudit(AUDIT))
        acknowledged.append(seq)

    with trio.fail_after(60):
        async with open_store(sqlite_url, patience_seconds=50) as store:
            async with trio.open_nursery() as nursery:
                with locked(sqlite_url):
                    for seq in range(1, 301):
                        nursery.start_soon(say, seq)
                    statistics = await health(store, StoreHealth.WAITING)
                    assert "is locked by another program" in statistics.fault
                    assert str(path_of(sqlite_url)) in statistics.fault
                    assert statistics.queued == 600
                    assert acknowledged == []
                    # Readers are not kept waiting by whoever writes.
                    assert await chat_of(store) == []
            assert sorted(acknowledged) == await chat_of(store) == list(range(1, 301))
            statistics = store.statistics()
            assert statistics.health is StoreHealth.OK
            assert statistics.fault is None
            assert statistics.queued == 0
            # What was taken at first, and all the rest.
            assert statistics.batches <= 2
            assert statistics.retries >= 1
            # What was tried several times was kept once.
            assert [one.entry_id for one in await store.audit_before(before=None, limit=999)] == list(
                range(300, 0, -1)
            )


async def test_a_commit_loses_patience_and_is_kept_all_the_same(sqlite_url):
    with trio.fail_after(60):
        async with open_store(sqlite_url, patience_seconds=0.2) as store:
            with locked(sqlite_url):
                with pytest.raises(StoreUnavailableError, match=r"not kept within 0.2 s"):
                    await store.commit(AddChat(line(1)))
                assert store.statistics().queued == 1
            await health(store, StoreHealth.OK)
            await all_written(store)
            assert await chat_of(store) == [1]


async def test_a_full_queue_refuses_commits_and_drops_what_nobody_waits_for(sqlite_url):
    with trio.fail_after(60):
        async with open_store(sqlite_url, queue_changes=100, patience_seconds=50) as store:
            with pytest.raises(StoreUnavailableError, match="101 changes at once"):
                await store.commit(*(AddChat(line(seq)) for seq in range(1, 102)))
            assert store.statistics().health is StoreHealth.OK
            with locked(sqlite_url):
                store.submit(PutLobby(LOBBY))
                await health(store, StoreHealth.WAITING)
                # Events find room for three quarters, the rest for all of it.
                for seq in range(1, 101):
                    store.submit(AddEvent(event(seq)))
                assert store.statistics().queued == 75
                for seq in range(1, 27):
                    store.submit(AddChat(line(seq)))
                statistics = store.statistics()
                assert (statistics.queued, statistics.dropped) == (100, 27)
                assert statistics.health is StoreHealth.REFUSING
                with pytest.raises(StoreUnavailableError, match="the 100 changes that may wait"):
                    await store.commit(AddChat(line(50)))
            await all_written(store)
            await store.commit(AddChat(line(99)))
            assert store.statistics().health is StoreHealth.OK
            assert await chat_of(store) == [*range(1, 26), 99]
            assert len(await store.events_after(0, limit=1000)) == 74


async def test_a_full_disk_is_named_and_nothing_is_lost_when_there_is_room_again(sqlite_url):
    large = AddChat(line(1)), *(AddEvent(event(seq, data={"it": "x" * 4000})) for seq in range(1, 200))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with trio.fail_after(60):
        async with open_store(sqlite_url, patience_seconds=50) as store, trio.open_nursery() as nursery:
            await store.commit(PutLobby(LOBBY))
            # As a quota would: no file of this process grows beyond it.
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
            try:
                nursery.start_soon(store.commit, *large)
                statistics = await health(store, StoreHealth.WAITING)
                assert "room on its disk" in statistics.fault or "look at its disk" in statistics.fault
                assert await chat_of(store) == []
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            await store.commit(AddChat(line(2)))
            assert await chat_of(store) == [1, 2]
            assert len(await store.events_after(0, limit=1000)) == 199


async def test_a_file_that_is_gone_is_missed_and_one_put_back_is_used(sqlite_url):
    path = path_of(sqlite_url)
    with trio.fail_after(60):
        async with open_store(sqlite_url, patience_seconds=0.2) as store:
            await store.commit(PutLobby(LOBBY))
            path.rename(path.with_name("elsewhere"))
            with pytest.raises(StoreUnavailableError, match="is gone while in use"):
                await store.commit(AddChat(line(1)))
            path.touch()
            with pytest.raises(StoreUnavailableError, match="was replaced while in use"):
                await store.commit(AddChat(line(2)))
            path.with_name("elsewhere").rename(path)
            await health(store, StoreHealth.OK)
            await all_written(store)
            assert await chat_of(store) == [1, 2]


async def commit_too_late(store) -> None:
    with pytest.raises(StoreUnavailableError, match=r"the server stopped before it was kept: .* locked"):
        await store.commit(AddChat(line(1)))


async def test_what_cannot_be_written_before_the_end_is_told(sqlite_url, caplog, capsys):
    with trio.fail_after(60):
        async with open_store(sqlite_url, patience_seconds=50) as store, trio.open_nursery() as nursery:
            with locked(sqlite_url):
                nursery.start_soon(commit_too_late, store)
                store.submit(AddEvent(EVENT), AddEvent(event(2)))
                await health(store, StoreHealth.WAITING)
                await store.close(0.1)
        told = capsys.readouterr().out + caplog.text
        assert "changes were lost" in told
        assert "'AddChat': 1" in told
        assert "'AddEvent': 2" in told
        with pytest.raises(StoreUnavailableError, match="the store is closed"):
            await store.commit(AddChat(line(3)))
        store.submit(AddChat(line(4)))
        assert store.statistics().dropped == 1


async def test_closing_writes_what_waits_when_the_database_comes_back_in_time(sqlite_url):
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery, open_store(sqlite_url, close_seconds=30) as store:
            with locked(sqlite_url):
                store.submit(*(AddChat(line(seq)) for seq in range(1, 101)))
                await health(store, StoreHealth.WAITING)
                nursery.start_soon(store.close, 30)
                await trio.testing.wait_all_tasks_blocked()
        async with open_store(sqlite_url) as store:
            assert await chat_of(store) == list(range(1, 101))


async def test_a_cancelled_scope_still_writes_what_waits(durable_url):
    with trio.fail_after(60):
        with trio.CancelScope() as scope:
            async with open_store(durable_url) as store:
                store.submit(*(AddChat(line(seq)) for seq in range(1, 101)))
                scope.cancel()
                await trio.sleep_forever()
        async with open_store(durable_url) as store:
            assert await chat_of(store) == list(range(1, 101))


async def test_files_are_for_their_owner_only(sqlite_url):
    path = path_of(sqlite_url)
    with trio.fail_after(60):
        async with open_store(sqlite_url) as store:
            await store.commit(AddChat(line(1)))
            modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}
        assert set(modes) == {path.name + ending for ending in ("", "-wal", "-shm", ".lock")}
        assert set(modes.values()) == {0o600}
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        # A copy that was put back.
        path.chmod(0o664)
        async with open_store(sqlite_url):
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert [one.name for one in path.parent.iterdir() if one.suffix != ".lock"] == [path.name]


async def opening_fails(url: str, expected: str) -> None:
    with trio.fail_after(60), pytest.raises(StoreOpenError, match=expected):
        async with open_store(url, open_seconds=0.2):
            raise AssertionError


async def test_a_second_server_is_kept_out(durable_url):
    with trio.fail_after(60):
        async with open_store(durable_url) as store:
            await opening_fails(durable_url, "another server uses the database .*stop it")
            await store.commit(AddChat(line(1)))
        async with open_store(durable_url) as store:
            assert await chat_of(store) == [1]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("no url", "is no URL"),
        ("mysql://u:secret@host/name", "there is no store for mysql"),
        ("sqlite://", "expected sqlite:////absolute/file"),
        ("sqlite:///:memory:", "memory: keeps nothing on disk"),
        ("sqlite:///x?mode=ro", "without options"),
        ("sqlite:////proc/relay/x.db", "the directory of the database, /proc/relay, cannot be made"),
        ("postgresql://u:secret@/x?host=/nowhere", "start it, or correct the setting database"),
    ],
)
async def test_what_cannot_be_opened_is_told(url, expected):
    with pytest.raises(StoreOpenError, match=expected) as told:
        async with open_store(url, open_seconds=0.2):
            raise AssertionError
    assert "secret" not in str(told.value)


async def test_a_file_that_is_no_database_is_told(tmp_path):
    path = tmp_path / "x.db"
    path.write_text("no database at all" * 1000)
    await opening_fails(f"sqlite:///{path}", "is no SQLite database .*put the last copy back")
    path.unlink()
    path.mkdir()
    await opening_fails(f"sqlite:///{path}", "cannot be made or opened: Is a directory")


async def test_odd_file_names_are_just_names(tmp_path):
    path = tmp_path / "what? 100% #1 'x'.db"
    with trio.fail_after(60):
        async with open_store(f"sqlite:///{str(path).replace('?', '%3F')}") as store:
            await store.commit(AddChat(line(1)))
            assert {one.name for one in tmp_path.iterdir()} >= {path.name, path.name + "-wal"}
