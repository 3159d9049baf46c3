"""The one way out: every HTTP call that this service makes to somebody else.

Theirs to say is one thing, whether they have taken it: the status decides, and of the rest of the answer only as much is
read as lets the connection be used again. What it adds to a plain call: timeouts for each step and for the whole, an
answer of bounded size, no redirects, the caller's circuit breaker, and, for URLs that somebody else has chosen,
addresses of the public Internet only. To try again is the caller's affair, by the one policy (``outbound/retry.py``).

The environment is not looked at (no proxies, no netrc), but for ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``, which name
certificates to trust. HTTP/1.1 by ``httpcore``, the engine of httpx, which alone lets us choose the address that is connected.
"""

import math
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus

import httpcore
import httpx
import trio

from signaling.outbound.circuit_breaker import CircuitBreaker
from signaling.outbound.errors import (
    OutboundError,
    RedirectRefusedError,
    UnreachableError,
    host_failed,
    status_error,
)
from signaling.outbound.network import OutboundNetwork, Resolve, system_resolver
from signaling.outbound.target import check_url, origin_of
from signaling.tracing.tracer import NO_TRACER, Tracer
from signaling.version import SERVER_NAME, server_version

#: What timeouts without a text mean.
_SILENT_ERRORS: dict[type[BaseException], str] = {
    httpcore.ConnectTimeout: "no connection in time",
    httpcore.ReadTimeout: "no answer in time",
    httpcore.WriteTimeout: "the request was not read in time",
    httpcore.PoolTimeout: "too many calls at a time",
}
#: The other side's fault, or the network's.
_UNREACHABLE = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.RemoteProtocolError)


@dataclass(frozen=True, slots=True)
class OutboundLimits:
    """How patient we are, and how much we take. The head of an answer is limited to 100 KiB by httpcore."""

    connect_seconds: float = 5.0
    #: Between two pieces of the request, or of the answer's head.
    read_seconds: float = 10.0
    #: One call up to the answer's status, however it drips.
    total_seconds: float = 20.0
    #: The rest of the answer; one that is longer or slower costs its connection, not the call.
    body_seconds: float = 1.0
    body_bytes: int = 64 * 1024
    #: Calls that wait for a connection beyond this fail after ``connect_seconds``.
    max_connections: int = 256
    keepalive_connections: int = 32
    keepalive_seconds: float = 30.0


OUTBOUND_LIMITS = OutboundLimits()


class Outbound:
    """See the module; made by ``open_outbound``."""

    def __init__(
        self,
        limits: OutboundLimits,
        pools: Mapping[bool, httpcore.AsyncConnectionPool],
        now: Callable[[], datetime],
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._limits = limits
        self._tracer = tracer
        #: trusted -> connections; apart, for a connection that trust has opened must not be used without it.
        self._pools = pools
        self._now = now

    async def post(
        self,
        url: str,
        body: bytes,
        *,
        headers: Mapping[str, str],
        breaker: CircuitBreaker,
        trusted: bool = False,
    ) -> None:
        """Post once; returns when a status of success (2xx) has come.

        ``trusted`` says that the URL is the operator's own choice: private addresses are fine.

        Raises: CircuitOpenError, UnreachableError, RetryableStatusError, which are worth another attempt;
        TargetRefusedError, RedirectRefusedError, StatusError, OutboundError, which are not.
        """
        target = check_url(url, trusted=trusted)
        where = origin_of(target)
        async with breaker.guard(trio.current_time, judge=host_failed):
            with (
                self._tracer.span("outbound", target=where),
                trio.move_on_after(self._limits.total_seconds) as patience,
            ):
                traced = {**headers, **self._tracer.headers()}
                await self._exchange(self._pools[trusted], target, body, traced, where, patience)
            if patience.cancelled_caught:
                raise UnreachableError(f"{where} did not answer within {self._limits.total_seconds:g} s")

    async def _exchange(
        self,
        pool: httpcore.AsyncConnectionPool,
        url: httpx.URL,
        body: bytes,
        headers: Mapping[str, str],
        where: str,
        patience: trio.CancelScope,
    ) -> None:
        limits = self._limits
        timeouts = {
            "connect": limits.connect_seconds,
            "pool": limits.connect_seconds,
            "read": limits.read_seconds,
            "write": limits.read_seconds,
        }
        try:
            async with pool.stream(
                "POST",
                httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=_headers(url, body, headers),
                content=body or None,
                extensions={"timeout": timeouts},
            ) as answer:
                # The status is here, in time.
                patience.deadline = math.inf
                await self._skip_body(answer)
        except _UNREACHABLE as error:
            raise UnreachableError(f"{where}: {_describe(error)}") from error
        except (httpcore.LocalProtocolError, httpcore.UnsupportedProtocol, ValueError) as error:
            raise OutboundError(f"the request to {where} cannot be sent: {error}") from error
        self._judge(answer, where)

    def _judge(self, answer: httpcore.Response, where: str) -> None:
        if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            return
        if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
            raise RedirectRefusedError(where, answer.status)
        headers = {name.lower(): value.decode("latin-1") for name, value in answer.headers}
        raise status_error(where, answer.status, headers.get(b"retry-after"), self._now())

    async def _skip_body(self, answer: httpcore.Response) -> None:
        """Read the rest, within limits; if it does not end well the connection is given up, and nothing else."""
        size = 0
        # A scope of its own: an iterator that is left early leaves others behind, half run; one that is cancelled does not.
        with suppress(*_UNREACHABLE), trio.move_on_after(self._limits.body_seconds) as reading:
            async for part in answer.aiter_stream():
                size += len(part)
                if size > self._limits.body_bytes:
                    reading.cancel()


@asynccontextmanager
async def open_outbound(
    *,
    limits: OutboundLimits = OUTBOUND_LIMITS,
    resolve: Resolve | None = None,
    ssl_context: ssl.SSLContext | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    tracer: Tracer = NO_TRACER,
) -> AsyncIterator[Outbound]:
    """Make calls possible for the length of a scope; leaving it closes all connections."""
    context = httpx.create_ssl_context() if ssl_context is None else ssl_context
    resolver = system_resolver() if resolve is None else resolve

    def pool(*, trusted: bool) -> httpcore.AsyncConnectionPool:
        return httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.keepalive_connections,
            keepalive_expiry=limits.keepalive_seconds,
            network_backend=OutboundNetwork(resolver, public_only=not trusted),
        )

    async with pool(trusted=True) as trusting, pool(trusted=False) as wary:
        yield Outbound(limits, {True: trusting, False: wary}, now, tracer)


def _headers(
    url: httpx.URL, body: bytes, headers: Mapping[str, str]
) -> list[tuple[bytes | str, bytes | str]]:
    ours = {
        "host": url.netloc.decode("ascii"),
        "user-agent": f"{SERVER_NAME}/{server_version()}",
        "content-length": str(len(body)),
    }
    theirs = {name.lower(): value for name, value in headers.items()}
    return list((ours | theirs).items())


def _describe(error: BaseException) -> str:
    """Return what the error says; if that is nothing, what the first of its causes says that speaks (of TLS: the innermost)."""
    silent = _SILENT_ERRORS.get(type(error))
    if silent is not None and not str(error):
        return silent
    fault: BaseException | None = error
    while fault is not None:
        if str(fault):
            return str(fault)
        # httpcore's pool raises all errors `from None`.
        fault = fault.__cause__ or fault.__context__
    return type(error).__name__
