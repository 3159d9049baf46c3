"""From a ``ws://`` or ``wss://`` URL to a byte stream."""

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

import trio

#: Opens the transport of one connection. The default is TCP, with TLS for ``wss``.
OpenStream = Callable[[], Awaitable[trio.abc.Stream]]


#: Of the WebSocket of clients, and of that of bot providers.
CLIENT_PATH, PROVIDER_PATH = "/ws", "/ws/bots"


def relay_url(url: str, path: str) -> str:
    """Return the URL of one of a relay's WebSockets; ``url`` may be that of another one, or of the relay as browsers open it."""
    base = url.replace("http", "ws", 1) if url.startswith("http") else url
    return base.rstrip("/").removesuffix(PROVIDER_PATH).removesuffix(CLIENT_PATH) + path


@dataclass(frozen=True, slots=True)
class WebSocketUrl:
    """A URL taken apart; ``resource`` is path and query, ``host_header`` what HTTP wants to hear."""

    secure: bool
    host: str
    port: int
    resource: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Take a URL apart; a missing path is ``/ws``, where our server listens.

        Raises: ValueError.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"ws", "wss"} or not parts.hostname:
            raise ValueError(f"expected a URL like ws://host:port/ws or wss://host/ws, not {url!r}")
        secure = parts.scheme == "wss"
        resource = (parts.path if parts.path not in {"", "/"} else "/ws") + (
            f"?{parts.query}" if parts.query else ""
        )
        return cls(secure, parts.hostname, parts.port or (443 if secure else 80), resource)

    @property
    def host_header(self) -> str:
        """Value of the HTTP header ``Host``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


async def open_tcp(url: WebSocketUrl, ssl_context: ssl.SSLContext | None) -> trio.abc.Stream:
    """Connect to the URL's host; TLS when the URL is ``wss``.

    Raises: OSError; trio.BrokenResourceError, caused by what the TLS handshake failed at.
    """
    if not url.secure:
        return await trio.open_tcp_stream(url.host, url.port)
    stream = await trio.open_ssl_over_tcp_stream(
        url.host, url.port, ssl_context=ssl_context, https_compatible=True
    )
    # Now, and not with the first bytes: there nobody would hear why it failed.
    try:
        await stream.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream


class WatchedStream(trio.abc.Stream):
    """A stream that tells when its other end is gone.

    trio-websocket waits for the rest of the opening handshake for ever when the connection ends in the middle of it.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        #: Set when nothing more can be received.
        self.ended = trio.Event()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As ``trio.abc.ReceiveStream``."""
        try:
            received = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError:
            self.ended.set()
            raise
        if not received:
            self.ended.set()
        return received

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As ``trio.abc.SendStream``."""
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError:
            self.ended.set()
            raise

    async def wait_send_all_might_not_block(self) -> None:
        """As ``trio.abc.SendStream``."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """As ``trio.abc.AsyncResource``."""
        await self._stream.aclose()
