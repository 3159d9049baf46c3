"""Messages of the administrator's event stream at ``/ws/admin/events`` (see ``signaling/ADMIN_EVENTS.md``).

They travel in the same frames as all others; errors are the ``error`` of the client protocol.
"""

from typing import Annotated, Any, ClassVar

from pydantic import AwareDatetime, Field, StrictInt

from signaling.messages.client import ClientMessage, Ping
from signaling.messages.model import MAX_REQUEST_ID, Identifier, Part
from signaling.messages.server import Closing, ErrorReply, Pong, ServerMessage

#: More kinds of events than there are.
MAX_TYPES = 100
MAX_INTERVAL_MS = 60_000
#: Events in one frame; some 100 KB.
MAX_FRAME_EVENTS = 500

Seq = Annotated[StrictInt, Field(ge=0, le=MAX_REQUEST_ID)]
EventType = Annotated[str, Field(max_length=64, pattern=r"^[A-Z][A-Za-z0-9]*$")]


class FeedSubscribe(ClientMessage):
    """Hear events from now on, or all since a number; replaces a former subscription. Reply: ``subscribed``."""

    type: ClassVar[str] = "subscribe"
    since: Seq | None = None
    types: Annotated[tuple[EventType, ...], Field(max_length=MAX_TYPES)] = ()
    lobby: Identifier | None = None
    session: Identifier | None = None
    min_interval_ms: Annotated[StrictInt, Field(ge=0, le=MAX_INTERVAL_MS)] = 0


class FeedHello(ServerMessage):
    """The first frame: where the sequence is, and what kinds of events there are."""

    type: ClassVar[str] = "hello"
    seq: Seq
    oldest_seq: Seq
    types: tuple[EventType, ...]


class FeedSubscribed(ServerMessage):
    """Reply to ``subscribe``."""

    type: ClassVar[str] = "subscribed"
    seq: Seq
    since: Seq | None


class FeedEvent(Part):
    """One event."""

    seq: Seq
    at: AwareDatetime
    type: EventType
    data: dict[str, Any]
    correlation_id: str


class FeedEvents(ServerMessage):
    """Events in ascending order."""

    type: ClassVar[str] = "events"
    events: tuple[FeedEvent, ...]
    missed: StrictInt = 0


class FeedGap(ServerMessage):
    """Events of a replay that could not be had."""

    type: ClassVar[str] = "gap"
    after: Seq
    before: Seq
    reason: str


FEED_CLIENT_MESSAGES: dict[str, type[ClientMessage]] = {model.type: model for model in (FeedSubscribe, Ping)}
FEED_SERVER_MESSAGES: dict[str, type[ServerMessage]] = {
    model.type: model for model in (FeedHello, FeedSubscribed, FeedEvents, FeedGap, Pong, ErrorReply, Closing)
}
