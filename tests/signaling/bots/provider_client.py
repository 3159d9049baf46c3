"""Bot providers for tests: one driven by hand over a WebSocket, and the client library's; and what becomes of bots."""

from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TypeVar

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream
from wire_client import Client, in_lobby

import voicebot
from signaling.bots import BotState, BotView, Deadlines
from signaling.bots.events import BotEvent
from signaling.messages import ClientMessage, ErrorReply, ServerMessage, decode_server, encode_client
from signaling.messages.bots import TO_PROVIDER_MESSAGES, Register, Registered
from signaling.server import RunningServer

#: Longer than anything here takes on a busy machine.
PATIENCE_SECONDS = 30
#: Quick where a test waits for the deadline to pass, slow where a busy machine must not miss it.
DEADLINES = Deadlines(
    request_s=0.3,
    reassign_s=20,
    offer_s=20,
    join_s=20,
    leave_s=20,
    away_s=0.5,
    heartbeat_s=0.5,
    late_s=20,
    cool_down_s=0.01,
    max_cool_down_s=0.02,
    alone_s=0.2,
)
CHAT_CAPABILITIES = ("chat",)

Kind = TypeVar("Kind", bound=ServerMessage)


class HandProvider:
    """Says what it is told to say, and nothing by itself."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self.socket = socket
        self.registered: Registered
        self._next_id = 0
        self._waiting: deque[ServerMessage] = deque()

    async def say(self, message: ClientMessage) -> ServerMessage:
        """Send a request and return its reply; what comes before it is kept for ``hear``."""
        self._next_id += 1
        await self.socket.send_message(encode_client(message, self._next_id))
        while True:
            reply, re = await self._receive()
            if re == self._next_id:
                return reply
            self._waiting.append(reply)

    async def refused(self, message: ClientMessage) -> tuple[str, str | None]:
        """Return code and field of the error that a request is answered with."""
        reply = await self.say(message)
        assert isinstance(reply, ErrorReply), reply
        return reply.code, reply.field

    async def hear(self, kind: type[Kind]) -> Kind:
        """Return the next message that is no reply; it must be of this kind."""
        message = self._waiting.popleft() if self._waiting else (await self._receive())[0]
        assert isinstance(message, kind), message
        return message

    async def closed(self) -> int:
        """Read to the end; return the close code."""
        with trio.fail_after(PATIENCE_SECONDS), suppress(ConnectionClosed):
            while True:
                await self.socket.get_message()
        assert self.socket.closed is not None
        return int(self.socket.closed.code)

    async def drop(self) -> None:
        """Lose the TCP connection without a word."""
        await trio.aclose_forcefully(self.socket._stream)

    async def _receive(self) -> tuple[ServerMessage, int | None]:
        with trio.fail_after(PATIENCE_SECONDS):
            frame = decode_server(await self.socket.get_message(), TO_PROVIDER_MESSAGES)
        return frame.message, frame.re


@asynccontextmanager
async def opened(server: RunningServer, credential: str | None = None) -> AsyncIterator[HandProvider]:
    """Connect, and do not register."""
    headers = [] if credential is None else [(b"Authorization", f"Bearer {credential}".encode())]
    # The library's own way leaves the socket open when the server refuses, or closes first.
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream, trio.open_nursery() as nursery:
        with trio.fail_after(PATIENCE_SECONDS):
            socket = await wrap_client_stream(
                nursery,
                stream,
                f"127.0.0.1:{server.port}",
                "/ws/bots",
                extra_headers=headers,
                message_queue_size=10_000,
            )
        yield HandProvider(socket)
        with trio.move_on_after(2):
            await socket.aclose()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def registered(
    server: RunningServer, name: str = "Hand", *, credential: str | None = None, **more: object
) -> AsyncIterator[HandProvider]:
    """Connect and register."""
    async with opened(server, credential) as provider:
        reply = await provider.say(Register(name=name, **more))
        assert isinstance(reply, Registered), reply
        provider.registered = reply
        yield provider


@asynccontextmanager
async def providing(
    server: RunningServer, bot: type[voicebot.Bot] = voicebot.ChatBot, **options: object
) -> AsyncIterator[voicebot.Provider]:
    """Run a provider of the client library; leaving says goodbye."""
    provider = voicebot.Provider(server.url, bot, **options)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(provider.run)
        with trio.fail_after(PATIENCE_SECONDS):
            await provider.registered.wait()
        yield provider
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def person(server: RunningServer, lobby: str = "garden", name: str = "Ada") -> AsyncIterator[Client]:
    async with in_lobby(server.url, lobby, name) as client:
        yield client


async def request_active(server: RunningServer, lobby_id: str, **more: object) -> BotView:
    """Ask for a bot and wait until it is in the lobby."""
    bots = server.service.bots
    asked = await bots.request(lobby_id, **more)
    with trio.fail_after(PATIENCE_SECONDS):
        view = await bots.wait_settled(asked.bot_id)
    assert view.state is BotState.ACTIVE, view
    return view


class Watch:
    """The events of bots, as they happen."""

    def __init__(self, subscription) -> None:
        self._subscription = subscription
        self.seen: list[BotEvent] = []

    async def until(self, kind: type[BotEvent], bot_id: str, **fields: object) -> BotEvent:
        """Return the next event of this kind and bot, with these fields."""
        with trio.fail_after(PATIENCE_SECONDS):
            async for stamped in self._subscription:
                event = stamped.event
                self.seen.append(event)
                wanted = {"bot_id": bot_id} | fields
                if isinstance(event, kind) and all(
                    getattr(event, name) == value for name, value in wanted.items()
                ):
                    return event
        raise AssertionError("the bus has ended")

    def states(self, bot_id: str) -> list[str]:
        return [type(event).__name__ for event in self.seen if event.bot_id == bot_id]


@contextmanager
def watching(server: RunningServer) -> Iterator[Watch]:
    with server.service.bus.subscribe("test", types=(BotEvent,)) as subscription:
        yield Watch(subscription)


def names_in(server: RunningServer, lobby_id: str) -> list[str]:
    lobby = server.service.lobbies.get(lobby_id)
    return [] if lobby is None else [each.name for each in lobby.participants.values()]
