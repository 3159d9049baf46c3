"""The one way out: every HTTP call that this service makes to somebody else.

What it adds to a plain call: timeouts for each step and for the whole, an answer of bounded size, no redirects to other
hosts, one circuit breaker per host, the one retry policy, and, for URLs that somebody else has chosen, addresses of the
public Internet only. The environment (proxies, netrc) is not looked at; cookies are not kept. HTTP/1.1 by ``httpcore``,
the engine of httpx, which alone lets us choose the address that is connected.
"""

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from random import Random

import httpcore
import httpx
import trio

from signaling.breaker_map import BreakerMap
from signaling.circuit_breaker import BreakerStatistics
from signaling.outbound_errors import (
    OutboundError,
    RedirectRefusedError,
    ResponseTooLargeError,
    UnreachableError,
    host_failed,
    status_error,
)
from signaling.outbound_messages import OUTBOUND_LIMITS, OutboundLimits, OutboundRequest, OutboundResponse
from signaling.outbound_network import OutboundNetwork, Resolve, system_resolver
from signaling.outbound_target import check_url, is_same_host
from signaling.retry import RETRY_POLICY, RetryableError, RetryPolicy, retry
from signaling.version import SERVER_NAME, server_version

#: Status codes after which the same request goes to another URL; the others turn a POST into a GET.
_KEEPING = frozenset({HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.PERMANENT_REDIRECT})
_CHANGING = frozenset({HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.FOUND, HTTPStatus.SEE_OTHER})
#: What errors without a text mean.
_SILENT_ERRORS: dict[type[BaseException], str] = {
    httpcore.ConnectTimeout: "no connection in time",
    httpcore.ReadTimeout: "no answer in time",
    httpcore.WriteTimeout: "the request was not read in time",
    httpcore.PoolTimeout: "too many calls at a time",
}


class Outbound:
    """See the module; made by ``open_outbound``."""

    def __init__(
        self,
        *,
        limits: OutboundLimits,
        policy: RetryPolicy,
        breakers: BreakerMap,
        pools: Mapping[bool, httpcore.AsyncConnectionPool],
        random: Random,
        now: Callable[[], datetime],
    ) -> None:
        self._limits = limits
        self._policy = policy
        self._breakers = breakers
        #: trusted -> connections; apart, for a connection that trust has opened must not be used without it.
        self._pools = pools
        self._random = random
        self._now = now

    async def request(
        self,
        request: OutboundRequest,
        *,
        policy: RetryPolicy | None = None,
        on_failure: Callable[[int, RetryableError], None] | None = None,
    ) -> OutboundResponse:
        """Call until it succeeds, as the policy says.

        Raises: GaveUpError; TargetRefusedError, RedirectRefusedError, ResponseTooLargeError, StatusError at once.
        """
        return await retry(
            lambda: self.send(request), policy or self._policy, random=self._random, on_failure=on_failure
        )

    async def send(self, request: OutboundRequest) -> OutboundResponse:
        """Call once.

        Raises: CircuitOpenError, UnreachableError, RetryableStatusError, which are worth another attempt; TargetRefusedError,
        RedirectRefusedError, ResponseTooLargeError, StatusError, which are not.
        """
        url = check_url(request.url, trusted=request.trusted)
        where = f"{url.scheme}://{url.netloc.decode('ascii')}"
        breaker = self._breakers.get(f"{request.realm} {where}".strip())
        async with breaker.guard(trio.current_time, judge=host_failed):
            with trio.move_on_after(self._limits.total_seconds) as patience:
                return await self._follow(request, url, where)
            assert patience.cancelled_caught
            raise UnreachableError(f"{where} did not answer within {self._limits.total_seconds:g} s")

    def statistics(self) -> Mapping[str, BreakerStatistics]:
        """Return what the breakers have seen, by realm and host."""
        return self._breakers.statistics()

    async def _follow(self, request: OutboundRequest, url: httpx.URL, where: str) -> OutboundResponse:
        for _ in range(self._limits.max_redirects + 1):
            response = await self._exchange(request, url, where)
            if HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
                return response
            safe = request.method in {"GET", "HEAD"}
            if response.status not in _KEEPING and not (safe and response.status in _CHANGING):
                raise status_error(where, response.status, response.headers, self._now())
            url = _redirected(url, response, where)
        raise RedirectRefusedError(f"{where} redirects more than {self._limits.max_redirects} times")

    async def _exchange(self, request: OutboundRequest, url: httpx.URL, where: str) -> OutboundResponse:
        limits = self._limits
        timeouts = {
            "connect": limits.connect_seconds,
            "pool": limits.connect_seconds,
            "read": limits.read_seconds,
            "write": limits.read_seconds,
        }
        try:
            async with self._pools[request.trusted].stream(
                request.method,
                httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=_headers(request, url),
                content=request.body or None,
                extensions={"timeout": timeouts},
            ) as answer:
                headers = {
                    name.decode("latin-1").lower(): each.decode("latin-1") for name, each in answer.headers
                }
                body = await self._read_body(answer, where)
                return OutboundResponse(answer.status, headers, body)
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.RemoteProtocolError) as error:
            raise UnreachableError(f"{where}: {_describe(error)}") from error
        except (httpcore.LocalProtocolError, httpcore.UnsupportedProtocol, ValueError) as error:
            raise OutboundError(f"the request to {where} cannot be sent: {error}") from error

    async def _read_body(self, answer: httpcore.Response, where: str) -> bytes:
        most = self._limits.max_response_bytes
        size = 0
        parts: list[bytes] = []
        # Its own scope: an iterator that is left early leaves others behind, half run; one that is cancelled does not.
        with trio.CancelScope() as reading:
            async for part in answer.aiter_stream():
                size += len(part)
                if size > most:
                    parts.clear()
                    reading.cancel()
                else:
                    parts.append(part)
        # Of a failure only the status counts.
        if size > most and answer.status < HTTPStatus.MULTIPLE_CHOICES:
            raise ResponseTooLargeError(f"the answer of {where} is longer than {most} bytes")
        return b"".join(parts)


@asynccontextmanager
async def open_outbound(
    *,
    limits: OutboundLimits = OUTBOUND_LIMITS,
    policy: RetryPolicy = RETRY_POLICY,
    breakers: BreakerMap | None = None,
    random: Random | None = None,
    resolve: Resolve | None = None,
    ssl_context: ssl.SSLContext | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
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
        yield Outbound(
            limits=limits,
            policy=policy,
            breakers=BreakerMap() if breakers is None else breakers,
            pools={True: trusting, False: wary},
            random=Random() if random is None else random,  # noqa: S311 - jitter, not secrets
            now=now,
        )


def _headers(request: OutboundRequest, url: httpx.URL) -> list[tuple[bytes | str, bytes | str]]:
    ours = {
        "host": url.netloc.decode("ascii"),
        "user-agent": f"{SERVER_NAME}/{server_version()}",
        # What is unpacked has no bound.
        "accept-encoding": "identity",
    }
    if request.body or request.method not in {"GET", "HEAD"}:
        ours["content-length"] = str(len(request.body))
    theirs = {name.lower(): value for name, value in request.headers.items()}
    return list((ours | theirs).items())


def _redirected(url: httpx.URL, response: OutboundResponse, where: str) -> httpx.URL:
    location = response.headers.get("location", "")
    try:
        target = url.join(location)
    except httpx.InvalidURL:
        raise RedirectRefusedError(f"{where} redirects to nonsense") from None
    if not location or not is_same_host(url, target):
        raise RedirectRefusedError(
            f"{where} redirects to {target.scheme}://{target.host}, and redirects to another host are not followed; "
            "use the final URL"
        )
    return target.copy_with(fragment=None)


def _describe(error: BaseException) -> str:
    """Return the first of the error and its causes that says something; of TLS that is the innermost."""
    fault: BaseException | None = error
    while fault is not None:
        if str(fault):
            return str(fault)
        fault = fault.__cause__
    return _SILENT_ERRORS.get(type(error), type(error).__name__)
