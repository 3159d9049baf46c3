"""Runs one handler of events, isolated: it may be slow, or fail, and nobody else notices."""

from collections.abc import Awaitable, Callable
from functools import partial

import trio

from signaling.stamped import Stamped
from signaling.subscription import Subscription
from signaling.supervisor import supervise

#: Events a batch handler is given at once, and how long the first of them waits for company.
BATCH_EVENTS = 100
BATCH_SECONDS = 0.25


async def run_handler(subscription: Subscription, handler: Callable[[Stamped], Awaitable[object]]) -> None:
    """Give every event to the handler, one after the other, for ever.

    A failure is counted in the bus's ``failures``, logged once, and the next event goes on.

    Raises: SubscriptionLostError when the subscription is ended by its overflow.
    """
    async for stamped in subscription:
        await supervise(subscription.name, subscription.failures, partial(handler, stamped))
        subscription.note_handled(stamped)


async def run_batch_handler(
    subscription: Subscription,
    handler: Callable[[list[Stamped]], Awaitable[object]],
    *,
    batch_events: int = BATCH_EVENTS,
    batch_seconds: float = BATCH_SECONDS,
) -> None:
    """As ``run_handler``, but many events at a time: as many as fit a batch, or came within so many seconds."""
    while True:
        await subscription.wait_for(1)
        with trio.move_on_after(batch_seconds):
            await subscription.wait_for(batch_events)
        batch = subscription.take(batch_events)
        await supervise(subscription.name, subscription.failures, partial(handler, batch))
        for stamped in batch:
            subscription.note_handled(stamped)
