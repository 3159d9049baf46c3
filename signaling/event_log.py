"""Writes what happens in the service to the log: a subscriber of the bus like any other."""

from dataclasses import fields

from pydantic import BaseModel

from signaling import events
from signaling.bus import Subscription
from signaling.logs import get_logger

_log = get_logger(__name__)

#: What happens several times a second in a lively lobby is logged for debugging only.
_FREQUENT = (events.SpeakingChanged, events.ChatSaid)
#: What an operator should see also where the log is kept short.
_ALARMING = (events.WorkerOverloaded, events.WorkerRecovered)


async def log_events(subscription: Subscription) -> None:
    """Log every event until the subscription ends."""
    async for stamped in subscription:
        write = _log.info
        if isinstance(stamped.event, _FREQUENT):
            write = _log.debug
        elif isinstance(stamped.event, _ALARMING):
            write = _log.warning
        write(type(stamped.event).__name__, seq=stamped.seq, **_flatten(stamped.event))


def _flatten(event: events.Event) -> dict[str, object]:
    """Return the fields of an event for a log line; what people write to each other is not logged."""
    values: dict[str, object] = {}
    for each in fields(event):
        value = getattr(event, each.name)
        values[each.name] = (
            value.model_dump(mode="json", exclude={"text", "tracks"})
            if isinstance(value, BaseModel)
            else value
        )
    return values
