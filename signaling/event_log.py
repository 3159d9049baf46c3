"""Writes what happens in the service to the log: a subscriber of the bus like any other."""

from signaling import events
from signaling.event_handler import run_handler
from signaling.event_mapping import event_to_mapping
from signaling.logs import get_logger
from signaling.stamped import Stamped
from signaling.subscription import Subscription

_log = get_logger(__name__)

#: What an operator should see also where the log is kept short.
_ALARMING = (events.WorkerOverloaded, events.WorkerRecovered)
#: A participant's tracks were logged when they began.
_LONG_FIELDS = frozenset({"tracks"})


async def log_events(subscription: Subscription) -> None:
    """Log every event until cancelled."""

    async def handle(stamped: Stamped) -> None:
        _log_event(stamped)

    await run_handler(subscription, handle)


def log_waiting(subscription: Subscription) -> None:
    """Log what waits, without waiting: the last thing to do when nobody publishes any more."""
    for stamped in subscription.take(subscription.queued):
        _log_event(stamped)


def _log_event(stamped: Stamped) -> None:
    event = stamped.event
    # What happens several times a second in a lively lobby is logged for debugging only.
    if event.latest_by or isinstance(event, events.ChatSaid | events.DtmfPressed):
        write = _log.debug
    elif isinstance(event, _ALARMING):
        write = _log.warning
    else:
        write = _log.info
    values = event_to_mapping(event, without=_LONG_FIELDS) | {"seq": stamped.seq}
    if stamped.correlation_id:
        values["connection"] = stamped.correlation_id
    write(type(event).__name__, **values)
