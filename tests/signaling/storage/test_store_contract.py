"""What every store does, on memory, SQLite and a real PostgreSQL."""

from dataclasses import replace
from datetime import timedelta

import pytest
import trio
from store_records import (
    AUDIT,
    BOT,
    COMPANY,
    ELSEWHERE,
    EVENT,
    LARGEST,
    LETTER,
    LINE,
    LOBBY,
    NAME,
    NOW,
    SESSION,
    event,
    line,
)

from signaling.storage import (
    AddAudit,
    AddChat,
    AddDeadLetter,
    AddEvent,
    ChangeRefusedError,
    DropBot,
    DropCompany,
    DropDeadLetter,
    DropLobby,
    DropName,
    DropSession,
    PutBot,
    PutCompany,
    PutLobby,
    PutName,
    PutSession,
    Snapshot,
    StoreHealth,
)
from signaling.storage.opening import open_store


@pytest.fixture
async def store(store_url):
    with trio.fail_after(60):
        async with open_store(store_url, patience_seconds=50) as store:
            yield store


async def test_a_new_store_is_empty(store):
    assert await store.load() == Snapshot()
    assert await store.chat_before("l1", before=None, limit=10) == ()
    assert await store.events_after(0, limit=10) == ()
    assert await store.audit_before(before=None, limit=10) == ()
    assert await store.dead_letters(limit=10) == ()


async def test_everything_comes_back_exactly(store):
    await store.commit(
        PutSession(SESSION),
        PutLobby(LOBBY),
        PutName(NAME),
        PutCompany(COMPANY),
        PutBot(BOT),
        AddChat(LINE),
        AddEvent(EVENT),
        AddAudit(AUDIT),
        AddDeadLetter(LETTER),
    )
    assert await store.load() == Snapshot(
        (SESSION,), (LOBBY,), (NAME,), (COMPANY,), (BOT,), chat_seqs={"l1": 1}, event_seq=1
    )
    assert await store.chat_before("l1", before=None, limit=10) == (LINE,)
    assert await store.events_after(0, limit=10) == (EVENT,)
    assert await store.audit_before(before=None, limit=10) == (replace(AUDIT, entry_id=1),)
    assert await store.dead_letters(limit=10) == (LETTER,)


async def test_what_may_be_absent_may_be_absent(store):
    session = replace(
        SESSION, lobby_id=None, participant_id=None, name=None, joined_at=None, grants=None, is_bot=False
    )
    lobby = replace(LOBBY, password_hash=None, capacity=None, private=False, persistent=False)
    company = replace(COMPANY, key_digests=(), limits={}, enabled=True)
    bot = replace(BOT, provider=None, participant_id=None, joined_at=None, counters={})
    bare = event(5, session_id=None, lobby_id=None, data={})
    await store.commit(PutSession(session), PutLobby(lobby), PutCompany(company), PutBot(bot), AddEvent(bare))
    kept = await store.load()
    assert (kept.sessions, kept.lobbies, kept.companies) == ((session,), (lobby,), (company,))
    assert kept.bots == (bot,)
    assert await store.events_after(0, limit=10) == (bare,)


async def test_times_are_the_same_moment_wherever_they_were_told(store):
    told = NOW.astimezone(ELSEWHERE)
    await store.commit(PutLobby(replace(LOBBY, created_at=told)))
    (kept,) = (await store.load()).lobbies
    assert kept.created_at == NOW
    assert kept.created_at.utcoffset() is not None


async def test_put_replaces_and_drop_removes(store):
    await store.commit(PutSession(SESSION), PutLobby(LOBBY), PutName(NAME), PutCompany(COMPANY), PutBot(BOT))
    session, lobby = replace(SESSION, name="new", grants=None), replace(LOBBY, private=False, capacity=None)
    name, company = replace(NAME, password_hash="new"), replace(COMPANY, enabled=True, key_digests=())
    bot = replace(BOT, provider=None)
    await store.commit(PutSession(session), PutLobby(lobby), PutName(name), PutCompany(company), PutBot(bot))
    assert await store.load() == Snapshot((session,), (lobby,), (name,), (company,), (bot,))
    drops = (
        DropSession("s1"),
        DropLobby("l1"),
        DropName(NAME.company_id, NAME.key),
        DropCompany("acme"),
        DropBot("b1"),
    )
    for _ in range(2):
        await store.commit(*drops)
        assert await store.load() == Snapshot()


async def test_changes_are_applied_in_the_order_of_the_calls(store):
    for turn in range(50):
        store.submit(PutLobby(replace(LOBBY, name=f"lobby {turn}")), AddChat(line(turn + 1)))
        store.submit(DropLobby("l1"))
        await store.commit(PutLobby(replace(LOBBY, name="last")), AddChat(line(7)))
    kept = await store.load()
    assert [lobby.name for lobby in kept.lobbies] == ["last"]
    assert kept.chat_seqs == {"l1": 7}


async def test_adding_the_same_again_is_nothing(store):
    adds = AddChat(LINE), AddEvent(EVENT), AddDeadLetter(LETTER)
    others = AddChat(replace(LINE, text="other")), AddEvent(event(1, data={})), AddDeadLetter(LETTER)
    await store.commit(*adds, *others)
    await store.commit(*others)
    assert await store.chat_before("l1", before=None, limit=10) == (LINE,)
    assert await store.events_after(0, limit=10) == (EVENT,)
    assert await store.dead_letters(limit=10) == (LETTER,)


async def test_chat_is_read_backwards_page_by_page(store):
    numbers = [3, 1, 2, 5, 4, 10]
    await store.commit(PutLobby(LOBBY), *(AddChat(line(seq)) for seq in numbers), AddChat(line(99, "l2")))

    async def page(before, limit):
        return [one.seq for one in await store.chat_before("l1", before=before, limit=limit)]

    assert await page(None, 2) == [5, 10]
    assert await page(5, 2) == [3, 4]
    assert await page(3, 100) == [1, 2]
    assert await page(1, 100) == []
    assert await page(None, 0) == await page(None, -1) == []
    assert await page(1 << 100, 1) == [10]
    assert await page(-(1 << 100), 1) == []
    assert (await store.load()).chat_seqs == {"l1": 10}


async def test_dropping_a_lobby_drops_its_chat_and_no_other(store):
    await store.commit(PutLobby(LOBBY), PutLobby(replace(LOBBY, lobby_id="l2")))
    await store.commit(AddChat(line(1)), AddChat(line(1, "l2")), DropLobby("l1"))
    assert await store.chat_before("l1", before=None, limit=10) == ()
    assert await store.chat_before("l2", before=None, limit=10) == (line(1, "l2"),)
    assert (await store.load()).chat_seqs == {"l2": 1}


async def test_events_are_read_forwards_by_type_and_lobby(store):
    kept = [event(seq, type="AB"[seq % 2], lobby_id=(None, "l1", "l2")[seq % 3]) for seq in range(1, 13)]
    await store.commit(*map(AddEvent, reversed(kept)))

    async def page(seq, limit=100, **wanted):
        return [one.seq for one in await store.events_after(seq, limit=limit, **wanted)]

    assert await page(0) == list(range(1, 13))
    assert await page(4, 3) == [5, 6, 7]
    assert await page(12) == []
    assert await page(0, types=frozenset("A")) == [2, 4, 6, 8, 10, 12]
    assert await page(0, types=frozenset("AB"), limit=2) == [1, 2]
    assert await page(0, types=frozenset()) == []
    assert await page(0, lobby_id="l1") == [1, 4, 7, 10]
    assert await page(4, lobby_id="l1", types=frozenset("A"), limit=1) == [10]
    assert await page(0, lobby_id="\0\ud800") == []
    assert await page(0, 0) == await page(0, -5) == []
    assert await page(-(1 << 100), 1) == [1]
    assert await page(1 << 100) == []
    assert (await store.load()).event_seq == 12


async def test_numbers_of_64_bits_are_kept(store):
    await store.commit(PutLobby(LOBBY), AddEvent(event(LARGEST)), AddChat(line(LARGEST)))
    kept = await store.load()
    assert (kept.event_seq, kept.chat_seqs) == (LARGEST, {"l1": LARGEST})


async def test_audit_entries_are_numbered_in_their_order(store):
    for turn in range(6):
        entry = AddAudit(replace(AUDIT, action=f"action {turn}"))
        store.submit(entry) if turn % 2 else await store.commit(entry)
    await store.commit()

    async def page(before, limit):
        entries = await store.audit_before(before=before, limit=limit)
        return [(entry.entry_id, entry.action) for entry in entries]

    everything = [(turn + 1, f"action {turn}") for turn in range(6)][::-1]
    assert await page(None, 10) == everything
    assert await page(None, 2) == everything[:2]
    assert await page(5, 2) == everything[2:4]
    assert await page(1, 2) == await page(None, 0) == await page(None, -1) == []


async def test_dead_letters_come_oldest_first(store):
    letters = [
        replace(LETTER, delivery_id=f"d{number}", given_up_at=NOW + timedelta(seconds=number))
        for number in (3, 1, 2)
    ]
    await store.commit(*map(AddDeadLetter, letters))
    assert [one.delivery_id for one in await store.dead_letters(limit=2)] == ["d1", "d2"]
    await store.commit(DropDeadLetter("d1"), DropDeadLetter("nothing"))
    assert [one.delivery_id for one in await store.dead_letters(limit=9)] == ["d2", "d3"]
    assert await store.dead_letters(limit=0) == await store.dead_letters(limit=-1) == ()


async def test_statistics_count_changes_and_batches(store):
    before = store.statistics()
    assert (before.health, before.fault) == (StoreHealth.OK, None)
    assert (before.queued, before.committed, before.dropped, before.retries) == (0, 0, 0, 0)
    await store.commit(AddEvent(event(1)), AddEvent(event(2)))
    await store.commit(AddEvent(event(3)))
    after = store.statistics()
    assert (after.committed, after.batches, after.queued) == (3, 2, 0)
    assert after.capacity > 1000
    assert after.commit_seconds_total >= before.commit_seconds_total


async def test_all_is_there_after_the_store_was_closed(durable_url):
    with trio.fail_after(60):
        async with open_store(durable_url) as store:
            await store.commit(PutSession(SESSION), PutLobby(LOBBY), AddAudit(AUDIT))
            store.submit(*(AddChat(line(seq)) for seq in range(1, 2501)), AddEvent(EVENT))
        async with open_store(durable_url) as store:
            kept = await store.load()
            assert (kept.sessions, kept.chat_seqs, kept.event_seq) == ((SESSION,), {"l1": 2500}, 1)
            assert len(await store.chat_before("l1", before=None, limit=9999)) == 2500
            await store.commit(AddAudit(AUDIT))
            assert [one.entry_id for one in await store.audit_before(before=None, limit=9)] == [2, 1]


POISON = {
    "a number of more than 64 bits": PutLobby(replace(LOBBY, lobby_id="bad", capacity=1 << 70)),
    "a time without a zone": PutLobby(replace(LOBBY, lobby_id="bad", created_at=NOW.replace(tzinfo=None))),
    "what JSON cannot hold": AddEvent(event(66, data={"it": object()})),
    "nothing where something must be": PutLobby(replace(LOBBY, lobby_id="bad", name=None)),
    "a text that is none": PutLobby(replace(LOBBY, lobby_id="bad", name=b"bytes")),
    "no change": "nonsense",
    "bytes that are none": PutSession(replace(SESSION, session_id="bad", token_digest=object())),
}


@pytest.mark.parametrize("poison", POISON.values(), ids=POISON)
async def test_a_change_that_can_never_be_kept_fails_alone(durable_url, poison):
    failed = []

    async def commit(*changes):
        try:
            await store.commit(*changes)
        except ChangeRefusedError as error:
            failed.append((changes, str(error)))

    with trio.fail_after(60):
        async with open_store(durable_url, patience_seconds=50) as store:
            async with trio.open_nursery() as nursery:
                for seq in range(1, 21):
                    nursery.start_soon(commit, AddEvent(event(seq)))
                    if seq % 10 == 5:
                        nursery.start_soon(commit, AddEvent(event(100 + seq)), poison)
                store.submit(AddEvent(event(50)), poison, AddEvent(event(51)))
            await store.commit()
            assert [changes[1] for changes, _ in failed] == [poison, poison]
            assert "trying again will not help" in failed[0][1]
            kept = [one.seq for one in await store.events_after(0, limit=100)]
            assert kept == [*range(1, 21), 50, 51]
            statistics = store.statistics()
            assert statistics.health is StoreHealth.OK
            assert (statistics.rejected, statistics.committed, statistics.queued) == (5, 22, 0)
