"""Old rows go in small steps, and their numbers are never given again."""

from dataclasses import replace
from datetime import timedelta

import pytest
import trio
from store_records import AUDIT, LOBBY, NOW, event, line
from store_waits import chat_of, until

from signaling.storage import AddAudit, AddChat, AddEvent, DropLobby, PutLobby
from signaling.storage.opening import open_store
from signaling.storage.retention import ROUND_SECONDS, STEP_ROWS, Keep, Retention

DAY = timedelta(days=1)
OLD, NEW = NOW - 8 * DAY, NOW - 6 * DAY
WEEK = Keep(events_days=7, chat_days=7, audit_days=7)


async def fill(store, rows: int) -> None:
    old = range(1, rows + 1)
    await store.commit(
        PutLobby(LOBBY),
        *(AddEvent(event(seq, at=OLD)) for seq in old),
        *(AddChat(replace(line(seq), sent_at=OLD)) for seq in old),
        *(AddAudit(replace(AUDIT, at=OLD)) for _ in old),
    )


async def counts(store) -> tuple[int, int, int]:
    events = await store.events_after(0, limit=99_999)
    audit = await store.audit_before(before=None, limit=99_999)
    return len(events), len(await chat_of(store)), len(audit)


async def test_what_is_too_old_goes_and_the_rest_stays(durable_url):
    with trio.fail_after(60):
        async with open_store(durable_url) as store:
            await fill(store, 3)
            await store.commit(
                AddEvent(event(4, at=NEW)), AddChat(replace(line(4), sent_at=NEW)), AddAudit(AUDIT)
            )
            assert await counts(store) == (4, 4, 4)
        async with open_store(durable_url, keep=WEEK, clock=lambda: NOW) as store:
            await until(lambda: store.statistics().expired == 9)
            assert await counts(store) == (1, 1, 1)
            assert await chat_of(store) == [4]


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        (Keep(), (3, 3, 3)),
        (Keep(events_days=7), (0, 3, 3)),
        (Keep(chat_days=7), (3, 0, 3)),
        (Keep(audit_days=7), (3, 3, 0)),
        (Keep(9, 9, 9), (3, 3, 3)),
    ],
)
async def test_each_kind_has_its_own_days_and_none_means_for_ever(sqlite_url, keep, left):
    with trio.fail_after(60):
        async with open_store(sqlite_url) as store:
            await fill(store, 3)
        async with open_store(sqlite_url, keep=keep, clock=lambda: NOW) as store:
            await until(lambda: store.statistics().expired == 9 - sum(left))
            if not any((keep.events_days, keep.chat_days, keep.audit_days)):
                await store.commit()
            assert await counts(store) == left


async def test_numbers_of_what_is_gone_are_not_given_again(durable_url):
    with trio.fail_after(60):
        async with open_store(durable_url) as store:
            await fill(store, 5)
        for _ in range(2):
            async with open_store(durable_url, keep=WEEK, clock=lambda: NOW) as store:
                await until(lambda store=store: store.statistics().expired in {15, 0})
                kept = await store.load()
                assert (kept.event_seq, kept.chat_seqs) == (5, {"l1": 5})
        async with open_store(durable_url) as store:
            await store.commit(AddAudit(AUDIT))
            assert [one.entry_id for one in await store.audit_before(before=None, limit=9)] == [6]
            await store.commit(DropLobby("l1"), PutLobby(LOBBY))
            assert (await store.load()).chat_seqs == {}


async def test_many_rows_go_in_steps_between_which_changes_are_kept(sqlite_url):
    rows = 3 * STEP_ROWS + 1
    with trio.fail_after(60):
        async with open_store(sqlite_url, patience_seconds=50) as store:
            await fill(store, rows)
        async with open_store(sqlite_url, keep=WEEK, clock=lambda: NOW) as store:
            await store.commit(AddChat(line(9999)))
            await until(lambda: store.statistics().expired == 3 * rows)
            assert await counts(store) == (0, 1, 0)


def test_rounds_are_an_hour_apart():
    assert Retention(Keep()).due_at == float("inf")
    retention = Retention(WEEK)
    assert retention.due_at == 0.0
    retention.postpone(100.0)
    assert 100.0 < retention.due_at < 100.0 + ROUND_SECONDS
