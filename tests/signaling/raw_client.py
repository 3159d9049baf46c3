"""A client that need not behave: TCP, and WebSocket frames only where it says so."""

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, Ping, Request, TextMessage

PATIENCE_SECONDS = 20


@asynccontextmanager
async def raw_connection(
    url: str, *, receive_buffer_bytes: int | None = None
) -> AsyncIterator[trio.SocketStream]:
    """Open a TCP connection and say nothing."""
    parts = urlsplit(url)
    opened = trio.socket.socket(socket.AF_INET6 if ":" in (parts.hostname or "") else socket.AF_INET)
    if receive_buffer_bytes is not None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    with trio.fail_after(PATIENCE_SECONDS):
        await opened.connect((parts.hostname, parts.port))
    stream = trio.SocketStream(opened)
    try:
        yield stream
    finally:
        await trio.aclose_forcefully(stream)


async def read_to_end(stream: trio.SocketStream) -> bytes:
    """Return what the server sends until it closes; a reset is an end too."""
    received = bytearray()
    with trio.fail_after(PATIENCE_SECONDS):
        try:
            while piece := await stream.receive_some():
                received += piece
        except trio.BrokenResourceError:
            pass
    return bytes(received)


class RawWebSocket:
    """A WebSocket that does only what it is told; it answers neither pings nor closes."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.protocol = WSConnection(ConnectionType.CLIENT)

    async def send(self, event: Event) -> None:
        await self.stream.send_all(self.protocol.send(event))

    async def send_message(self, message_type: str, **data: object) -> None:
        await self.send(TextMessage(data=json.dumps({"type": message_type, "data": data, "id": 0})))

    async def next_event(self) -> Event:
        with trio.fail_after(PATIENCE_SECONDS):
            while True:
                for event in self.protocol.events():
                    return event
                piece = await self.stream.receive_some()
                self.protocol.receive_data(piece or None)

    async def next_message(self) -> dict[str, object]:
        """Return the next JSON message, passing over pings."""
        text = ""
        while True:
            event = await self.next_event()
            if isinstance(event, TextMessage):
                text += event.data
                if event.message_finished:
                    return json.loads(text)
            else:
                assert isinstance(event, Ping), event

    async def messages_until_close(self) -> tuple[list[dict[str, object]], CloseConnection]:
        messages: list[dict[str, object]] = []
        text = ""
        while True:
            event = await self.next_event()
            if isinstance(event, TextMessage):
                text += event.data
                if event.message_finished:
                    messages.append(json.loads(text))
                    text = ""
            elif isinstance(event, CloseConnection):
                return messages, event


@asynccontextmanager
async def raw_websocket(url: str, *, path: str = "/ws", **options: int) -> AsyncIterator[RawWebSocket]:
    """Upgrade and take the welcome."""
    async with raw_connection(url, **options) as stream:
        client = RawWebSocket(stream)
        await client.send(Request(host=urlsplit(url).netloc, target=path))
        assert isinstance(await client.next_event(), AcceptConnection)
        assert (await client.next_message())["type"] == "welcome"
        yield client
