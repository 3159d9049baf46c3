"""The bus and all who hear it beside the clients: one scope, around everything that publishes.

    bus ── event log        a line for each event
        ├─ event store      each event kept, in batches (``event_store.py``)
        ├─ webhooks         each event posted to whoever the operator names (``webhooks/deliveries.py``)
        └─ event feed       one subscription for each administrator who watches (``event_feed/endpoint.py``)

They are told until the end: what sessions publish while they are suspended is logged, kept and posted, if this scope is
left after theirs. The store must outlive it.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from signaling.auth import AdminGate
from signaling.bus import Bus
from signaling.counters import Counters
from signaling.endpoints import Endpoint
from signaling.event_feed.endpoint import feed_endpoint
from signaling.event_log import log_events, log_waiting
from signaling.event_store import EventKeeper, first_seq_after
from signaling.outbound.calls import open_outbound
from signaling.storage import Store
from signaling.tracing.tracer import NO_TRACER, Tracer
from signaling.webhooks.deliveries import FLUSH_SECONDS, Webhooks, open_webhooks
from signaling.webhooks.endpoint import WebhookEndpoint
from signaling.websocket import WebSocketLimits


@dataclass(frozen=True, slots=True)
class Eventing:
    """What ``open_eventing`` makes."""

    bus: Bus
    #: For the front door.
    feed: Endpoint
    webhooks: Webhooks


@asynccontextmanager
async def open_eventing(
    *,
    store: Store,
    event_seq: int,
    admin_gate: AdminGate,
    counters: Counters,
    feed_limits: WebSocketLimits,
    webhooks: Iterable[WebhookEndpoint] = (),
    flush_seconds: float = FLUSH_SECONDS,
    tracer: Tracer = NO_TRACER,
) -> AsyncIterator[Eventing]:
    """Make the bus and let everybody hear it for the length of a scope.

    ``event_seq`` is ``Snapshot.event_seq``: numbers go on above it. At an orderly end webhooks have ``flush_seconds`` to be
    delivered; the rest become dead letters.
    """
    bus = Bus(first_seq=first_seq_after(event_seq))
    keeper = EventKeeper(store)
    with bus.subscribe("event_log") as logged, bus.subscribe("event_store") as kept:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(log_events, logged)
                nursery.start_soon(keeper.run, kept)
                async with (
                    open_outbound(tracer=tracer) as outbound,
                    open_webhooks(
                        bus, outbound, store, endpoints=webhooks, flush_seconds=flush_seconds
                    ) as delivering,
                ):
                    feed = feed_endpoint(bus, store, gate=admin_gate, counters=counters, limits=feed_limits)
                    yield Eventing(bus, feed, delivering)
                nursery.cancel_scope.cancel()
        finally:
            # However it ended: what was published while everything was being cancelled, too.
            log_waiting(logged)
            keeper.keep_waiting(kept)
