"""The far end of the WebSocket services in these tests: accepts over TCP on the loopback address, or over memory in virtual time.

What is said is each service's own; the faults are common: refusing, cutting, freezing, being away.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio
import trio.testing
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, wrap_server_stream

from voicebot.nursery import open_bare_nursery

GONE = (ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError)


class Call:
    """One connection as the service sees it."""

    def __init__(self, request: WebSocketRequest, stream: trio.abc.Stream, reading: trio.CancelScope) -> None:
        self.path = request.path
        self.headers = {name.decode().lower(): value.decode() for name, value in request.headers}
        self.websocket: WebSocketConnection
        self._stream = stream
        self._reading = reading
        self._frozen = False

    async def cut(self) -> None:
        """Break the connection without a word."""
        await trio.aclose_forcefully(self._stream)

    def freeze(self) -> None:
        """Stay connected, but read and answer nothing any more, not even pings."""
        self._frozen = True
        self._reading.cancel()

    async def send(self, message: str | bytes) -> None:
        await self.websocket.send_message(message)

    async def receive(self) -> str | bytes:
        if self._frozen:
            await trio.sleep_forever()
        return await self.websocket.get_message()


class WebSocketHost:
    """Runs ``talk`` for each connection; ``calls`` are those that came, in order."""

    def __init__(self, nursery: trio.Nursery, talk: Callable[[Call], Awaitable[None]]) -> None:
        self._nursery = nursery
        self._talk = talk
        self.calls: list[Call] = []
        #: When each connection was opened (or refused), by the clock of the test.
        self.attempts: list[float] = []
        #: While set, nobody listens.
        self.away = False
        #: What the header must say; others are refused with 401.
        self.authorization: str | None = None
        #: While set, connections are refused with this HTTP status and body.
        self.refusal: tuple[int, bytes] | None = None
        self.make_pair = trio.testing.memory_stream_pair
        self._called = trio.Event()

    async def open_stream(self) -> trio.abc.Stream:
        """What the clients take as ``open_stream``: a connection over memory."""
        self.attempts.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if self.away:
            raise ConnectionRefusedError("nobody listens")
        ours, theirs = self.make_pair()
        self._nursery.start_soon(self.handle, ours)
        return theirs

    async def listen(self) -> str:
        """Accept TCP connections as well; return the base URL."""
        serve = partial(trio.serve_tcp, self._handle_tcp, 0, host="127.0.0.1")
        (listener,) = await self._nursery.start(serve)
        return f"ws://127.0.0.1:{listener.socket.getsockname()[1]}"

    async def wait_calls(self, count: int) -> Call:
        """Wait until so many connections were accepted; return the last of these."""
        while len(self.calls) < count:
            await self._called.wait()
        return self.calls[count - 1]

    async def _handle_tcp(self, stream: trio.SocketStream) -> None:
        self.attempts.append(trio.current_time())
        await self.handle(stream)

    async def handle(self, stream: trio.abc.Stream) -> None:
        call: Call | None = None
        try:
            async with trio.open_nursery() as reader:
                request = await wrap_server_stream(reader, stream)
                headers = {name.decode().lower(): value.decode() for name, value in request.headers}
                refusal = self.refusal
                if refusal is None and headers.get("authorization") != self.authorization:
                    refusal = (401, f"bad key: {headers.get('authorization')}".encode())
                if refusal is not None:
                    await request.reject(refusal[0], body=refusal[1])
                else:
                    call = Call(request, stream, reader.cancel_scope)
                    call.websocket = await request.accept()
                    self.calls.append(call)
                    self._called.set()
                    self._called = trio.Event()
                    # Beside the reader: a frozen connection has none, and yet stays open.
                    self._nursery.start_soon(self._converse, call)
                    await trio.sleep_forever()
        except* GONE:
            pass
        if call is not None and call._frozen:
            await trio.sleep_forever()  # whoever returns hangs up

    async def _converse(self, call: Call) -> None:
        try:
            await self._talk(call)
        except GONE:
            pass
        else:
            call._reading.cancel()
            await call.cut()


@asynccontextmanager
async def open_host(talk: Callable[[Call], Awaitable[None]]) -> AsyncIterator[WebSocketHost]:
    async with open_bare_nursery() as nursery:
        yield WebSocketHost(nursery, talk)
