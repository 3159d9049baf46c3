"""The plainest client there is: one WebSocket, typed frames, no reconnection; what comes in is kept in order."""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

from signaling.messages import (
    ClientMessage,
    ErrorReply,
    Join,
    Joined,
    Resume,
    Resumed,
    ServerMessage,
    Welcome,
    decode_server,
    encode_client,
)

Message = TypeVar("Message", bound=ServerMessage)

#: Longer than anything here takes on a busy machine; a test that waits this long has failed.
PATIENCE_SECONDS = 20


class Client:
    def __init__(self, socket: WebSocketConnection) -> None:
        self.socket = socket
        self.welcome: Welcome
        self.joined: Joined
        self.events: deque[ServerMessage] = deque()
        #: Binary messages.
        self.sound: deque[bytes] = deque()
        #: Numbers of all events of the lobby, in the order of arrival.
        self.numbers: list[int] = []
        self._next_id = 0

    @property
    def last_seq(self) -> int:
        """The number of the last event of the lobby that came, or was in the snapshot."""
        return self.numbers[-1] if self.numbers else self.joined.seq

    async def send_text(self, text: str) -> None:
        await self.socket.send_message(text)

    async def send_bytes(self, message: bytes) -> None:
        await self.socket.send_message(message)

    async def next_sound(self) -> bytes:
        """Return the next binary message; text that comes before it is kept."""
        with trio.fail_after(PATIENCE_SECONDS):
            while not self.sound:
                received = await self.socket.get_message()
                if isinstance(received, bytes):
                    self.sound.append(received)
                else:
                    self.events.append(decode_server(received).message)
        return self.sound.popleft()

    async def receive(self) -> tuple[ServerMessage, int | None]:
        with trio.fail_after(PATIENCE_SECONDS):
            while isinstance(received := await self.socket.get_message(), bytes):
                self.sound.append(received)
        frame = decode_server(received)
        if frame.seq is not None:
            self.numbers.append(frame.seq)
        return frame.message, frame.re

    async def request(self, message: ClientMessage) -> ServerMessage:
        """Send and return the reply, an error too; events that come before it are kept."""
        self._next_id += 1
        number = self._next_id
        await self.send_text(encode_client(message, number))
        while True:
            reply, re = await self.receive()
            if re == number:
                return reply
            assert re is None
            self.events.append(reply)

    async def expect(self, message: ClientMessage, kind: type[Message]) -> Message:
        reply = await self.request(message)
        assert isinstance(reply, kind), reply
        return reply

    async def refused(self, message: ClientMessage) -> ErrorReply:
        return await self.expect(message, ErrorReply)

    async def event(self, kind: type[Message]) -> Message:
        """Return the next event, which must be of this kind."""
        if self.events:
            found = self.events.popleft()
        else:
            found, re = await self.receive()
            assert re is None, found
        assert isinstance(found, kind), found
        return found

    async def until(self, kind: type[Message]) -> Message:
        """Return the next event of this kind, dropping others."""
        while True:
            found = await self.event(ServerMessage)
            if isinstance(found, kind):
                return found

    async def join(self, lobby: str = "garden", name: str = "Ada", **more: object) -> Joined:
        self.joined = await self.expect(Join(lobby=lobby, name=name, **more), Joined)
        return self.joined

    async def resume(
        self, token: str, participant_id: str | None = None, last_seq: int | None = None
    ) -> ServerMessage:
        return await self.request(
            Resume(resume_token=token, participant_id=participant_id, last_seq=last_seq)
        )

    async def resume_after(self, former: "Client") -> Resumed:
        """Take over from a client whose connection was lost, knowing what it knew."""
        known = former.joined
        resumed = await self.resume(former.welcome.resume_token, known.participant_id, former.last_seq)
        assert isinstance(resumed, Resumed), resumed
        self.joined = known
        return resumed

    async def closed(self) -> tuple[int, str | None, list[ServerMessage]]:
        """Read to the end; return the close code, the reason, and what was read."""
        read: list[ServerMessage] = []
        with trio.fail_after(PATIENCE_SECONDS):
            with suppress(ConnectionClosed):
                while True:
                    read.append(decode_server(await self.socket.get_message()).message)
        closed = self.socket.closed
        assert closed is not None
        return int(closed.code), closed.reason, read

    async def drop(self) -> None:
        """Lose the TCP connection without a word."""
        await trio.aclose_forcefully(self.socket._stream)


@asynccontextmanager
async def connected(url: str, **options: object) -> AsyncIterator[Client]:
    """Connect and take the welcome."""
    address = url.replace("http", "ws", 1) + "/ws"
    options = {
        "message_queue_size": 1000,
        "connect_timeout": PATIENCE_SECONDS,
        "disconnect_timeout": 2,
        **options,
    }
    async with open_websocket_url(address, **options) as socket:
        client = Client(socket)
        try:
            first, _ = await client.receive()
            assert isinstance(first, Welcome), first
            client.welcome = first
            yield client
        finally:
            # The library leaves the socket open when the server has closed first.
            if socket.closed is not None:
                await client.drop()


@asynccontextmanager
async def in_lobby(
    url: str, lobby: str = "garden", name: str = "Ada", **more: object
) -> AsyncIterator[Client]:
    async with connected(url) as client:
        await client.join(lobby, name, **more)
        yield client
