"""The administrator's stream: live, replayed, filtered, batched, and bounded."""

from itertools import pairwise

import pytest
import trio
import trio.testing
from feed_client import FeedClient, feed_client
from recording_store import RecordingStore
from test_event_mapping import AT, PERSON
from wsproto.events import CloseConnection

from signaling import events
from signaling.bus import Bus
from signaling.event_feed.feed import REFUSAL_BURST, REQUEST_BURST
from signaling.event_store import KEEP_EVERY, RESTART_GAP, event_record
from signaling.messages import ChatMessage, Closing, ErrorReply, Pong
from signaling.messages.feed import FeedEvents, FeedGap, FeedHello, FeedSubscribed


def speaking(who: str, *, now: bool = True) -> events.SpeakingChanged:
    return events.SpeakingChanged("garden", who, speaking=now, level_dbov=30)


async def subscribed(client: FeedClient, **wanted: object) -> None:
    await client.request("subscribe", **wanted)
    await client.expect(FeedSubscribed)


async def seqs_up_to(client: FeedClient, last: int) -> list[int]:
    """Return the numbers of all events up to this one."""
    found: list[int] = []
    while not found or found[-1] < last:
        found += [each.seq for each in (await client.expect(FeedEvents)).events]
    return found


async def test_the_server_greets_with_where_the_sequence_is_and_what_can_happen(autojump_clock) -> None:
    bus = Bus(replay_events=2)
    for name in "abc":
        bus.publish(events.LobbyOpened(name))
    async with feed_client(bus) as client:
        hello = await client.expect(FeedHello)
        assert (hello.seq, hello.oldest_seq) == (3, 2)
        assert {"LobbyOpened", "ChatSaid"} <= set(hello.types)


async def test_events_follow_as_they_happen_with_all_that_belongs_to_them(autojump_clock) -> None:
    bus = Bus()
    bus.publish(events.LobbyOpened("before"))
    async with feed_client(bus) as client:
        await client.expect(FeedHello)
        number = await client.request("subscribe")
        reply, re = await client.next()
        assert (reply, re) == (FeedSubscribed(seq=1, since=None), number)
        await trio.testing.wait_all_tasks_blocked()
        stamped = bus.publish(
            events.ChatSaid(
                "garden", ChatMessage(seq=1, participant_id="p-1", name="Ada", text="psst", sent_at=AT)
            )
        )
        (event,) = (await client.expect(FeedEvents)).events
        assert (event.seq, event.at, event.type) == (2, stamped.at, "ChatSaid")
        assert event.data["message"] == {
            "seq": 1,
            "participant_id": "p-1",
            "name": "Ada",
            "sent_at": "2026-01-31T12:00:00Z",
        }


async def test_a_client_that_comes_back_misses_nothing(autojump_clock) -> None:
    bus = Bus()
    for number in range(1200):
        bus.publish(events.LobbyOpened(str(number)))
    async with feed_client(bus) as client:
        await client.expect(FeedHello)
        await subscribed(client, since=100)
        bus.publish(events.LobbyOpened("while it is replayed"))
        assert await seqs_up_to(client, 1201) == list(range(101, 1202))
        bus.publish(events.LobbyOpened("live"))
        assert await seqs_up_to(client, 1202) == [1202]


async def test_older_events_come_from_the_store(autojump_clock) -> None:
    bus, store = Bus(replay_events=10), RecordingStore()
    for number in range(1300):
        store.events.append(event_record(bus.publish(events.LobbyOpened(str(number)))))
    async with feed_client(bus, store) as client:
        await client.expect(FeedHello)
        await subscribed(client, since=5)
        assert await seqs_up_to(client, 1300) == list(range(6, 1301))


async def test_what_happened_before_a_restart_comes_from_the_store_without_alarm(autojump_clock) -> None:
    former, store = Bus(), RecordingStore()
    for number in range(20):
        store.events.append(event_record(former.publish(events.LobbyOpened(str(number)))))
    bus = Bus(first_seq=20 + RESTART_GAP, replay_events=3)
    for number in range(5):
        store.events.append(event_record(bus.publish(events.LobbyOpened(str(number)))))
    first = RESTART_GAP + 21
    async with feed_client(bus, store) as client:
        await client.expect(FeedHello)
        await subscribed(client, since=20)
        assert await seqs_up_to(client, first + 4) == list(range(first, first + 5))
        await subscribed(client, since=18)
        assert await seqs_up_to(client, first + 4) == [19, 20, *range(first, first + 5)]


async def test_a_gap_is_told_when_the_store_does_not_answer(autojump_clock) -> None:
    bus, store = Bus(replay_events=10), RecordingStore()
    for number in range(100):
        bus.publish(events.LobbyOpened(str(number)))
    store.available = False
    async with feed_client(bus, store) as client:
        await client.expect(FeedHello)
        await subscribed(client, since=5)
        gap = await client.expect(FeedGap)
        assert (gap.after, gap.before) == (5, 91)
        assert "the database does not answer" in gap.reason
        assert await seqs_up_to(client, 100) == list(range(91, 101))


async def test_a_gap_is_told_when_there_is_no_store(autojump_clock) -> None:
    bus = Bus(replay_events=10)
    for number in range(100):
        bus.publish(events.LobbyOpened(str(number)))
    async with feed_client(bus) as client:
        await client.expect(FeedHello)
        await subscribed(client, since=5)
        gap = await client.expect(FeedGap)
        assert (gap.after, gap.before) == (5, 91)


async def test_a_gap_is_told_when_the_store_has_removed_the_oldest(autojump_clock) -> None:
    bus, store = Bus(replay_events=10), RecordingStore()
    for number in range(3 * KEEP_EVERY):
        stamped = bus.publish(events.LobbyOpened(str(number)))
        if number >= 2 * KEEP_EVERY:
            store.events.append(event_record(stamped))
    async with feed_client(bus, store) as client:
        await client.expect(FeedHello)
        await subscribed(client, since=5, types=["LobbyOpened"])
        gap = await client.expect(FeedGap)
        assert (gap.after, gap.before) == (5, 2 * KEEP_EVERY + 1)
        assert await seqs_up_to(client, 3 * KEEP_EVERY) == list(range(2 * KEEP_EVERY + 1, 3 * KEEP_EVERY + 1))


async def test_a_gap_is_told_when_the_store_lags_behind(autojump_clock) -> None:
    bus, store = Bus(replay_events=10), RecordingStore()
    for number in range(3 * KEEP_EVERY):
        stamped = bus.publish(events.LobbyOpened(str(number)))
        if number < 20:
            store.events.append(event_record(stamped))
    async with feed_client(bus, store) as client:
        await client.expect(FeedHello)
        await subscribed(client, since=5)
        assert await seqs_up_to(client, 20) == list(range(6, 21))
        gap = await client.expect(FeedGap)
        assert (gap.after, gap.before) == (20, 3 * KEEP_EVERY - 9)
        assert await seqs_up_to(client, 3 * KEEP_EVERY) == list(range(3 * KEEP_EVERY - 9, 3 * KEEP_EVERY + 1))


async def test_a_subscription_is_filtered_by_type_and_lobby_live_and_replayed(autojump_clock) -> None:
    bus, store = Bus(replay_events=4), RecordingStore()

    def happen() -> None:
        for event in (
            events.LobbyOpened("garden"),
            events.LobbyOpened("cellar"),
            events.SessionOpened("s-1"),
            events.LobbyClosed("garden"),
        ):
            store.events.append(event_record(bus.publish(event)))

    happen()
    happen()
    async with feed_client(bus, store) as client:
        await client.expect(FeedHello)
        await subscribed(client, since=0, types=["LobbyOpened", "SessionOpened"], lobby="garden")
        assert await seqs_up_to(client, 5) == [1, 5]
        happen()
        assert await seqs_up_to(client, 9) == [9]


async def test_a_session_is_followed_into_its_lobbies(autojump_clock) -> None:
    bus = Bus()
    bus.publish(events.SessionOpened("s-1"))
    bus.publish(events.SessionOpened("s-2"))
    bus.publish(events.ParticipantEntered("garden", "s-1", PERSON))
    bus.publish(events.ParticipantGone("garden", "p-2", "left"))
    bus.publish(events.ParticipantGone("garden", "p-1", "left"))
    bus.publish(events.SessionEnded("s-1", "left"))
    async with feed_client(bus) as client:
        await client.expect(FeedHello)
        await subscribed(client, since=0, session="s-1")
        assert await seqs_up_to(client, 6) == [1, 3, 5, 6]
        await subscribed(client, since=0, session="s-1", types=["ParticipantGone"])
        assert await seqs_up_to(client, 5) == [5]


async def test_a_company_is_shown_nothing_of_anybody_elses(autojump_clock) -> None:
    bus, store = Bus(replay_events=1), RecordingStore()
    stamped = bus.publish(events.LobbyOpened("garden"))
    record = event_record(stamped)
    for seq, company in ((1, "acme"), (2, "other"), (3, "")):
        data = {**record.data, "company_id": company}
        store.events.append(type(record)(seq=seq, at=record.at, type=record.type, data=data))
    bus.publish(events.LobbyOpened("x"))
    bus.publish(events.LobbyOpened("y"))
    bus.publish(events.LobbyOpened("z"))
    async with feed_client(bus, store, company_id="acme") as client:
        await client.expect(FeedHello)
        await subscribed(client, since=0)
        assert [(each.seq, each.data["company_id"]) for each in (await client.expect(FeedEvents)).events] == [
            (1, "acme")
        ]


async def test_speaking_levels_are_batched_and_only_the_newest_is_told(autojump_clock) -> None:
    bus = Bus()
    async with feed_client(bus) as client:
        await client.expect(FeedHello)
        await subscribed(client)
        await trio.testing.wait_all_tasks_blocked()
        frames = []

        async def talk() -> None:
            for number in range(100):  # for ten seconds
                bus.publish(speaking("p-1", now=number % 2 == 0))
                bus.publish(speaking("p-2", now=number % 2 == 1))
                await trio.sleep(0.1)
            bus.publish(events.LobbyClosed("garden"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk)
            while not frames or frames[-1][1].events[-1].type != "LobbyClosed":
                frame = await client.expect(FeedEvents)
                frames.append((trio.current_time(), frame))
    seqs = [each.seq for _, frame in frames for each in frame.events]
    assert seqs == sorted(set(seqs))
    assert len(seqs) + sum(frame.missed for _, frame in frames) == 201
    assert len(frames) <= 55
    assert all(later - sooner >= 0.19 for (sooner, _), (later, _) in pairwise(frames[:-1]))
    for _, frame in frames:
        speakers = [each.data["participant_id"] for each in frame.events if each.type == "SpeakingChanged"]
        assert len(speakers) == len(set(speakers))


async def test_the_client_chooses_how_often_it_is_told(autojump_clock) -> None:
    bus = Bus()
    async with feed_client(bus) as client:
        await client.expect(FeedHello)
        await subscribed(client, min_interval_ms=5000)
        await trio.testing.wait_all_tasks_blocked()
        bus.publish(events.LobbyOpened("a"))
        await client.expect(FeedEvents)
        start = trio.current_time()
        bus.publish(events.LobbyOpened("b"))
        await trio.sleep(1)
        bus.publish(events.LobbyOpened("c"))
        assert await seqs_up_to(client, 3) == [2, 3]
        assert trio.current_time() - start == pytest.approx(5, abs=0.1)


async def test_a_second_subscription_replaces_the_first_from_its_reply_on(autojump_clock) -> None:
    bus = Bus()
    async with feed_client(bus) as client:
        await client.expect(FeedHello)
        await subscribed(client, types=["LobbyOpened"])
        bus.publish(events.LobbyOpened("a"))
        await client.request("subscribe", types=["LobbyClosed"])
        while True:
            message, _ = await client.next()
            if isinstance(message, FeedSubscribed):
                break
            assert isinstance(message, FeedEvents)
        bus.publish(events.LobbyOpened("b"))
        bus.publish(events.LobbyClosed("b"))
        (event,) = (await client.expect(FeedEvents)).events
        assert event.type == "LobbyClosed"


async def test_bad_requests_are_answered_and_change_nothing(autojump_clock) -> None:
    bus = Bus()
    async with feed_client(bus) as client:
        await client.expect(FeedHello)
        await subscribed(client)
        for send, code, field, words in (
            (lambda: client.send_text("{"), "invalid_json", None, "not JSON"),
            (lambda: client.send_bytes(b"x"), "unsupported", None, "text frames"),
            (lambda: client.request("join", lobby="x", name="y"), "unknown_type", "type", "join"),
            (lambda: client.request("subscribe", since=-1), "invalid_message", "since", "since"),
            (lambda: client.request("subscribe", since=9), "invalid_message", "since", "another server"),
            (lambda: client.request("subscribe", types=["Nope"]), "invalid_message", "types", "'Nope'"),
            (lambda: client.request("subscribe", types=["a b"]), "invalid_message", "types.0", "types"),
            (lambda: client.request("subscribe", min_interval_ms=10**9), "invalid_message", None, "interval"),
        ):
            await send()
            error = await client.expect(ErrorReply)
            assert error.code == code
            assert words in error.error
            assert field is None or error.field == field
        await client.request("ping")
        await client.expect(Pong)
        bus.publish(events.LobbyOpened("still subscribed"))
        assert await seqs_up_to(client, 1) == [1]


async def test_too_many_requests_are_refused_and_persisting_is_the_end(autojump_clock) -> None:
    bus = Bus()
    async with feed_client(bus) as client:
        await client.expect(FeedHello)
        for _ in range(REQUEST_BURST + REFUSAL_BURST + 1):
            await client.request("ping")
        heard = []
        while (found := await client.next()) is not None:
            heard.append(found[0])
        assert [type(each) for each in heard[:REQUEST_BURST]] == [Pong] * REQUEST_BURST
        refused = [each for each in heard if isinstance(each, ErrorReply)]
        assert {each.code for each in refused} == {"rate_limited"}
        assert isinstance(heard[-1], Closing)
        assert client.closed == CloseConnection(code=1008, reason="too many requests for too long")


async def test_a_slow_client_is_told_why_it_is_closed_and_nobody_waits_for_it(autojump_clock) -> None:
    bus = Bus()
    async with (
        feed_client(bus, reads_in_step=True, queue_events=2000) as slow,
        feed_client(bus, queue_events=2000) as quick,
    ):
        for client in (slow, quick):
            await client.expect(FeedHello)
            await subscribed(client)
        heard: list[int] = []
        while not bus.subscribers["admin_feed"].lost:
            for _ in range(500):
                bus.publish(events.LobbyOpened("x" * 200))
            heard += await seqs_up_to(quick, bus.seq)
            assert bus.seq < 50_000
        assert heard == list(range(1, bus.seq + 1))
        seen: list[int] = []
        while (found := await slow.next()) is not None:
            if isinstance(found[0], FeedEvents):
                seen += [each.seq for each in found[0].events]
        assert seen == list(range(1, len(seen) + 1))
        assert slow.closed is not None
        assert slow.closed.code == 1013
        assert "2000 events waited" in (slow.closed.reason or "")


async def test_a_long_replay_goes_at_the_clients_pace(autojump_clock) -> None:
    bus = Bus(replay_events=20_000)
    for _ in range(15_000):
        bus.publish(events.LobbyOpened("x" * 400))
    async with feed_client(bus, reads_in_step=True) as client:
        await client.expect(FeedHello)
        await subscribed(client, since=0)
        assert await seqs_up_to(client, 15_000) == list(range(1, 15_001))
