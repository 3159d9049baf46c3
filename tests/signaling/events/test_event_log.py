"""The log is a subscriber: levels by kind, no private words, the connection each line is about."""

import structlog
import trio
import trio.testing
from test_event_mapping import AT, PERSON

from signaling import events
from signaling.bus import Bus
from signaling.event_log import log_events
from signaling.messages import ChatMessage


async def test_events_are_logged_with_their_connection_and_without_private_words(autojump_clock) -> None:
    bus = Bus()
    with structlog.testing.capture_logs() as lines, bus.subscribe("event_log") as subscription:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(log_events, subscription)
            with structlog.contextvars.bound_contextvars(connection="c-1"):
                bus.publish(events.ParticipantEntered("garden", "s-1", PERSON))
            line = ChatMessage(seq=1, participant_id="p-1", name="Ada", text="psst", sent_at=AT)
            bus.publish(events.ChatSaid("garden", line))
            bus.publish(events.SpeakingChanged("garden", "p-1", speaking=True, level_dbov=30))
            bus.publish(events.WorkerOverloaded(worker=0, wait_ms=4.5))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert [(line["event"], line["log_level"], line["seq"]) for line in lines] == [
        ("ParticipantEntered", "info", 1),
        ("ChatSaid", "debug", 2),
        ("SpeakingChanged", "debug", 3),
        ("WorkerOverloaded", "warning", 4),
    ]
    assert lines[0]["connection"] == "c-1"
    assert "connection" not in lines[1]
    assert "tracks" not in lines[0]["participant"]
    assert "psst" not in str(lines)
