"""Numbers without gaps, subscribers that do not disturb each other, a bounded memory."""

import pytest
import structlog
import trio
import trio.testing

from signaling.bus import Bus, Overflow, SubscriptionLostError
from signaling.correlation import correlation_id
from signaling.events import LobbyClosed, LobbyEvent, LobbyOpened, SessionOpened


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_events_are_numbered_and_reach_every_subscriber_in_order() -> None:
    bus = Bus()
    with bus.subscribe("one") as one, bus.subscribe("two") as two:
        for name in "abc":
            bus.publish(LobbyOpened(name))
        for subscription in (one, two):
            heard = [await anext(aiter(subscription)) for _ in range(3)]
            assert [(stamped.seq, stamped.event) for stamped in heard] == [
                (number, LobbyOpened(name)) for number, name in enumerate("abc", 1)
            ]
    assert bus.published == {"LobbyOpened": 3}
    assert not bus.subscriptions


async def test_the_sequence_goes_on_after_a_restart() -> None:
    bus = Bus(first_seq=41)
    assert bus.seq == 41
    assert bus.kept_after(41).complete
    assert not bus.kept_after(40).complete
    assert bus.publish(LobbyOpened("a")).seq == bus.seq == 42
    assert bus.kept_after(41).complete


async def test_a_slow_subscriber_misses_the_newest_and_nobody_else_does() -> None:
    bus = Bus()
    with bus.subscribe("slow", capacity=2) as slow, bus.subscribe("quick") as quick:
        for number in range(5):
            bus.publish(LobbyOpened(str(number)))
        assert slow.missed == 3
        assert quick.missed == 0
        heard = aiter(slow)
        assert [(await anext(heard)).seq for _ in range(2)] == [1, 2]
        bus.publish(LobbyClosed("later"))
        # The gap tells it what it missed.
        assert (await anext(heard)).seq == 6
    # Counters outlive the subscription.
    assert bus.subscribers["slow"].missed == 3


async def test_a_subscriber_that_must_not_miss_anything_is_ended_with_the_reason() -> None:
    bus = Bus()
    with (
        bus.subscribe("strict", capacity=2, overflow=Overflow.CLOSE) as strict,
        bus.subscribe("other") as other,
    ):
        for number in range(4):
            bus.publish(LobbyOpened(str(number)))
        assert [(await anext(strict)).seq for _ in range(2)] == [1, 2]
        with pytest.raises(SubscriptionLostError, match="2 events waited for it when number 3 came"):
            await anext(strict)
        assert other.queued == 4
    assert bus.subscribers["strict"].lost == 1


async def test_a_reader_that_sleeps_is_told_when_its_subscription_is_ended(autojump_clock) -> None:
    bus = Bus()
    heard: list[int] = []

    async def read() -> None:
        async for stamped in strict:
            heard.append(stamped.seq)  # noqa: PERF401 - what was heard before it ends counts

    async def read_to_the_end() -> None:
        with pytest.raises(SubscriptionLostError):
            await read()

    with bus.subscribe("strict", capacity=1, overflow=Overflow.CLOSE) as strict, trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_to_the_end)
            await trio.testing.wait_all_tasks_blocked()
            bus.publish(LobbyOpened("a"))
            bus.publish(LobbyOpened("b"))
    assert heard == [1]


async def test_only_wanted_types_arrive_and_what_is_derived_from_them() -> None:
    bus = Bus()
    with bus.subscribe("lobbies", types=(LobbyEvent,)) as lobbies, bus.subscribe("all") as everything:
        bus.publish(SessionOpened("s-1"))
        bus.publish(LobbyOpened("a"))
        assert [stamped.seq for stamped in lobbies.take(9)] == [2]
        assert [stamped.seq for stamped in everything.take(9)] == [1, 2]
        with bus.subscribe("late", since=0, types=(SessionOpened,)) as late:
            bus.publish(LobbyOpened("b"))
            bus.publish(SessionOpened("s-2"))
            assert [stamped.seq for stamped in late.take(9)] == [1, 4]


async def test_those_who_come_late_hear_what_is_kept() -> None:
    bus = Bus(replay_events=3)
    for number in range(5):
        bus.publish(LobbyOpened(str(number)))
    assert bus.replay.evicted == {"size": 2}
    assert bus.replay.oldest_seq == 3
    with bus.subscribe("late", since=0) as late, bus.subscribe("exact", since=4) as exact:
        bus.publish(LobbyOpened("now"))
        heard = aiter(late)
        assert [(await anext(heard)).seq for _ in range(4)] == [3, 4, 5, 6]
        heard = aiter(exact)
        assert [(await anext(heard)).seq for _ in range(2)] == [5, 6]


def test_what_is_kept_is_bounded_by_age_as_well() -> None:
    clock = Clock()
    bus = Bus(replay_seconds=10, clock=clock)
    bus.publish(LobbyOpened("old"))
    clock.now += 6
    bus.publish(LobbyOpened("middle"))
    assert len(bus.kept_after(0).events) == 2
    clock.now += 5
    bus.publish(LobbyOpened("new"))
    kept = bus.kept_after(0)
    assert [stamped.seq for stamped in kept.events] == [2, 3]
    assert not kept.complete
    assert bus.kept_after(1).complete
    clock.now += 50  # nothing is published, yet what is old is not given out
    assert not bus.kept_after(1).events
    assert bus.kept_after(3).complete
    assert bus.replay.evicted == {"age": 3}


async def test_a_subscriber_that_leaves_hears_no_more(autojump_clock) -> None:
    bus = Bus()
    with bus.subscribe("gone") as gone:
        pass
    bus.publish(LobbyOpened("x"))
    with pytest.raises(trio.ClosedResourceError):
        await anext(gone)
    assert not gone.queued


async def test_a_reader_that_sleeps_hears_that_its_subscription_was_closed(autojump_clock) -> None:
    bus = Bus()

    async def read() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await anext(gone)

    async with trio.open_nursery() as nursery:
        with bus.subscribe("gone") as gone:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()


async def test_two_tasks_cannot_read_one_subscription(autojump_clock) -> None:
    bus = Bus()
    with bus.subscribe("one") as subscription:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(subscription.wait_for, 1)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await subscription.wait_for(1)
            nursery.cancel_scope.cancel()
        bus.publish(LobbyOpened("x"))
        assert (await anext(subscription)).seq == 1


async def test_a_busy_reader_lets_others_run() -> None:
    bus = Bus()
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    with bus.subscribe("busy") as busy:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            for _ in range(100):
                bus.publish(LobbyOpened("x"))
            for _ in range(100):
                await anext(busy)
            nursery.cancel_scope.cancel()
    assert turns >= 3


async def test_a_reader_may_wait_for_many(autojump_clock) -> None:
    bus = Bus()
    with bus.subscribe("batch") as batch:
        bus.publish(LobbyOpened("x"))
        with trio.move_on_after(1) as scope:
            await batch.wait_for(2)
        assert scope.cancelled_caught
        bus.publish(LobbyOpened("y"))
        await batch.wait_for(2)
        assert [stamped.seq for stamped in batch.take(2)] == [1, 2]


async def test_events_carry_the_connection_they_happened_for() -> None:
    bus = Bus()
    structlog.contextvars.clear_contextvars()
    assert bus.publish(LobbyOpened("a")).correlation_id == ""
    with structlog.contextvars.bound_contextvars(connection="c-1234", session="s-1"):
        assert bus.publish(LobbyOpened("a")).correlation_id == "c-1234"

        async def child() -> None:
            assert bus.publish(LobbyOpened("b")).correlation_id == "c-1234"

        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
        structlog.contextvars.clear_contextvars()
        assert correlation_id() == ""
