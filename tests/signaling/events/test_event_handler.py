"""A handler that fails or is slow is nobody else's affair; how late it is, is measured."""

from contextlib import ExitStack

import pytest
import structlog
import trio
import trio.testing

from signaling.bus import Bus, Overflow, Stamped, SubscriptionLostError
from signaling.event_handler import run_batch_handler, run_handler
from signaling.events import LobbyOpened


async def test_a_failure_is_counted_and_logged_and_the_next_event_goes_on(autojump_clock) -> None:
    bus = Bus()
    handled: list[int] = []

    async def handler(stamped: Stamped) -> None:
        if stamped.seq == 2:
            raise ZeroDivisionError
        handled.append(stamped.seq)

    with structlog.testing.capture_logs() as lines, bus.subscribe("fragile") as subscription:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_handler, subscription, handler)
            for name in "abc":
                bus.publish(LobbyOpened(name))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert handled == [1, 3]
    assert bus.failures == {"fragile": 1}
    assert [line["task"] for line in lines] == ["fragile"]
    assert bus.subscribers["fragile"].handled == 3


async def test_a_slow_handler_delays_nobody_else_and_shows_in_its_latency(autojump_clock) -> None:
    bus = Bus(clock=trio.current_time)
    done: dict[str, list[float]] = {"slow": [], "quick": []}

    async def slow(_: Stamped) -> None:
        await trio.sleep(2)
        done["slow"].append(trio.current_time() - start)

    async def quick(_: Stamped) -> None:
        done["quick"].append(trio.current_time() - start)

    with ExitStack() as stack:
        async with trio.open_nursery() as nursery:
            start = trio.current_time()
            for name, handler in (("slow", slow), ("quick", quick)):
                nursery.start_soon(run_handler, stack.enter_context(bus.subscribe(name)), handler)
            for name in "abc":
                bus.publish(LobbyOpened(name))
            await trio.sleep(7)
            nursery.cancel_scope.cancel()
    assert done["quick"] == pytest.approx([0, 0, 0])
    assert done["slow"] == pytest.approx([2, 4, 6])
    latency = bus.subscribers["slow"].latency
    assert latency.count == 3
    assert latency.sum == pytest.approx(12)
    assert bus.subscribers["quick"].latency.quantile(1.0) <= 0.0005


async def test_a_handler_hears_when_its_subscription_was_ended(autojump_clock) -> None:
    bus = Bus()
    with bus.subscribe("strict", capacity=1, overflow=Overflow.CLOSE) as strict:
        bus.publish(LobbyOpened("a"))
        bus.publish(LobbyOpened("b"))

        async def handler(_: Stamped) -> None:
            pass

        with pytest.raises(SubscriptionLostError):
            await run_handler(strict, handler)
    assert bus.subscribers["strict"].handled == 1


async def test_batches_are_full_or_in_time(autojump_clock) -> None:
    bus = Bus(clock=trio.current_time)
    batches: list[tuple[float, list[int]]] = []

    async def handler(batch: list[Stamped]) -> None:
        batches.append((trio.current_time() - start, [stamped.seq for stamped in batch]))
        if len(batches) == 1:
            raise ZeroDivisionError

    with bus.subscribe("batch") as subscription:
        async with trio.open_nursery() as nursery:
            start = trio.current_time()
            nursery.start_soon(
                lambda: run_batch_handler(subscription, handler, batch_events=3, batch_seconds=1)
            )
            for name in "abcdefg":
                bus.publish(LobbyOpened(name))
            await trio.sleep(0.5)
            bus.publish(LobbyOpened("h"))
            await trio.sleep(5)
            bus.publish(LobbyOpened("i"))
            await trio.sleep(5)
            nursery.cancel_scope.cancel()
    assert [seqs for _, seqs in batches] == [[1, 2, 3], [4, 5, 6], [7, 8], [9]]
    assert [at for at, _ in batches] == pytest.approx([0, 0, 1, 6.5])
    assert bus.failures == {"batch": 1}
    assert bus.subscribers["batch"].handled == 9
