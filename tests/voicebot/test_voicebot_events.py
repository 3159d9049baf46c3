"""The event queue: order, overflow, end."""

import pytest
import trio
import trio.testing

from signaling.messages import Closing
from voicebot import ConnectionLostError, EventsDropped
from voicebot.events import EventQueue


def closing(number: int) -> Closing:
    return Closing(reason=str(number))


async def test_events_come_out_in_order() -> None:
    queue = EventQueue(4)
    for number in range(3):
        queue.put_nowait(closing(number))
    assert [await queue.get() for _ in range(3)] == [closing(0), closing(1), closing(2)]
    assert queue.dropped == 0


async def test_full_queue_drops_the_oldest_and_says_so_in_their_place() -> None:
    queue = EventQueue(2)
    for number in range(5):
        queue.put_nowait(closing(number))
    assert [await queue.get() for _ in range(3)] == [EventsDropped(3), closing(3), closing(4)]
    assert queue.dropped == 3
    queue.put_nowait(closing(5))
    assert await queue.get() == closing(5)


async def test_reader_waits_for_an_event(autojump_clock: trio.testing.MockClock) -> None:
    queue = EventQueue(2)
    received = []
    async with trio.open_nursery() as nursery:

        async def read() -> None:
            received.append(await queue.get())

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        assert received == []
        queue.put_nowait(closing(1))
    assert received == [closing(1)]


async def test_reader_gets_what_is_left_and_then_the_error() -> None:
    queue = EventQueue(2)
    queue.put_nowait(closing(1))
    queue.close(ConnectionLostError("gone"))
    queue.put_nowait(closing(2))
    assert await queue.get() == closing(1)
    for _ in range(2):
        with pytest.raises(ConnectionLostError, match="gone"):
            await queue.get()


async def test_two_readers_share_the_events(autojump_clock: trio.testing.MockClock) -> None:
    queue = EventQueue(8)
    received: list[object] = []
    async with trio.open_nursery() as nursery:

        async def read() -> None:
            received.append(await queue.get())

        nursery.start_soon(read)
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        queue.put_nowait(closing(1))
        queue.put_nowait(closing(2))
    assert sorted(event.reason for event in received) == ["1", "2"]


async def test_cancelled_reader_takes_no_event(autojump_clock: trio.testing.MockClock) -> None:
    queue = EventQueue(2)
    with trio.move_on_after(1):
        await queue.get()
    queue.put_nowait(closing(1))
    assert await queue.get() == closing(1)


def test_queue_needs_room() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        EventQueue(0)
