"""Waiting for what a store's threads do, which gives no event to wait for; and what is kept, read shortly."""

from collections.abc import Callable

import trio

from signaling.storage import Store, StoreHealth, StoreStatistics


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - it comes true in another thread
        await trio.sleep(0.005)


async def health(store: Store, wanted: StoreHealth) -> StoreStatistics:
    """Wait until the store says that it is as wanted; return its statistics of then."""
    found = []

    def is_wanted() -> bool:
        found[:] = [store.statistics()]
        return found[0].health is wanted

    await until(is_wanted)
    return found[0]


async def all_written(store: Store) -> None:
    await until(lambda: not store.statistics().queued)


async def chat_of(store: Store) -> list[int]:
    return [one.seq for one in await store.chat_before("l1", before=None, limit=10_000)]
