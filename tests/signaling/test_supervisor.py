"""What goes wrong for one client stays with it; being cancelled is not going wrong."""

from collections import Counter

import pytest
import trio

from signaling.supervisor import supervise


async def test_a_fault_is_counted_and_ends_here() -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    failures: Counter[str] = Counter()
    assert not await supervise("one", failures, fail)
    assert failures == {"one": 1}


async def test_success_is_told() -> None:
    failures: Counter[str] = Counter()
    assert await supervise("one", failures, trio.lowlevel.checkpoint)
    assert not failures


async def test_cancellation_passes_through(autojump_clock) -> None:
    failures: Counter[str] = Counter()
    with trio.move_on_after(1) as scope:
        await supervise("one", failures, trio.sleep_forever)
    assert scope.cancelled_caught
    assert not failures


async def test_a_fault_beside_a_cancellation_is_counted_and_the_cancellation_passes(autojump_clock) -> None:
    async def fail_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ZeroDivisionError

    async def both() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_when_cancelled)
            nursery.start_soon(trio.sleep_forever)

    failures: Counter[str] = Counter()
    with trio.move_on_after(1):
        await supervise("one", failures, both)
    assert failures == {"one": 1}


async def test_an_interrupt_is_not_ours_to_catch() -> None:
    async def interrupt() -> None:
        raise KeyboardInterrupt

    failures: Counter[str] = Counter()
    with pytest.raises(KeyboardInterrupt):
        await supervise("one", failures, interrupt)
    assert not failures
