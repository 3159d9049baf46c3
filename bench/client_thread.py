"""What thin clients do, in a thread on the client's core, and what it cost the relay meanwhile."""

from collections.abc import Callable
from functools import partial
from time import monotonic_ns
from typing import Any, Final

import trio

from bench.connections_result import PhaseCost
from bench.machine import pinned_thread
from bench.process import usage_between
from bench.server import RelayServer
from bench.thin_clients import ThinClients

PROGRESS_INTERVAL_S: Final = 1.0


async def measure_work(
    work: Callable[[], None],
    *,
    clients: ThinClients[Any],
    server: RelayServer,
    client_cpu: int | None,
    tell: Callable[[], None],
) -> PhaseCost:
    """Do one thing in a thread of its own; cancelling lets it return first. `tell` is called now and then."""
    before, began_ns, idle_ns = await server.sample(), monotonic_ns(), clients.tally.idle_ns
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_tell_now_and_then, tell)
        nursery.start_soon(_stop_when_cancelled, clients, nursery.cancel_scope)
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(partial(_on_core, client_cpu, work))
        client_idle_ns, elapsed_ns = clients.tally.idle_ns - idle_ns, monotonic_ns() - began_ns
        nursery.cancel_scope.cancel()
    usage = usage_between(before, await server.sample())
    return PhaseCost(
        seconds=elapsed_ns / 1e9,
        server_cpu_share=usage.cpu_share,
        server_rss_bytes=usage.rss_bytes,
        client_busy_share=1 - client_idle_ns / elapsed_ns,
    )


def _on_core(core: int | None, work: Callable[[], None]) -> None:
    with pinned_thread(core):
        work()


async def _tell_now_and_then(tell: Callable[[], None]) -> None:
    while True:
        await trio.sleep(PROGRESS_INTERVAL_S)
        tell()


async def _stop_when_cancelled(clients: ThinClients[Any], own: trio.CancelScope) -> None:
    """Let the thread return when somebody else than its own scope, which ends with it, cancels."""
    try:
        await trio.sleep_forever()
    finally:
        if not own.cancel_called:
            clients.stop()
