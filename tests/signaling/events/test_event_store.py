"""Events reach the store in batches, and numbers are never given twice."""

import structlog
import trio
import trio.testing
from recording_store import RecordingStore
from test_event_mapping import AT, PERSON

from signaling import events
from signaling.bus import Bus
from signaling.event_store import KEEP_EVERY, RESTART_GAP, EventKeeper, event_record, first_seq_after
from signaling.messages import ChatMessage

SPEAKING = events.SpeakingChanged("garden", "p-1", speaking=True, level_dbov=30)


def test_a_record_says_what_it_is_about() -> None:
    bus = Bus()
    with structlog.contextvars.bound_contextvars(connection="c-1"):
        stamped = bus.publish(events.ParticipantEntered("garden", "s-1", PERSON))
    record = event_record(stamped)
    assert (record.seq, record.at, record.type) == (1, stamped.at, "ParticipantEntered")
    assert (record.session_id, record.lobby_id, record.correlation_id) == ("s-1", "garden", "c-1")
    assert record.data["participant"]["name"] == "Ada"


async def test_events_are_kept_in_batches_without_private_words_and_passing_states(autojump_clock) -> None:
    bus, store = Bus(), RecordingStore()
    with bus.subscribe("event_store") as subscription:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(EventKeeper(store, batch_events=50).run, subscription)
            for number in range(120):
                bus.publish(events.LobbyOpened(str(number)))
            await trio.testing.wait_all_tasks_blocked()
            assert store.batches == [50, 50]  # the rest waits for company
            await trio.sleep(0.3)
            assert store.batches == [50, 50, 20]
            line = ChatMessage(seq=1, participant_id="p-1", name="Ada", text="psst", sent_at=AT)
            bus.publish(events.ChatSaid("garden", line))
            bus.publish(SPEAKING)
            await trio.sleep(0.3)
            nursery.cancel_scope.cancel()
    assert store.batches == [50, 50, 20, 1]
    assert [record.seq for record in store.events] == list(range(1, 122))
    assert "psst" not in str(store.events)
    assert store.events[-1].data["message"]["seq"] == 1


async def test_what_waits_at_the_end_is_handed_over(autojump_clock) -> None:
    bus, store = Bus(), RecordingStore()
    keeper = EventKeeper(store)
    with bus.subscribe("event_store") as subscription:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keeper.run, subscription)
            bus.publish(events.LobbyOpened("a"))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        bus.publish(events.LobbyClosed("a"))
        assert store.events == []
        keeper.keep_waiting(subscription)
    assert [record.type for record in store.events] == ["LobbyOpened", "LobbyClosed"]


async def test_the_store_knows_about_where_the_sequence_is_whatever_happens(autojump_clock) -> None:
    bus, store = Bus(first_seq=first_seq_after(0)), RecordingStore()
    with bus.subscribe("event_store") as subscription:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(EventKeeper(store).run, subscription)
            for _ in range(2 * KEEP_EVERY + 5):
                bus.publish(SPEAKING)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
    assert [record.seq for record in store.events] == [1, 1 + KEEP_EVERY, 1 + 2 * KEEP_EVERY]
    snapshot = await store.load()
    following = Bus(first_seq=first_seq_after(snapshot.event_seq))
    assert following.publish(SPEAKING).seq == 1 + 2 * KEEP_EVERY + RESTART_GAP + 1
