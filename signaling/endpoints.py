"""Where WebSockets are served: a table from path to handler, and what a handler may know of the request.

An endpoint's ``authorize`` sees the request before the upgrade. It returns who the client is, in a form of its own, or
refuses: with an HTTP status, which programs understand, or after the upgrade with a close code, which is all that a
page in a browser gets to see.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import parse_qsl, unquote

from signaling.dialect import ENVELOPES, Dialect
from signaling.request_head import RequestHead
from signaling.websocket import WebSocket, WebSocketLimits

#: Fields of a query that are looked at.
MAX_QUERY_FIELDS = 32

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """The request that became, or is to become, a WebSocket. Not shown when printed: what may be secret."""

    client_address: str
    #: Of the TCP connection: the client's, or its proxy's.
    peer_address: str
    correlation_id: str
    #: What the path has in place of ``{name}``, decoded. Bytes that are not UTF-8 are U+FFFD here; what else may
    #: stand in it is for the endpoint to say.
    parameters: Mapping[str, str] = field(default_factory=lambda: _NOTHING, repr=False)
    #: Decoded; the first of several of a name.
    query: Mapping[str, str] = field(default_factory=lambda: _NOTHING, repr=False)
    #: Those the endpoint asks for, by name in lower case.
    headers: Mapping[str, str] = field(default_factory=lambda: _NOTHING, repr=False)
    #: What ``authorize`` returned.
    principal: object = field(default=None, repr=False)


class RefusedUpgradeError(Exception):
    """The answer is this HTTP status, with a problem document; there is no upgrade. The text is the client's to read."""

    def __init__(self, status: int, detail: str, *, headers: Mapping[str, str] = _NOTHING) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers


class RefusedWebSocketError(Exception):
    """The upgrade is accepted, and the WebSocket closed at once with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


Handler = Callable[[WebSocket, RequestInfo], Awaitable[None]]
#: Raises: RefusedUpgradeError, RefusedWebSocketError.
Authorize = Callable[[RequestInfo], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One of them. ``pattern`` is a path such as ``/ws`` or ``/signal/{peer_id}/{key}``."""

    #: For logs and counters: paths may hold secrets.
    name: str
    pattern: str
    handler: Handler
    limits: WebSocketLimits
    authorize: Authorize | None = None
    #: Names in lower case of the headers it wants to see.
    headers: frozenset[str] = frozenset()
    #: Whether pages of foreign origins are turned away. Only for those whose clients prove who they are by what a
    #: browser does not add by itself.
    check_origin: bool = True
    #: So many are served although the server is full.
    reserved: int = 0
    #: So many at a time, beside the limit for all; None: no limit of its own.
    max_connections: int | None = None
    #: How its clients are told of what the WebSocket itself has to say.
    dialect: Dialect = ENVELOPES


class Routes:
    """The table. Patterns must not overlap: the first that fits is taken."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        """Raises ValueError for a pattern that is none, or is there already."""
        self._endpoints: dict[tuple[str, ...], Endpoint] = {}
        for endpoint in endpoints:
            segments = tuple(endpoint.pattern.split("/"))
            if len(segments) < 2 or segments[0] or "" in segments[1:]:
                raise ValueError(
                    f"endpoint {endpoint.name}: {endpoint.pattern!r} is not a pattern such as /ws or /signal/{{peer_id}}"
                )
            if segments in self._endpoints:
                raise ValueError(f"endpoint {endpoint.name}: another one is at {endpoint.pattern}")
            self._endpoints[segments] = endpoint

    def find(self, path_untrusted: bytes) -> tuple[Endpoint, Mapping[str, str]] | None:
        """Return the endpoint at this path, and the parameters in it.

        The path is cut before it is decoded: an encoded slash does not begin another segment.
        """
        given = [unquote(part) for part in path_untrusted.decode("latin-1").split("/")]
        for segments, endpoint in self._endpoints.items():
            parameters = _match(segments, given)
            if parameters is not None:
                return endpoint, parameters
        return None


def request_info(
    endpoint: Endpoint,
    parameters: Mapping[str, str],
    head: RequestHead,
    *,
    client_address: str,
    peer_address: str,
    correlation_id: str,
) -> RequestInfo:
    """Return what the endpoint may know of a request. Small: it is kept as long as the connection."""
    return RequestInfo(
        client_address=client_address,
        peer_address=peer_address,
        correlation_id=correlation_id,
        parameters=parameters or _NOTHING,
        query=_read_query(head.query) or _NOTHING,
        headers={name: head.headers[name] for name in endpoint.headers if name in head.headers} or _NOTHING,
    )


def _match(segments: tuple[str, ...], given: list[str]) -> Mapping[str, str] | None:
    if len(segments) != len(given):
        return None
    parameters: dict[str, str] = {}
    for segment, text in zip(segments, given, strict=True):
        if segment.startswith("{"):
            if not text:
                return None
            parameters[segment.strip("{}")] = text
        elif segment != text:
            return None
    return parameters


def _read_query(query_untrusted: bytes) -> dict[str, str]:
    first = "&".join(query_untrusted.decode("latin-1").split("&")[:MAX_QUERY_FIELDS])
    fields: dict[str, str] = {}
    for name, value in parse_qsl(first, keep_blank_values=True):
        fields.setdefault(name, value)
    return fields
