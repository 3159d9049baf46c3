"""A small HTTP server on the loopback address that answers as it is told, well or badly."""

import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import h11
import trio

BREAKS = (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError)


@dataclass(frozen=True)
class Heard:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Exchange:
    """One request, to be answered."""

    def __init__(self, stream: trio.abc.Stream, connection: h11.Connection) -> None:
        self.stream = stream
        self.connection = connection

    async def send(self, event: h11.Event) -> None:
        await self.stream.send_all(self.connection.send(event) or b"")


Answer = Callable[[Exchange], Awaitable[None]]


def respond(status: int, body: bytes = b"", **headers: str) -> Answer:
    async def answer(exchange: Exchange) -> None:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        fields["content-length"] = str(len(body))
        await exchange.send(h11.Response(status_code=status, headers=list(fields.items())))
        if body:
            await exchange.send(h11.Data(data=body))
        await exchange.send(h11.EndOfMessage())

    return answer


async def reset(exchange: Exchange) -> None:
    await trio.aclose_forcefully(exchange.stream)


async def hang(exchange: Exchange) -> None:
    await trio.sleep_forever()


async def nonsense(exchange: Exchange) -> None:
    await exchange.stream.send_all(b"SSH-2.0-no\r\n\r\n")
    await trio.aclose_forcefully(exchange.stream)


async def cut_head(exchange: Exchange) -> None:
    await exchange.stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Le")
    await trio.aclose_forcefully(exchange.stream)


async def cut_body(exchange: Exchange) -> None:
    await exchange.send(h11.Response(status_code=200, headers=[("content-length", "1000")]))
    await exchange.send(h11.Data(data=b"half"))
    await trio.aclose_forcefully(exchange.stream)


async def endless_head(exchange: Exchange) -> None:
    await exchange.stream.send_all(b"HTTP/1.1 200 OK\r\n")
    while True:
        await exchange.stream.send_all(b"x-more: " + bytes([97]) * 1000 + b"\r\n")


async def endless_hints(exchange: Exchange) -> None:
    """One interim answer after the other, and never the real one."""
    while True:
        await exchange.stream.send_all(b"HTTP/1.1 102 Processing\r\n\r\n")
        await trio.sleep(0.01)


async def drip(exchange: Exchange) -> None:
    """A body that never ends, a byte at a time."""
    await exchange.send(h11.Response(status_code=200, headers=[("transfer-encoding", "chunked")]))
    while True:
        await exchange.send(h11.Data(data=b"x"))
        await trio.sleep(0.01)


def flood(status: int) -> Answer:
    """A body that never ends, as fast as it is taken."""

    async def answer(exchange: Exchange) -> None:
        await exchange.send(h11.Response(status_code=status, headers=[("transfer-encoding", "chunked")]))
        while True:
            await exchange.send(h11.Data(data=bytes(16_384)))

    return answer


class HttpPeer:
    def __init__(self, port: int, scheme: str) -> None:
        self.port = port
        self.url = f"{scheme}://127.0.0.1:{port}/hook"
        self.heard: list[Heard] = []
        self.answers: deque[Answer] = deque()
        self.otherwise: Answer = respond(200)
        self.connections = 0
        self._changed = trio.Event()

    async def wait_heard(self, count: int) -> None:
        while len(self.heard) < count:
            await self._changed.wait()

    async def serve(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        with suppress(*BREAKS):
            connection = h11.Connection(h11.SERVER)
            while (heard := await self._read(stream, connection)) is not None:
                self.heard.append(heard)
                self._changed.set()
                self._changed = trio.Event()
                answer = self.answers.popleft() if self.answers else self.otherwise
                await answer(Exchange(stream, connection))
                if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                    break
                connection.start_next_cycle()
        await trio.aclose_forcefully(stream)

    async def _read(self, stream: trio.abc.Stream, connection: h11.Connection) -> Heard | None:
        request: h11.Request | None = None
        body = b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(bytes(await stream.receive_some()))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert request is not None
                headers = {name.decode(): value.decode() for name, value in request.headers}
                return Heard(request.method.decode(), request.target.decode(), headers, body)
            else:
                return None


@asynccontextmanager
async def http_peer(*answers: Answer, ssl_context: ssl.SSLContext | None = None) -> AsyncIterator[HttpPeer]:
    """Serve for the length of a scope; the answers are given in order, then 200."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    peer = HttpPeer(listener.socket.getsockname()[1], "http" if ssl_context is None else "https")
    peer.answers.extend(answers)

    async def serve(stream: trio.abc.Stream) -> None:
        if ssl_context is not None:
            stream = trio.SSLStream(stream, ssl_context, server_side=True, https_compatible=True)
        await peer.serve(stream)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        try:
            yield peer
        finally:
            nursery.cancel_scope.cancel()
