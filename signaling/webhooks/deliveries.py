"""Tells other systems what happens: a subscriber of the bus that hands events to one worker for each endpoint.

A delivery is a POST of ``{"type", "timestamp", "seq", "correlation_id", "data"}``, signed (``webhooks/signature.py``), retried by the one
policy, under a breaker of its own, in order for each endpoint; what is given up is a dead letter in the store, which
can be delivered again by hand. At an orderly end there is a bounded time to deliver what waits; the rest is dead letters.
Receivers: ``docs/webhooks.md``.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from random import Random

import trio
from pydantic_core import to_json

from signaling.bus import Bus, Stamped, Subscription
from signaling.event_handler import run_handler
from signaling.event_mapping import event_to_mapping, rfc3339
from signaling.identifiers import new_id
from signaling.outbound.calls import Outbound
from signaling.outbound.circuit_breaker import OPEN_SECONDS
from signaling.outbound.retry import RetryPolicy
from signaling.storage import DeadLetterRecord, DropDeadLetter, Store
from signaling.webhooks.endpoint import WebhookEndpoint
from signaling.webhooks.worker import QUEUE_DELIVERIES, Delivery, WebhookStatistics, WebhookWorker

#: Six minutes: longer than a restart of the receiver takes. The deadline leaves room for a receiver that hangs each time,
#: or says with Retry-After when to come.
WEBHOOK_POLICY = RetryPolicy(attempts=12, base_seconds=1.0, cap_seconds=60.0, deadline_seconds=900.0)
FLUSH_SECONDS = 2.0
#: Dead letters among which one is looked for.
MAX_DEAD_LETTERS = 10_000
#: The name of the subscription in metrics.
SUBSCRIBER = "webhooks"


class WebhookError(Exception):
    """What was asked for cannot be done; the text says why."""


class UnknownDeliveryError(WebhookError):
    """There is no such dead letter."""


class EndpointGoneError(WebhookError):
    """Nobody listens at the delivery's URL any more."""


class DeliveryUnderWayError(WebhookError):
    """The dead letter is being delivered at this moment."""


class Webhooks:
    """See the module; made by ``open_webhooks``."""

    def __init__(self, workers: Iterable[WebhookWorker], store: Store) -> None:
        self._workers = tuple(workers)
        self._store = store
        self._redelivering: set[str] = set()

    def accept(self, stamped: Stamped) -> None:
        """Queue an event for every endpoint that wants it; never waits."""
        event_type, passing = type(stamped.event).__name__, bool(stamped.event.latest_by)
        wanting = [worker for worker in self._workers if worker.endpoint.wants(event_type, passing=passing)]
        if not wanting:
            return
        body = _body(stamped, event_type)
        for worker in wanting:
            worker.offer(Delivery(new_id("msg"), event_type, body, stamped.at))

    async def redeliver(self, delivery_id: str) -> None:
        """Deliver a dead letter, once and now; if that succeeds it is one no more.

        Raises: UnknownDeliveryError, EndpointGoneError, DeliveryUnderWayError; CircuitOpenError, OutboundError when it fails
        again; StoreUnavailableError.
        """
        if delivery_id in self._redelivering:
            raise DeliveryUnderWayError(f"{delivery_id} is being delivered right now")
        self._redelivering.add(delivery_id)
        try:
            letter = await self._find(delivery_id)
            await self._worker_for(letter).attempt(
                Delivery(letter.delivery_id, letter.event_type, letter.body.encode(), letter.created_at)
            )
            self._store.submit(DropDeadLetter(delivery_id))
        finally:
            self._redelivering.discard(delivery_id)

    async def dead_letters(self, *, limit: int) -> tuple[DeadLetterRecord, ...]:
        """Return what was given up, the oldest first.

        Raises: StoreUnavailableError.
        """
        return await self._store.dead_letters(limit=limit)

    def statistics(self) -> tuple[WebhookStatistics, ...]:
        """Return figures for metrics."""
        return tuple(worker.statistics() for worker in self._workers)

    async def wait_idle(self) -> None:
        """Wait until nothing waits to be delivered."""
        for worker in self._workers:
            await worker.wait_idle()

    def surrender(self) -> None:
        """Make dead letters of all that waits; no worker may run any more."""
        for worker in self._workers:
            worker.surrender("the server stopped before it could be delivered")

    async def _find(self, delivery_id: str) -> DeadLetterRecord:
        for letter in await self._store.dead_letters(limit=MAX_DEAD_LETTERS):
            if letter.delivery_id == delivery_id:
                return letter
        raise UnknownDeliveryError(f"there is no dead letter {delivery_id[:100]!r}")

    def _worker_for(self, letter: DeadLetterRecord) -> WebhookWorker:
        for worker in self._workers:
            if worker.endpoint.url == letter.url:
                return worker
        raise EndpointGoneError(
            "no webhook has the URL of this delivery any more; add it to the settings again"
        )


@asynccontextmanager
async def open_webhooks(
    bus: Bus,
    outbound: Outbound,
    store: Store,
    *,
    endpoints: Iterable[WebhookEndpoint] = (),
    policy: RetryPolicy = WEBHOOK_POLICY,
    flush_seconds: float = FLUSH_SECONDS,
    queue_deliveries: int = QUEUE_DELIVERIES,
    breaker_seconds: float = OPEN_SECONDS,
    random: Random | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> AsyncIterator[Webhooks]:
    """Tell endpoints what happens for the length of a scope; see the module for its end."""
    chance = Random() if random is None else random  # noqa: S311 - jitter, not secrets
    workers = [
        WebhookWorker(
            endpoint,
            outbound=outbound,
            store=store,
            policy=policy,
            random=chance,
            now=now,
            failures=bus.failures,
            queue_deliveries=queue_deliveries,
            breaker_seconds=breaker_seconds,
        )
        for endpoint in endpoints
    ]
    webhooks = Webhooks(workers, store)
    with bus.subscribe(SUBSCRIBER) as subscription:
        try:
            async with trio.open_nursery() as nursery:
                for worker in workers:
                    nursery.start_soon(worker.run)
                nursery.start_soon(run_handler, subscription, _handler(webhooks))
                yield webhooks
                _accept_waiting(webhooks, subscription)
                with trio.move_on_after(flush_seconds):
                    await webhooks.wait_idle()
                nursery.cancel_scope.cancel()
        finally:
            # However it ended: this waits for nothing, so it happens even while everything is being cancelled.
            _accept_waiting(webhooks, subscription)
            webhooks.surrender()


def _handler(webhooks: Webhooks) -> Callable[[Stamped], Awaitable[None]]:
    async def handle(stamped: Stamped) -> None:
        webhooks.accept(stamped)

    return handle


def _accept_waiting(webhooks: Webhooks, subscription: Subscription) -> None:
    for stamped in subscription.take(subscription.queued):
        webhooks.accept(stamped)


def _body(stamped: Stamped, event_type: str) -> bytes:
    return to_json(
        {
            "type": event_type,
            "timestamp": rfc3339(stamped.at),
            "seq": stamped.seq,
            "correlation_id": stamped.correlation_id,
            "data": event_to_mapping(stamped.event),
        }
    )
