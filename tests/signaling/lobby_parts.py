"""Lobbies without a server: a bus, a store in memory, and a clock that a test moves."""

from signaling.auth import Companies
from signaling.bus import Bus
from signaling.lobbies import Lobbies
from signaling.storage import Store
from signaling.storage.memory import MemoryStore


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def make_lobbies(
    bus: Bus | None = None,
    *,
    store: Store | None = None,
    companies: Companies | None = None,
    clock: Clock | None = None,
    **more: object,
) -> Lobbies:
    kept = MemoryStore() if store is None else store
    tenants = Companies(store=kept) if companies is None else companies
    return Lobbies(
        Bus() if bus is None else bus,
        store=kept,
        usage=tenants.usage,
        on_audio=lambda _: None,
        clock=Clock() if clock is None else clock,
        **more,
    )
