"""Real connections, sessions and lobbies without sockets: what the server sends is kept, what it receives is said.

For tests in virtual time. The relay is real too, but nobody offers.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog
import trio
import trio.testing
from lobby_parts import make_lobbies

from signaling.admission import LobbyGate
from signaling.auth import Companies, GuardedPasswords, PasswordParameters, Passwords, ProtectedNames, Tokens
from signaling.bus import Bus
from signaling.connection import Connection
from signaling.counters import Counters
from signaling.lobbies import Lobbies
from signaling.messages import ClientMessage, ServerFrame, decode_server, encode_client
from signaling.sessions import Sessions, open_sessions
from signaling.storage import Store
from signaling.storage.memory import MemoryStore
from signaling.websocket import Disconnected, Ended

#: As quick as argon2 goes.
CHEAP = PasswordParameters(memory_kib=8, iterations=1)


class Socket:
    """The server's end of a connection that a test can lose. As much of a ``WebSocket`` as a connection uses."""

    def __init__(self) -> None:
        #: What the server has sent and the client has not taken.
        self.sent: list[str] = []
        self.ended: Ended | None = None
        self._to_receive, self._received = trio.open_memory_channel[str](100)

    def say(self, text: str) -> None:
        self._to_receive.send_nowait(text)

    def lose(self) -> None:
        self.ended = self.ended or Ended(1006, "", by_client=True)
        self._to_receive.close()

    async def receive(self) -> str:
        try:
            return await self._received.receive()
        except trio.EndOfChannel:
            raise Disconnected from None

    def send(self, text: str) -> None:
        if self.ended is None:
            self.sent.append(text)

    def close(self, code: int, reason: str) -> None:
        if self.ended is None:
            self.ended = Ended(int(code), reason, by_client=False)
            self._to_receive.close()


class Line:
    """A client's end: says requests, takes what was sent."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
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

    async def ask(self, message: ClientMessage) -> ServerFrame:
        """Say a request and return its reply; everything else that came is dropped."""
        number = self.say(message)
        await trio.testing.wait_all_tasks_blocked()
        (reply,) = [frame for frame in self.take() if frame.re == number]
        return reply


@dataclass
class Parts:
    store: Store
    bus: Bus
    lobbies: Lobbies
    sessions: Sessions
    names: ProtectedNames
    companies: Companies
    connect: Callable[[], Line]
    counters: Counters = field(default_factory=Counters)


@asynccontextmanager
async def open_parts(
    *, store: Store | None = None, resume_seconds: float = 30, **lobby_options: object
) -> AsyncIterator[Parts]:
    kept = MemoryStore() if store is None else store
    snapshot = await kept.load()
    bus, counters = Bus(), Counters()
    companies = Companies(store=kept, records=snapshot.companies)
    guarded = GuardedPasswords(Passwords(CHEAP))
    names = ProtectedNames(store=kept, guarded=guarded, records=snapshot.names)
    lobbies = make_lobbies(bus, store=kept, companies=companies, clock=trio.current_time, **lobby_options)
    gate = LobbyGate(
        lobbies=lobbies,
        names=names,
        passwords=guarded,
        tokens=Tokens(None, is_company=companies.is_enabled),
    )
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

        def connect() -> Line:
            socket = Socket()
            connection = Connection(
                socket,
                sessions=sessions,
                store=kept,
                gate=gate,
                usage=companies.usage,
                counters=counters,
                max_message_bytes=1 << 19,
                keepalive_seconds=4,
            )
            structlog.contextvars.clear_contextvars()
            nursery.start_soon(connection.run)
            return Line(socket)

        yield Parts(kept, bus, lobbies, sessions, names, companies, connect, counters)
        nursery.cancel_scope.cancel()
