"""Numbers without gaps, subscribers that do not disturb each other, a bounded memory."""

import trio
import trio.testing

from signaling.bus import Bus
from signaling.events import LobbyClosed, LobbyOpened


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


async def test_those_who_come_late_hear_what_is_kept() -> None:
    bus = Bus(replay_events=3)
    for number in range(5):
        bus.publish(LobbyOpened(str(number)))
    with bus.subscribe("late", since=0) as late, bus.subscribe("exact", since=4) as exact:
        bus.publish(LobbyOpened("now"))
        heard = aiter(late)
        assert [(await anext(heard)).seq for _ in range(4)] == [3, 4, 5, 6]
        heard = aiter(exact)
        assert [(await anext(heard)).seq for _ in range(2)] == [5, 6]


async def test_a_subscriber_that_leaves_hears_no_more(autojump_clock) -> None:
    bus = Bus()
    with bus.subscribe("gone") as gone:
        pass
    bus.publish(LobbyOpened("x"))
    with trio.move_on_after(1) as scope:
        try:
            await anext(aiter(gone))
        except trio.ClosedResourceError:
            return
    assert scope.cancelled_caught
