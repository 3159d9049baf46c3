"""Delivers to one endpoint: one at a time, in order, each until it is taken or given up. Workers know nothing of each other.

Overflow policy: when the queue is full the oldest delivery becomes a dead letter, and is counted; the newest is what
the receiver needs most. What is given up becomes a dead letter too: nothing is lost that the store can hold.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from random import Random

import trio

from signaling.logs import get_logger
from signaling.outbound.calls import Outbound
from signaling.outbound.circuit_breaker import (
    OPEN_SECONDS,
    BreakerStatistics,
    CircuitBreaker,
    CircuitOpenError,
)
from signaling.outbound.errors import OutboundError
from signaling.outbound.retry import GaveUpError, RetryPolicy, retry
from signaling.outbound.target import check_url, origin_of
from signaling.storage import AddDeadLetter, DeadLetterRecord, Store
from signaling.supervisor import supervise
from signaling.webhooks.endpoint import WebhookEndpoint
from signaling.webhooks.signature import signature_headers

#: Some ten minutes of a lively lobby.
QUEUE_DELIVERIES = 1000

_log = get_logger(__name__)


@dataclass(slots=True)
class Delivery:
    """One event on its way to one endpoint; the id is the same at every attempt, so that receivers can tell doubles."""

    delivery_id: str
    event_type: str
    body: bytes
    created_at: datetime
    attempts: int = 0
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class WebhookStatistics:
    """Figures of one endpoint, for metrics and administrators; all but ``queued`` and the breaker's state only grow."""

    endpoint_id: str
    #: Including the one on its way.
    queued: int
    breaker: BreakerStatistics
    delivered: int
    failed_attempts: int
    dead_lettered: int
    #: Of these, because the queue was full.
    overflowed: int
    last_error: str
    last_delivered_at: datetime | None


class WebhookWorker:
    """See the module."""

    def __init__(
        self,
        endpoint: WebhookEndpoint,
        *,
        outbound: Outbound,
        store: Store,
        policy: RetryPolicy,
        random: Random,
        now: Callable[[], datetime],
        failures: Counter[str],
        queue_deliveries: int = QUEUE_DELIVERIES,
        breaker_seconds: float = OPEN_SECONDS,
    ) -> None:
        self.endpoint = endpoint
        #: One for each endpoint: what one does tells nothing of another, even at the same host.
        self._breaker = CircuitBreaker(
            origin_of(check_url(endpoint.url, trusted=True)), open_seconds=breaker_seconds
        )
        self._outbound = outbound
        self._store = store
        self._policy = policy
        self._random = random
        self._now = now
        self._failures = failures
        self._capacity = queue_deliveries
        self._queue: deque[Delivery] = deque()
        self._current: Delivery | None = None
        self._arrived = trio.Event()
        self._idle = trio.Event()
        self._idle.set()
        self._delivered = 0
        self._failed_attempts = 0
        self._dead_lettered = 0
        self._overflowed = 0
        self._last_error = ""
        self._last_delivered_at: datetime | None = None

    def offer(self, delivery: Delivery) -> None:
        """Queue a delivery; never waits."""
        if len(self._queue) >= self._capacity:
            self._overflowed += 1
            self._bury(self._queue.popleft(), "the endpoint is too slow: its queue was full")
        self._queue.append(delivery)
        self._arrived.set()
        if self._idle.is_set():
            self._idle = trio.Event()

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            while self._queue:
                self._current = self._queue.popleft()
                await self._deliver(self._current)
                self._current = None
            self._idle.set()
            self._arrived = trio.Event()
            await self._arrived.wait()

    async def wait_idle(self) -> None:
        """Wait until nothing is queued or on its way."""
        await self._idle.wait()

    def surrender(self, reason: str) -> None:
        """Make a dead letter of all that has not been delivered; the worker must not run any more."""
        if self._current is not None:
            self._bury(self._current, self._current.last_error or reason)
            self._current = None
        while self._queue:
            self._bury(self._queue.popleft(), reason)

    async def attempt(self, delivery: Delivery) -> None:
        """Deliver once.

        Raises: CircuitOpenError, OutboundError.
        """
        endpoint = self.endpoint
        timestamp = int(self._now().timestamp())
        signed = signature_headers(endpoint.secrets, delivery.delivery_id, timestamp, delivery.body)
        headers = {"content-type": "application/json", **signed}
        delivery.attempts += 1
        try:
            await self._outbound.post(
                endpoint.url, delivery.body, headers=headers, breaker=self._breaker, trusted=True
            )
        except CircuitOpenError:
            delivery.attempts -= 1
            raise
        except OutboundError as error:
            self._failed_attempts += 1
            self._last_error = delivery.last_error = str(error)
            raise
        self._delivered += 1
        self._last_delivered_at = self._now()

    def statistics(self) -> WebhookStatistics:
        """Return figures for metrics."""
        return WebhookStatistics(
            endpoint_id=self.endpoint.endpoint_id,
            queued=len(self._queue) + (self._current is not None),
            breaker=self._breaker.statistics(),
            delivered=self._delivered,
            failed_attempts=self._failed_attempts,
            dead_lettered=self._dead_lettered,
            overflowed=self._overflowed,
            last_error=self._last_error,
            last_delivered_at=self._last_delivered_at,
        )

    async def _deliver(self, delivery: Delivery) -> None:
        if not await supervise("webhook", self._failures, partial(self._persist, delivery)):
            self._bury(delivery, "the server failed; its log has the details")

    async def _persist(self, delivery: Delivery) -> None:
        try:
            await retry(partial(self.attempt, delivery), self._policy, random=self._random)
        except (GaveUpError, OutboundError) as error:
            self._bury(delivery, str(error))

    def _bury(self, delivery: Delivery, reason: str) -> None:
        self._dead_lettered += 1
        _log.warning(
            "a webhook delivery was given up",
            endpoint=self.endpoint.endpoint_id,
            delivery=delivery.delivery_id,
            type=delivery.event_type,
            attempts=delivery.attempts,
            reason=reason,
        )
        letter = DeadLetterRecord(
            delivery_id=delivery.delivery_id,
            url=self.endpoint.url,
            event_type=delivery.event_type,
            body=delivery.body.decode(),
            attempts=delivery.attempts,
            last_error=reason,
            created_at=delivery.created_at,
            given_up_at=self._now(),
        )
        self._store.submit(AddDeadLetter(letter))
