"""Tells other systems what happens: a subscriber of the bus that hands events to one worker for each endpoint.

A delivery is a POST of ``{"type", "timestamp", "seq", "correlation_id", "data"}``, signed (``webhook_signature.py``), retried by the one
policy, under the breaker of its host, in order for each endpoint; what is given up is a dead letter in the store, which
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
from signaling.outbound import Outbound
from signaling.retry import RetryPolicy
from signaling.storage import DeadLetterRecord, DropDeadLetter, Store
from signaling.webhook_endpoint import MAX_ENDPOINTS, WebhookEndpoint
from signaling.webhook_worker import QUEUE_DELIVERIES, Delivery, WebhookStatistics, WebhookWorker

#: About five minutes: longer than a restart of the receiver takes.
WEBHOOK_POLICY = RetryPolicy(attempts=8, base_seconds=1.0, cap_seconds=60.0, deadline_seconds=300.0)
FLUSH_SECONDS = 2.0
#: Dead letters among which one is looked for.
MAX_DEAD_LETTERS = 10_000
#: The name of the subscription in metrics.
SUBSCRIBER = "webhooks"


class WebhookError(Exception):
    """What was asked for cannot be done; the text says why."""


class UnknownDeliveryError(WebhookError):
    """There is no such dead letter, or it is not the caller's."""


class EndpointGoneError(WebhookError):
    """Nobody listens at the delivery's URL any more."""


class DeliveryUnderWayError(WebhookError):
    """The dead letter is being delivered at this moment."""


class TooManyEndpointsError(WebhookError):
    """There are as many endpoints as there may be."""


class Webhooks:
    """See the module; made by ``open_webhooks``."""

    def __init__(
        self, make_worker: Callable[[WebhookEndpoint], WebhookWorker], store: Store, nursery: trio.Nursery
    ) -> None:
        self._make_worker = make_worker
        self._store = store
        self._nursery = nursery
        #: By the id of the endpoint.
        self._workers: dict[str, WebhookWorker] = {}
        self._redelivering: set[str] = set()

    @property
    def endpoints(self) -> tuple[WebhookEndpoint, ...]:
        """Who is told."""
        return tuple(worker.endpoint for worker in self._workers.values())

    def add(self, endpoint: WebhookEndpoint) -> None:
        """Tell this endpoint from now on; one with the same URL and company is replaced, and what waits for it goes on.

        Raises: TooManyEndpointsError.
        """
        former = self._workers.get(endpoint.endpoint_id)
        if former is None and len(self._workers) >= MAX_ENDPOINTS:
            raise TooManyEndpointsError(
                f"there are {MAX_ENDPOINTS} webhook endpoints already; remove one first"
            )
        worker = self._workers[endpoint.endpoint_id] = self._make_worker(endpoint)
        for delivery in former.abandon() if former is not None else ():
            worker.offer(delivery)
        self._nursery.start_soon(worker.run)

    def remove(self, endpoint_id: str) -> bool:
        """Tell an endpoint nothing more, not even what waits; tell whether it was there."""
        worker = self._workers.pop(endpoint_id, None)
        if worker is not None:
            worker.abandon()
        return worker is not None

    def accept(self, stamped: Stamped) -> None:
        """Queue an event for every endpoint that wants it."""
        if not self._workers:
            return
        event_type = type(stamped.event).__name__
        data = event_to_mapping(stamped.event)
        passing = bool(stamped.event.latest_by)
        body: bytes | None = None
        for endpoint_id, worker in self._workers.items():
            if worker.endpoint.wants(event_type, data, passing=passing):
                if body is None:
                    body = _body(stamped, event_type, data)
                worker.offer(
                    Delivery(
                        delivery_id=new_id(f"msg_{endpoint_id}"),
                        event_type=event_type,
                        body=body,
                        created_at=stamped.at,
                    )
                )

    async def redeliver(self, delivery_id: str, *, company_id: str | None = None) -> None:
        """Deliver a dead letter, once and now; if that succeeds it is one no more.

        ``company_id`` restricts this to the dead letters of one company's endpoints.

        Raises: UnknownDeliveryError, EndpointGoneError, DeliveryUnderWayError; CircuitOpenError, OutboundError when it fails
        again; StoreUnavailableError.
        """
        if delivery_id in self._redelivering:
            raise DeliveryUnderWayError(f"{delivery_id} is being delivered right now")
        self._redelivering.add(delivery_id)
        try:
            worker, letter = await self._find(delivery_id, company_id)
            await worker.attempt(
                Delivery(
                    delivery_id=letter.delivery_id,
                    event_type=letter.event_type,
                    body=letter.body.encode(),
                    created_at=letter.created_at,
                )
            )
            self._store.submit(DropDeadLetter(delivery_id))
        finally:
            self._redelivering.discard(delivery_id)

    def statistics(self) -> tuple[WebhookStatistics, ...]:
        """Return figures for metrics."""
        return tuple(worker.statistics() for worker in self._workers.values())

    async def wait_idle(self) -> None:
        """Wait until nothing waits to be delivered."""
        for worker in tuple(self._workers.values()):
            await worker.wait_idle()

    def surrender(self) -> None:
        """Make dead letters of all that waits; no worker may run any more."""
        for worker in self._workers.values():
            worker.surrender("the server stopped before it could be delivered")

    async def _find(self, delivery_id: str, company_id: str | None) -> tuple[WebhookWorker, DeadLetterRecord]:
        # msg_<endpoint>-<random>
        worker = self._workers.get(delivery_id.removeprefix("msg_").partition("-")[0])
        if company_id is not None and (worker is None or worker.endpoint.company_id != company_id):
            raise UnknownDeliveryError(f"there is no dead letter {delivery_id[:100]!r}")
        letters = await self._store.dead_letters(limit=MAX_DEAD_LETTERS)
        letter = next((each for each in letters if each.delivery_id == delivery_id), None)
        if letter is None:
            raise UnknownDeliveryError(f"there is no dead letter {delivery_id[:100]!r}")
        if worker is None:
            raise EndpointGoneError("no endpoint has the URL of this delivery any more; add it again first")
        return worker, letter


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
    random: Random | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> AsyncIterator[Webhooks]:
    """Tell endpoints what happens for the length of a scope; see the module for its end."""
    chance = Random() if random is None else random  # noqa: S311 - jitter, not secrets

    def make_worker(endpoint: WebhookEndpoint) -> WebhookWorker:
        return WebhookWorker(
            endpoint,
            outbound=outbound,
            store=store,
            policy=policy,
            random=chance,
            now=now,
            failures=bus.failures,
            queue_deliveries=queue_deliveries,
        )

    with bus.subscribe(SUBSCRIBER) as subscription:
        webhooks: Webhooks | None = None
        try:
            async with trio.open_nursery() as nursery:
                webhooks = Webhooks(make_worker, store, nursery)
                for endpoint in endpoints:
                    webhooks.add(endpoint)
                nursery.start_soon(run_handler, subscription, _handler(webhooks))
                yield webhooks
                _accept_waiting(webhooks, subscription)
                with trio.move_on_after(flush_seconds):
                    await webhooks.wait_idle()
                nursery.cancel_scope.cancel()
        finally:
            # However it ended: this waits for nothing, so it happens even while everything is being cancelled.
            if webhooks is not None:
                _accept_waiting(webhooks, subscription)
                webhooks.surrender()


def _handler(webhooks: Webhooks) -> Callable[[Stamped], Awaitable[None]]:
    async def handle(stamped: Stamped) -> None:
        webhooks.accept(stamped)

    return handle


def _accept_waiting(webhooks: Webhooks, subscription: Subscription) -> None:
    for stamped in subscription.take(subscription.queued):
        webhooks.accept(stamped)


def _body(stamped: Stamped, event_type: str, data: dict[str, object]) -> bytes:
    return to_json(
        {
            "type": event_type,
            "timestamp": rfc3339(stamped.at),
            "seq": stamped.seq,
            "correlation_id": stamped.correlation_id,
            "data": data,
        }
    )
