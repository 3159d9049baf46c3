"""What the store in memory forgets, and that it says so."""

from store_records import LOBBY, event, line
from store_waits import chat_of

from signaling.storage import AddChat, AddEvent, PutLobby
from signaling.storage.memory import MemoryStore


async def test_the_oldest_is_forgotten_and_counted():
    store = MemoryStore(max_events=100, max_chat_lines=10)
    store.submit(PutLobby(LOBBY))
    for seq in range(1, 1001):
        store.submit(AddEvent(event(seq)), AddChat(line(seq)))
    events = [one.seq for one in await store.events_after(0, limit=9999)]
    assert 100 <= len(events) <= 110
    assert events == list(range(events[0], 1001))
    assert (await chat_of(store))[-10:] == list(range(991, 1001))
    assert len(await chat_of(store)) <= 11
    kept = await store.load()
    assert (kept.event_seq, kept.chat_seqs) == (1000, {"l1": 1000})
    statistics = store.statistics()
    assert statistics.expired == 2000 - len(events) - len(await chat_of(store))
    assert (statistics.committed, statistics.batches) == (2001, 1001)


async def test_what_was_told_as_gone_does_not_come_back_as_new():
    store = MemoryStore(max_events=10)
    store.submit(*(AddEvent(event(seq)) for seq in range(1, 101)))
    first = (await store.events_after(0, limit=1))[0].seq
    assert first > 1
    assert [one.seq for one in await store.events_after(first - 1, limit=2)] == [first, first + 1]
