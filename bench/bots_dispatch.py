"""How long it takes from asking for a bot until it hears something: a provider of ours, registered with the relay.

    request -> offer at the provider -> the bot has joined -> its first PCM frame

The step in the middle is the bot's own start: its WebSocket and its request to join. Somebody talks in the lobby all the time.
"""

import json
import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic_ns
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

import trio

import voicebot
from bench.bots_delays import BOT_RATE, PLAY_RATE, speech_pcm
from bench.bots_load import endless
from bench.errors import BenchError
from bench.lobby import random_lobby
from bench.peer import SIGNALING_TIMEOUTS
from bench.progress import Phase
from bench.server import RelayServer
from voicebot.bot import Assignment, Bot

PATIENCE_S: Final = 10.0
REST_S: Final = 0.05
REGISTER_S: Final = 10.0
RECEIVE_BYTES: Final = 65_536
MAX_ANSWER_BYTES: Final = 1 << 20
PROVIDER: Final = "bench"


@dataclass
class Dispatch:
    """When one bot got where. *Units*: ns of CLOCK_MONOTONIC, 0 for not yet."""

    asked_ns: int = 0
    offered_ns: int = 0
    joined_ns: int = 0
    heard_ns: int = 0
    heard: trio.Event = field(default_factory=trio.Event)

    @property
    def total_ns(self) -> int:
        """All of it."""
        return self.heard_ns - self.asked_ns

    @property
    def own_start_ns(self) -> int:
        """What the bot itself took to be there."""
        return self.joined_ns - self.offered_ns

    @property
    def to_offer_ns(self) -> int:
        """From the request until the provider knew of it."""
        return self.offered_ns - self.asked_ns

    @property
    def to_sound_ns(self) -> int:
        """From being in the lobby until the first frame: a request to listen, and its answer."""
        return self.heard_ns - self.joined_ns

    @property
    def relay_ns(self) -> int:
        """All but the bot's own start."""
        return self.total_ns - self.own_start_ns


@dataclass
class Dispatches:
    """All that came to an end, and how many did not."""

    made: list[Dispatch] = field(default_factory=list)
    failed: int = 0


class _ListeningBot(Bot):
    """Hears one frame, and leaves."""

    title: ClassVar[str] = PROVIDER

    def __init__(self, dispatch: Dispatch, assignment: Assignment) -> None:
        super().__init__(assignment)
        self._dispatch = dispatch

    async def run(self, connection: voicebot.Connection) -> None:
        self._dispatch.joined_ns = monotonic_ns()
        async for _ in connection.mixed(rate=BOT_RATE, frame_ms=20):
            self._dispatch.heard_ns = monotonic_ns()
            self._dispatch.heard.set()
            return


async def measure_dispatches(
    server: RelayServer, admin_token: str, *, count: int, phase: Phase
) -> Dispatches:
    """Ask for bots, one after the other. Raises: BenchError, VoicebotError."""
    found = Dispatches()
    under_way: list[Dispatch] = []

    def make(assignment: Assignment) -> Bot:
        under_way[-1].offered_ns = monotonic_ns()
        return _ListeningBot(under_way[-1], assignment)

    provider = voicebot.Provider(
        server.url,
        _ListeningBot,
        capacity=100,
        credential=admin_token,
        make=make,
        timeouts=SIGNALING_TIMEOUTS,
    )
    lobby = random_lobby()
    async with (
        _open_http(server, admin_token) as http,
        voicebot.connect(server.url, lobby=lobby, name="talker", timeouts=SIGNALING_TIMEOUTS) as talker,
        trio.open_nursery() as nursery,
    ):
        await talker.play(endless(speech_pcm(5, PLAY_RATE, 1)), rate=PLAY_RATE)
        lobby_id = await _find_lobby(http, lobby)
        nursery.start_soon(provider.run)
        with trio.fail_after(REGISTER_S):
            await provider.registered.wait()
        for number in range(count):
            under_way.append(Dispatch(asked_ns=monotonic_ns()))
            await http.post(f"/api/lobbies/{lobby_id}/bots", {"provider": PROVIDER})
            with trio.move_on_after(PATIENCE_S):
                await under_way[-1].heard.wait()
            if under_way[-1].heard.is_set():
                found.made.append(under_way[-1])
            else:
                found.failed += 1
            await provider.runner.wait_empty()
            # At another phase of the mixer's ticks each time.
            await trio.sleep(REST_S + secrets.randbelow(20) / 1e3)
            phase(number + 1)
        nursery.cancel_scope.cancel()
    return found


async def _find_lobby(http: "_Http", name: str) -> str:
    for lobby in (await http.get("/api/lobbies?limit=200"))["lobbies"]:
        if lobby["name"] == name:
            return str(lobby["lobby_id"])
    raise BenchError(f"the relay does not list the lobby {name}")


class _Http:
    """One connection to the relay's API, kept open. Requests go one after the other."""

    def __init__(self, stream: trio.abc.Stream, host: str, token: str) -> None:
        self._stream = stream
        self._head = f"Host: {host}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        self._received = b""

    async def get(self, target: str) -> dict[str, Any]:
        """Raises: BenchError when the answer is no success."""
        return await self._ask("GET", target, b"")

    async def post(self, target: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Raises: BenchError when the answer is no success."""
        return await self._ask("POST", target, json.dumps(body).encode())

    async def _ask(self, method: str, target: str, body: bytes) -> dict[str, Any]:
        head = f"{method} {target} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n"
        await self._stream.send_all(head.encode() + body)
        while b"\r\n\r\n" not in self._received:
            await self._receive()
        answer, _, self._received = self._received.partition(b"\r\n\r\n")
        lines = answer.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        length = int(headers.get("content-length", 0))
        while len(self._received) < length:
            await self._receive()
        content, self._received = self._received[:length], self._received[length:]
        status = lines[0].split(" ")[1]
        if not status.startswith("2"):
            raise BenchError(
                f"the relay answered {method} {target} with {status}: {content.decode(errors='replace')}"
            )
        told: dict[str, Any] = json.loads(content)
        return told

    async def _receive(self) -> None:
        chunk = await self._stream.receive_some(RECEIVE_BYTES)
        if not chunk or len(self._received) > MAX_ANSWER_BYTES:
            raise BenchError("the relay closed an HTTP connection in the middle of an answer")
        self._received += chunk


@asynccontextmanager
async def _open_http(server: RelayServer, token: str) -> AsyncGenerator[_Http]:
    parts = urlsplit(server.info_url)
    assert parts.hostname is not None
    assert parts.port is not None
    async with await trio.open_tcp_stream(parts.hostname, parts.port) as stream:
        yield _Http(stream, parts.netloc, token)
