"""A queue with two bounds and one policy."""

import pytest
import trio
import trio.testing

from signaling.outbox import Outbox


class Owner:
    def __init__(self, **bounds: int) -> None:
        self.overflows = 0
        self.outbox = Outbox(on_overflow=self._count, **{"max_bytes": 100, "max_frames": 5, **bounds})

    def _count(self) -> None:
        self.overflows += 1


async def test_frames_come_out_in_order_and_are_counted() -> None:
    outbox = Owner().outbox
    outbox.put("a")
    outbox.put("bc")
    assert (len(outbox), outbox.queued_bytes) == (2, 3)
    assert [await outbox.take(), await outbox.take()] == ["a", "bc"]
    assert (len(outbox), outbox.queued_bytes) == (0, 0)


@pytest.mark.parametrize(("size", "fits"), [(1, 5), (30, 3), (99, 1)])
async def test_overflow_empties_the_queue_and_tells_the_owner_once(size: int, fits: int) -> None:
    owner = Owner()
    for _ in range(fits):
        owner.outbox.put("x" * size)
    assert owner.overflows == 0
    for _ in range(3):
        owner.outbox.put("x" * size)
    assert owner.overflows == 1
    assert len(owner.outbox) == 0
    assert await owner.outbox.take() is None


async def test_one_frame_larger_than_the_queue_passes_when_it_is_alone() -> None:
    owner = Owner()
    owner.outbox.put("x" * 1000)
    assert owner.overflows == 0
    assert len(await owner.outbox.take() or "") == 1000


async def test_last_words_come_last_and_nothing_after_them() -> None:
    outbox = Owner().outbox
    outbox.put("first")
    outbox.end("goodbye")
    outbox.put("too late")
    assert [await outbox.take() for _ in range(3)] == ["first", "goodbye", None]


async def test_last_words_can_replace_what_waits() -> None:
    outbox = Owner().outbox
    outbox.put("first")
    outbox.end("goodbye", discard=True)
    assert [await outbox.take() for _ in range(2)] == ["goodbye", None]


async def test_a_waiting_taker_is_woken(autojump_clock) -> None:
    outbox = Owner().outbox
    taken: list[str | None] = []

    async def take_all() -> None:
        while (text := await outbox.take()) is not None:
            taken.append(text)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_all)
        await trio.testing.wait_all_tasks_blocked()
        outbox.put("a")
        outbox.put("b")
        await trio.testing.wait_all_tasks_blocked()
        assert taken == ["a", "b"]
        outbox.end()
