"""Real connections, sessions and lobbies without sockets: what the server sends is kept, what it receives is said.

For tests in virtual time. The relay is real too, but nobody offers.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import structlog
import trio
import trio.testing
from lobby_parts import make_lobbies

from signaling.admission import LobbyGate, Tickets
from signaling.auth import (
    Companies,
    GuardedPasswords,
    PasswordParameters,
    Passwords,
    ProtectedNames,
    TokenKey,
    Tokens,
)
from signaling.bus import Bus
from signaling.connection import Connection
from signaling.counters import Counters
from signaling.drain import Drain
from signaling.lobbies import Lobbies
from signaling.messages import (
    ClientMessage,
    ErrorReply,
    ServerFrame,
    ServerMessage,
    decode_server,
    encode_client,
)
from signaling.sessions import Sessions, open_sessions
from signaling.storage import Store
from signaling.storage.memory import MemoryStore
from signaling.websocket import Disconnected, Ended

Message = TypeVar("Message", bound=ServerMessage)

PATIENCE_SECONDS = 20
#: As quick as argon2 goes.
CHEAP = PasswordParameters(memory_kib=8, iterations=1)


class Socket:
    """The server's end of a connection that a test can lose. As much of a ``WebSocket`` as a connection uses."""

    def __init__(self) -> None:
        #: What the server has sent and the client has not taken.
        self.sent: list[str] = []
        self.ended: Ended | None = None
        #: Binary messages that were fetched; none are while the client is ``deaf``.
        self.sound: list[bytes] = []
        self.deaf = False
        self._to_receive, self._received = trio.open_memory_channel[str | bytes](1000)
        self._something_sent = trio.Event()

    async def wait_sent(self) -> None:
        while not self.sent:
            self._something_sent = trio.Event()
            await self._something_sent.wait()

    def say(self, message: str | bytes) -> None:
        self._to_receive.send_nowait(message)

    def lose(self) -> None:
        self.ended = self.ended or Ended(1006, "", by_client=True)
        self._to_receive.close()

    async def receive(self) -> str | bytes:
        try:
            return await self._received.receive()
        except trio.EndOfChannel:
            raise Disconnected from None

    def send(self, text: str) -> None:
        if self.ended is None:
            self.sent.append(text)
            self._something_sent.set()

    def send_sound(self, source: Callable[[], bytes]) -> None:
        if self.ended is None and not self.deaf:
            while message := source():
                self.sound.append(message)

    def close(self, code: int, reason: str) -> None:
        if self.ended is None:
            self.ended = Ended(int(code), reason, by_client=False)
            self._to_receive.close()


class Line:
    """A client's end: says requests, takes what was sent."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self.heard: list[ServerMessage] = []
        self._next_id = 0

    def say(self, message: ClientMessage) -> int:
        self._next_id += 1
        self.socket.say(encode_client(message, self._next_id))
        return self._next_id

    def take(self, count: int | None = None) -> list[ServerFrame]:
        """Return the oldest frames that have not been taken."""
        taken = self.socket.sent[:count]
        del self.socket.sent[:count]
        return [decode_server(text) for text in taken]

    async def ask(self, message: ClientMessage) -> ServerMessage:
        """Say a request and return its reply; what comes besides it is kept in ``heard``."""
        number = self.say(message)
        while True:
            with trio.fail_after(PATIENCE_SECONDS):
                await self.socket.wait_sent()
            for frame in self.take(1):
                if frame.re == number:
                    return frame.message
                self.heard.append(frame.message)

    async def expect(self, message: ClientMessage, kind: type[Message]) -> Message:
        reply = await self.ask(message)
        assert isinstance(reply, kind), reply
        return reply

    async def refused(self, message: ClientMessage) -> tuple[str, str | None]:
        """Return code and field of the error that a request is answered with."""
        reply = await self.expect(message, ErrorReply)
        return reply.code, reply.field

    async def settle(self) -> list[ServerMessage]:
        """Wait until nothing happens any more; return all that came and was no reply that somebody asked for."""
        await trio.testing.wait_all_tasks_blocked()
        self.heard.extend(frame.message for frame in self.take())
        heard, self.heard = self.heard, []
        return heard


@dataclass
class Parts:
    store: Store
    bus: Bus
    lobbies: Lobbies
    sessions: Sessions
    names: ProtectedNames
    companies: Companies
    tokens: Tokens
    passwords: Passwords
    #: Begin a connection, of a company if one is named.
    connect: Callable[..., Line]
    counters: Counters
    drain: Drain


@asynccontextmanager
async def open_parts(
    *,
    store: Store | None = None,
    resume_seconds: float = 30,
    token_key: TokenKey | None = None,
    tickets: Tickets | None = None,
    **lobby_options: object,
) -> AsyncIterator[Parts]:
    kept = MemoryStore() if store is None else store
    snapshot = await kept.load()
    bus, counters = Bus(), Counters()
    companies = Companies(store=kept, records=snapshot.companies)
    guarded = GuardedPasswords(Passwords(CHEAP))
    names = ProtectedNames(store=kept, guarded=guarded, records=snapshot.names)
    lobbies = make_lobbies(bus, store=kept, companies=companies, clock=trio.current_time, **lobby_options)
    tokens = Tokens(token_key, is_company=companies.is_enabled)
    gate = LobbyGate(lobbies=lobbies, names=names, passwords=guarded, tokens=tokens, tickets=tickets)
    drain = Drain()
    async with (
        trio.open_nursery() as nursery,
        open_sessions(
            lobbies=lobbies,
            bus=bus,
            router=None,
            store=kept,
            usage=companies.usage,
            resume_seconds=resume_seconds,
            failures=Counter(),
            snapshot=snapshot,
        ) as sessions,
    ):

        def connect(company_id: str = "") -> Line:
            socket = Socket()
            connection = Connection(
                socket,
                sessions=sessions,
                store=kept,
                gate=gate,
                usage=companies.usage,
                counters=counters,
                drain=drain,
                max_message_bytes=1 << 19,
                keepalive_seconds=4,
                company_id=company_id,
            )
            structlog.contextvars.clear_contextvars()
            nursery.start_soon(connection.run)
            return Line(socket)

        yield Parts(
            kept,
            bus,
            lobbies,
            sessions,
            names,
            companies,
            tokens,
            guarded.passwords,
            connect,
            counters,
            drain,
        )
        nursery.cancel_scope.cancel()
