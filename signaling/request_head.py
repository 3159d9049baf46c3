"""Reading the head of a connection's first request, so that the front door can tell who should serve it. No IO, total.

RFC 9112 (the head), RFC 6455 section 4.2.1 (the upgrade). Whatever is not a well-formed upgrade goes to the
web server, whose parser then gives the proper error.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import urlsplit

import h11

#: Browsers send about 600 bytes; the web server refuses more than this too.
MAX_HEAD_BYTES = 16 * 1024
WEBSOCKET_PATH = b"/ws"

_END_OF_HEAD = re.compile(rb"\n\r?\n")
_METHOD_START = re.compile(rb"[A-Za-z]")
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What the front door wants to know of the first request; all of it empty when that is not HTTP."""

    #: A well-formed upgrade to WebSocket, to whatever path.
    is_upgrade: bool = False
    #: As sent, percent-encoded.
    path: bytes = b""
    query: bytes = field(default=b"", repr=False)  # may hold secrets
    #: By name in lower case; what came in several lines is joined with commas (RFC 9110, 5.3).
    headers: Mapping[str, str] = field(default_factory=lambda: _NO_HEADERS, repr=False)
    #: Why an upgrade is refused as such, if it is.
    fault: str | None = None

    @property
    def origin(self) -> str | None:
        """The page that asks, if a browser says so."""
        return self.headers.get("origin")

    @property
    def host(self) -> str | None:
        """What the client calls this server."""
        return self.headers.get("host")


def head_is_complete(received_untrusted: bytes | bytearray) -> bool:
    """Tell whether there is nothing to gain from reading more before deciding."""
    if len(received_untrusted) >= MAX_HEAD_BYTES or not _METHOD_START.match(received_untrusted):
        return bool(received_untrusted)
    return _END_OF_HEAD.search(received_untrusted) is not None


def parse_head(received_untrusted: bytes | bytearray) -> RequestHead:
    """Return what the connection that began with these bytes asks for."""
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
    try:
        parser.receive_data(bytes(received_untrusted))
        request = parser.next_event()
    except h11.RemoteProtocolError:
        return RequestHead()
    if not isinstance(request, h11.Request):
        return RequestHead()
    headers = _by_name(request)
    path, _, query = request.target.partition(b"?")
    is_upgrade = (
        request.method == b"GET"
        and request.http_version == b"1.1"
        and "upgrade" in (part.strip() for part in headers.get("connection", "").lower().split(","))
        and headers.get("upgrade", "").lower() == "websocket"
        and headers.get("sec-websocket-version") == "13"
        and "sec-websocket-key" in headers
        and "host" in headers
    )
    fault = None
    if is_upgrade and ("transfer-encoding" in headers or headers.get("content-length", "0") != "0"):
        # What a proxy before us takes for a body would be frames to us: one request smuggled in another.
        fault = "an upgrade to WebSocket has no body: send neither Content-Length nor Transfer-Encoding"
    return RequestHead(is_upgrade, path, query, headers, fault)


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


def _by_name(request: h11.Request) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name_bytes, value in request.headers:
        name, text = name_bytes.decode("ascii"), value.decode("latin-1").strip()
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return headers
