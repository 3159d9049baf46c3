"""Where administrators watch what happens: ``/ws/admin/events``, for who passes the admin gate."""

from functools import partial

from signaling.auth import CHALLENGE, AdminDeniedError, AdminGate, Administrator
from signaling.auth.client_address import PROXY_HEADERS
from signaling.bus import Bus
from signaling.counters import Counters
from signaling.endpoints import Endpoint, RefusedUpgradeError, RequestInfo
from signaling.event_feed.feed import serve_event_feed
from signaling.logs import get_logger
from signaling.messages import CloseCode
from signaling.storage import Store
from signaling.supervisor import supervise
from signaling.websocket import WebSocket, WebSocketLimits

FEED_PATH = "/ws/admin/events"
#: Streams at a time; each may hold a queue of thousands of events.
MAX_FEEDS = 16
#: Of these, so many while the server is full: that is when one wants to see what happens.
RESERVED_FEEDS = 4
#: What the gate looks at.
_HEADERS = PROXY_HEADERS | {"authorization", "host", "origin", "sec-fetch-site"}

_log = get_logger(__name__)


def feed_endpoint(
    bus: Bus, store: Store, *, gate: AdminGate, counters: Counters, limits: WebSocketLimits
) -> Endpoint:
    """Return the endpoint, for the front door."""

    async def authorize(request: RequestInfo) -> Administrator:
        try:
            return gate.admit(request.headers, request.client_address)
        except AdminDeniedError as error:
            raise RefusedUpgradeError(int(error.status), str(error), headers=_headers(error)) from None

    async def handle(socket: WebSocket, request: RequestInfo) -> None:
        assert isinstance(request.principal, Administrator)
        _log.info("an administrator watches", actor=request.principal.actor)
        serve = partial(serve_event_feed, socket, bus, store, counters=counters)
        if not await supervise("admin_events", counters.failures, serve):
            socket.close(CloseCode.INTERNAL, "the server failed on this connection")

    return Endpoint(
        "admin_events",
        FEED_PATH,
        handle,
        limits,
        authorize=authorize,
        headers=_HEADERS,
        reserved=RESERVED_FEEDS,
        max_connections=MAX_FEEDS,
    )


def _headers(error: AdminDeniedError) -> dict[str, str]:
    if error.retry_after_seconds is not None:
        return {"Retry-After": str(max(1, round(error.retry_after_seconds)))}
    return {"WWW-Authenticate": CHALLENGE} if error.status == 401 else {}
