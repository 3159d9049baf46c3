"""WebSockets that we open: to bots, at URLs that somebody else may have chosen.

The way out is the one of all outbound calls (``signaling/outbound``): the name is resolved here and each address judged, so that
who is not the operator reaches the public Internet only; no redirects, no proxies. Connecting, TLS and the opening handshake
have one deadline. What fails before the WebSocket is open is tried again by the one retry policy, if it may succeed then: no
connection, no answer in time, HTTP 5xx or "come again". Once open it is never replaced: a bot's conversation is gone with it.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import cast

import httpcore
import httpx
import trio
from trio_websocket import ConnectionRejected, WebSocketConnection, wrap_client_stream

from signaling.outbound.errors import (
    OutboundError,
    RedirectRefusedError,
    TargetRefusedError,
    UnreachableError,
    status_error,
)
from signaling.outbound.network import OutboundNetwork, Resolve, system_resolver
from signaling.outbound.retry import GaveUpError, RetryPolicy, retry
from signaling.outbound.target import check_url, origin_of
from signaling.telephony.bot_socket import LIMITS, BotSocket, BotSocketLimits
from signaling.telephony.bot_transport import Transport
from signaling.version import SERVER_NAME, server_version

_SCHEMES = {"ws": "http", "wss": "https"}
#: Shorter than a bot of the bots' API may take to join.
RETRIES = RetryPolicy(attempts=3, base_seconds=0.25, cap_seconds=1.0, deadline_seconds=8.0)


class BotUnreachableError(Exception):
    """No WebSocket; the text says why, and names no more of the URL than its host."""


@dataclass(slots=True)
class BotDialer:
    """See the module. ``dial`` may be called many times at once."""

    resolve: Resolve = field(default_factory=system_resolver)
    ssl_context: ssl.SSLContext | None = None
    limits: BotSocketLimits = LIMITS
    retries: RetryPolicy = RETRIES
    random: Random = field(default_factory=Random)

    async def dial(
        self, nursery: trio.Nursery, url: str, *, trusted: bool, headers: Mapping[str, str]
    ) -> BotSocket:
        """Return an open WebSocket, whose tasks are in the nursery; close it before leaving that.

        ``trusted``: the URL is the operator's own choice, so that private addresses are fine.

        Raises: BotUnreachableError.
        """
        try:
            target = check_target(url, trusted=trusted)
            attempt = partial(self._attempt, nursery, target, trusted, headers)
            websocket, transport = await retry(attempt, self.retries, random=self.random)
        except (OutboundError, GaveUpError) as error:
            raise BotUnreachableError(str(error)) from None
        socket = BotSocket(websocket, transport, self.limits)
        nursery.start_soon(socket.write)
        return socket

    async def _attempt(
        self, nursery: trio.Nursery, target: httpx.URL, trusted: bool, headers: Mapping[str, str]
    ) -> tuple[WebSocketConnection, Transport]:
        where, seconds = origin_of(target), self.limits.connect_seconds
        transport: Transport | None = None
        websocket: WebSocketConnection | None = None
        try:
            with trio.move_on_after(seconds):
                transport = Transport(await self._connect(target, trusted))
                await nursery.start(transport.run)
                websocket = await self._shake_hands(transport, target, headers)
        except (httpcore.NetworkError, httpcore.TimeoutException) as error:
            raise UnreachableError(f"{where}: {_speaking(error)}") from error
        finally:
            if websocket is None and transport is not None:
                await transport.end()
        if websocket is not None:
            assert transport is not None
            transport.opened = True
            return websocket, transport
        if transport is not None and isinstance(transport.fault, ConnectionRejected):
            raise _refusal(where, transport.fault)
        if transport is not None and transport.over:
            raise UnreachableError(f"{where} broke the opening handshake off")
        raise UnreachableError(f"{where} did not open a WebSocket within {seconds:g} s")

    async def _connect(self, target: httpx.URL, trusted: bool) -> httpcore.AsyncNetworkStream:
        secure, seconds = target.scheme == "https", self.limits.connect_seconds
        network = OutboundNetwork(self.resolve, public_only=not trusted)
        stream = await network.connect_tcp(target.host, target.port or (443 if secure else 80), seconds)
        if not secure:
            return stream
        try:
            if self.ssl_context is None:
                # Reading all the certificates takes some ten milliseconds, once.
                self.ssl_context = await trio.to_thread.run_sync(httpx.create_ssl_context)
            return await stream.start_tls(self.ssl_context, target.host, seconds)
        except BaseException:
            with trio.move_on_after(0, shield=True):
                await stream.aclose()
            raise

    async def _shake_hands(
        self, transport: Transport, target: httpx.URL, headers: Mapping[str, str]
    ) -> WebSocketConnection | None:
        """Return None when the bot refuses, or ends the connection: the library itself would wait for ever."""
        sent = {"User-Agent": f"{SERVER_NAME}/{server_version()}", **headers}
        with transport.opening:
            return await wrap_client_stream(
                transport.nursery,
                cast("trio.SocketStream", transport),  # annotated too narrowly: any stream will do
                target.netloc.decode("ascii"),
                target.raw_path.decode("ascii"),
                extra_headers=[(name.encode(), value.encode()) for name, value in sent.items()],
                max_message_size=self.limits.max_message_bytes,
                message_queue_size=self.limits.messages,
            )
        return None


def check_target(url_untrusted: str, *, trusted: bool) -> httpx.URL:
    """Return the parsed URL of a WebSocket, with the scheme that HTTP calls it by.

    Raises: TargetRefusedError.
    """
    scheme, separator, rest = url_untrusted.partition("://")
    if not separator or scheme.lower() not in _SCHEMES:
        raise TargetRefusedError("expected a URL that begins with ws:// or wss:// and names a host")
    return check_url(f"{_SCHEMES[scheme.lower()]}://{rest}", trusted=trusted)


def _refusal(where: str, error: ConnectionRejected) -> OutboundError:
    if 300 <= error.status_code < 400:
        return RedirectRefusedError(where, error.status_code)
    headers = {name.lower(): value.decode("latin-1") for name, value in error.headers or ()}
    return status_error(where, error.status_code, headers.get(b"retry-after"), datetime.now(UTC))


def _speaking(error: BaseException) -> str:
    """Return what the error says; if that is nothing, what the first of its causes says that speaks."""
    fault: BaseException | None = error
    while fault is not None:
        if str(fault):
            return str(fault)
        # httpcore raises its errors `from` others, and some `from None`.
        fault = fault.__cause__ or fault.__context__
    return "no connection in time" if isinstance(error, httpcore.TimeoutException) else "no connection"
