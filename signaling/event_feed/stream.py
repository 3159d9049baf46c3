"""What one subscription of the administrator's stream makes of events: those wanted, as messages, in a batch."""

from datetime import datetime
from typing import Any

from signaling.event_feed.batch import FeedBatch
from signaling.event_feed.filter import FeedFilter
from signaling.event_mapping import event_to_mapping
from signaling.messages.feed import FeedEvent, FeedSubscribe
from signaling.stamped import Stamped
from signaling.storage import EventRecord


class FeedStream:
    """See the module. Take frames from ``batch``."""

    def __init__(self, wanted: FeedSubscribe, *, company_id: str | None = None) -> None:
        self.filter = FeedFilter(wanted, company_id=company_id)
        self.batch = FeedBatch(min_interval_seconds=wanted.min_interval_ms / 1000)

    def add(self, stamped: Stamped) -> None:
        """Add an event of the bus, if it is wanted."""
        event = stamped.event
        name = type(event).__name__
        if not self.filter.wants_type(name):
            return
        state = (name, *(getattr(event, each) for each in event.latest_by)) if event.latest_by else None
        data = event_to_mapping(event)
        self._add(stamped.seq, stamped.at, name, data, stamped.correlation_id, state)

    def add_record(self, record: EventRecord) -> None:
        """Add an event from the store, if it is wanted."""
        self._add(record.seq, record.at, record.type, dict(record.data), record.correlation_id, None)

    def _add(
        self,
        seq: int,
        at: datetime,
        name: str,
        data: dict[str, Any],
        correlation_id: str,
        state: object,
    ) -> None:
        if self.filter.matches(name, data):
            event = FeedEvent(seq=seq, at=at, type=name, data=data, correlation_id=correlation_id)
            self.batch.add(event, state)
