"""An administrator's client of the event stream, over streams in memory."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Message,
    Ping,
    Request,
    TextMessage,
)

from signaling.bus import Bus
from signaling.courier import Courier
from signaling.event_feed.feed import serve_event_feed
from signaling.messages import decode_server
from signaling.messages.feed import FEED_SERVER_MESSAGES
from signaling.messages.model import Message as ServerMessage
from signaling.storage import Store
from signaling.websocket import WebSocketLimits, serve_websocket


class FeedClient:
    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self._stream = stream
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._number = 0
        self._text = ""
        self.closed: CloseConnection | None = None

    async def upgrade(self) -> None:
        await self._stream.send_all(self._protocol.send(Request(host="x", target="/ws/admin/events")))
        while self._protocol.connection is None:
            self._protocol.receive_data(bytes(await self._stream.receive_some()))
        assert isinstance(next(self._protocol.events()), AcceptConnection)

    async def send_text(self, text: str) -> None:
        await self._stream.send_all(self._protocol.send(TextMessage(data=text)))

    async def send_bytes(self, content: bytes) -> None:
        await self._stream.send_all(self._protocol.send(BytesMessage(data=content)))

    async def request(self, message_type: str, **data: Any) -> int:
        self._number += 1
        await self.send_text(json.dumps({"type": message_type, "data": data, "id": self._number}))
        return self._number

    async def next(self) -> tuple[ServerMessage, int | None] | None:
        """Return the next message and what it replies to, or None when the server has closed."""
        while self.closed is None:
            for event in self._protocol.events():
                if isinstance(event, Ping):
                    await self._stream.send_all(self._protocol.send(event.response()))
                elif isinstance(event, CloseConnection):
                    self.closed = event
                    if self._protocol.state is ConnectionState.REMOTE_CLOSING:
                        await self._stream.send_all(self._protocol.send(event.response()))
                    return None
                elif isinstance(event, Message):
                    self._text += event.data
                    if event.message_finished:
                        text, self._text = self._text, ""
                        frame = decode_server(text, FEED_SERVER_MESSAGES)
                        return frame.message, frame.re
            self._protocol.receive_data(bytes(await self._stream.receive_some()) or None)
        return None

    async def expect(self, kind: type[ServerMessage]) -> Any:
        found = await self.next()
        assert found is not None, self.closed
        assert isinstance(found[0], kind), found
        return found[0]

    async def close(self) -> None:
        await self._stream.send_all(self._protocol.send(CloseConnection(code=1000)))
        while await self.next() is not None:
            pass


@asynccontextmanager
async def feed_client(
    bus: Bus, store: Store | None = None, *, reads_in_step: bool = False, **options: Any
) -> AsyncIterator[FeedClient]:
    """Open the stream; with ``reads_in_step`` the server can write only what the client reads."""
    make = trio.testing.lockstep_stream_pair if reads_in_step else trio.testing.memory_stream_pair
    near, far = make()
    courier = Courier(keepalive_seconds=3600)
    limits = WebSocketLimits(
        max_message_bytes=100_000, send_queue_bytes=4 * 1024 * 1024, send_timeout_seconds=3600
    )
    client = FeedClient(near)
    served = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(courier.run)

        async def serve() -> None:
            async def handler(socket: Any) -> None:
                await serve_event_feed(socket, bus, store, **options)

            await serve_websocket(far, handler, limits, courier)
            served.set()

        nursery.start_soon(serve)
        await client.upgrade()
        yield client
        if client.closed is None:
            await client.close()
        with trio.fail_after(60):
            await served.wait()
        nursery.cancel_scope.cancel()
    assert not bus.subscriptions
