"""Keeps what happens in the service: a subscriber of the bus that hands events to the store, in batches.

All events are kept but those that tell a state many times a second (``Event.latest_by``); of a chat line everything but
what was written, which the chat's own records hold. What the store has no room for while its database is away is
dropped and counted there: events are a record of what happened, nothing was promised to anybody by them.

Numbers must never be given twice, not even after a crash: a client that asks for all events since number n would miss
those of the next life that have numbers the former one had used. The store knows the last number *kept*; so of events
that are not kept every ``KEEP_EVERY``-th is kept after all, and a new life begins ``RESTART_GAP`` numbers later.
"""

from signaling.event_handler import BATCH_EVENTS, BATCH_SECONDS, run_batch_handler
from signaling.event_mapping import event_to_mapping, lobby_of, session_of
from signaling.stamped import Stamped
from signaling.storage import AddEvent, EventRecord, Store
from signaling.subscription import Subscription

#: Within one life of the server, numbers of kept events are never further apart than this.
KEEP_EVERY = 1000
#: More than there can be numbers that were used and not kept: ``KEEP_EVERY`` and what waited in the store's queue.
RESTART_GAP = 1_000_000


def first_seq_after(kept_seq: int) -> int:
    """Return the bus's ``first_seq`` for the last number that a former life has kept (``Snapshot.event_seq``)."""
    return kept_seq + RESTART_GAP if kept_seq else 0


def event_record(stamped: Stamped) -> EventRecord:
    """Return the event as it is kept."""
    data = event_to_mapping(stamped.event)
    return EventRecord(
        seq=stamped.seq,
        at=stamped.at,
        type=type(stamped.event).__name__,
        data=data,
        session_id=session_of(data),
        lobby_id=lobby_of(data),
        correlation_id=stamped.correlation_id,
    )


class EventKeeper:
    """See the module."""

    def __init__(
        self, store: Store, *, batch_events: int = BATCH_EVENTS, batch_seconds: float = BATCH_SECONDS
    ) -> None:
        self._store = store
        self._batch_events = batch_events
        self._batch_seconds = batch_seconds
        self._kept_seq: int | None = None

    async def run(self, subscription: Subscription) -> None:
        """Keep events until cancelled."""
        await run_batch_handler(
            subscription, self._keep, batch_events=self._batch_events, batch_seconds=self._batch_seconds
        )

    def keep_waiting(self, subscription: Subscription) -> None:
        """Keep what waits, without waiting: the last thing to do when nobody publishes any more."""
        self._submit(subscription.take(subscription.queued))

    async def _keep(self, batch: list[Stamped]) -> None:
        self._submit(batch)

    def _submit(self, batch: list[Stamped]) -> None:
        changes = []
        for stamped in batch:
            if self._kept_seq is None:
                self._kept_seq = (
                    stamped.seq - KEEP_EVERY
                )  # the first event tells the store where this life began
            if not stamped.event.latest_by or stamped.seq - self._kept_seq >= KEEP_EVERY:
                self._kept_seq = stamped.seq
                changes.append(AddEvent(event_record(stamped)))
        if changes:
            self._store.submit(*changes)
