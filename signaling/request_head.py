"""Reading the head of a connection's first request, and telling who should serve it. No IO, total.

RFC 9112 (the head), RFC 6455 section 4.2.1 (the upgrade). Whatever is not a well-formed upgrade goes to the
web server, whose parser then gives the proper error.
"""

import re
from dataclasses import dataclass
from enum import Enum, auto
from urllib.parse import urlsplit

import h11

#: Browsers send about 600 bytes; the web server refuses more than this too.
MAX_HEAD_BYTES = 16 * 1024
WEBSOCKET_PATH = b"/ws"

_END_OF_HEAD = re.compile(rb"\n\r?\n")
_METHOD_START = re.compile(rb"[A-Za-z]")


class Destination(Enum):
    """Who serves a connection."""

    WEB = auto()
    WEBSOCKET = auto()


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What the front door wants to know of the first request."""

    destination: Destination
    origin: str | None = None
    host: str | None = None


def head_is_complete(received_untrusted: bytes | bytearray) -> bool:
    """Tell whether there is nothing to gain from reading more before deciding."""
    if len(received_untrusted) >= MAX_HEAD_BYTES or not _METHOD_START.match(received_untrusted):
        return bool(received_untrusted)
    return _END_OF_HEAD.search(received_untrusted) is not None


def parse_head(received_untrusted: bytes | bytearray) -> RequestHead:
    """Return who should serve the connection that began with these bytes."""
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
    try:
        parser.receive_data(bytes(received_untrusted))
        request = parser.next_event()
    except h11.RemoteProtocolError:
        return RequestHead(Destination.WEB)
    if not isinstance(request, h11.Request):
        return RequestHead(Destination.WEB)
    fields = {name: value.decode("latin-1").strip() for name, value in request.headers}
    is_upgrade = (
        request.target.partition(b"?")[0] == WEBSOCKET_PATH
        and request.method == b"GET"
        and request.http_version == b"1.1"
        and "upgrade" in (part.strip() for part in fields.get(b"connection", "").lower().split(","))
        and fields.get(b"upgrade", "").lower() == "websocket"
        and fields.get(b"sec-websocket-version") == "13"
        and b"sec-websocket-key" in fields
        and b"host" in fields
    )
    return RequestHead(
        Destination.WEBSOCKET if is_upgrade else Destination.WEB,
        origin=fields.get(b"origin"),
        host=fields.get(b"host"),
    )


def origin_is_allowed(head: RequestHead, allowed: tuple[str, ...]) -> bool:
    """Tell whether a page of this origin may connect: our own, a listed one, any with ``*``.

    Programs send no origin and may.
    """
    if head.origin is None or "*" in allowed:
        return True
    origin = head.origin.lower()
    if origin in allowed:
        return True
    try:
        return bool(head.host) and urlsplit(origin).netloc == (head.host or "").lower()
    except ValueError:
        return False
