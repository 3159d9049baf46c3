"""What an outbound call is made of: the request, the answer, and the limits of both."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class OutboundLimits:
    """How patient we are, and how much we take."""

    connect_seconds: float = 5.0
    #: Between two pieces of the answer.
    read_seconds: float = 10.0
    #: One attempt with all its redirects, however it drips.
    total_seconds: float = 20.0
    max_response_bytes: int = 256 * 1024
    max_redirects: int = 3
    #: Calls that wait for a connection beyond this fail after ``connect_seconds``.
    max_connections: int = 256
    keepalive_connections: int = 32
    keepalive_seconds: float = 30.0


OUTBOUND_LIMITS = OutboundLimits()


@dataclass(frozen=True, slots=True)
class OutboundRequest:
    """One call."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    #: The URL is the operator's own choice: private addresses are fine.
    trusted: bool = False
    #: Whose call it is; the breakers of one realm know nothing of those of another.
    realm: str = ""


@dataclass(frozen=True, slots=True)
class OutboundResponse:
    """A successful answer (2xx); the names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
