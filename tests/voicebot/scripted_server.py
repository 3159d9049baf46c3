"""A server that says what a test tells it to, over in-memory streams: the far end for tests in virtual time."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio
import trio.testing
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

import voicebot
from signaling.messages import (
    AudioFrameWire,
    ClientFrame,
    ErrorReply,
    Joined,
    Limits,
    LobbySnapshot,
    Participant,
    Resumed,
    ServerIdentity,
    ServerMessage,
    Welcome,
    decode_audio_frame_untrusted,
    decode_client,
    encode_audio_frame,
    encode_server,
)

URL = "ws://relay.example/ws"
STEADY = voicebot.Backoff(initial_s=1, factor=2, maximum_s=16, jitter=0, attempts=4)


def welcome(number: int) -> Welcome:
    return Welcome(
        session_id=f"s-{number}",
        resume_token=f"token-{number}",
        resume_seconds=20,
        server=ServerIdentity(name="scripted", version="1"),
        limits=Limits(
            max_message_bytes=1 << 20,
            max_name_length=64,
            max_lobby_length=64,
            max_chat_length=2000,
            chat_history=50,
            keepalive_seconds=4,
        ),
    )


def snapshot(name: str = "Ada", participant_id: str = "p-1") -> LobbySnapshot:
    me = Participant.model_validate(
        {
            "participant_id": participant_id,
            "name": name,
            "is_bot": True,
            "joined_at": "2026-01-31T12:00:00Z",
            "tracks": [],
        }
    )
    return LobbySnapshot(lobby="garden", participant_id=participant_id, participants=(me,), chat=())


class Visit:
    """One WebSocket as the server sees it."""

    def __init__(
        self, websocket: WebSocketConnection, stream: trio.abc.Stream, reading: trio.CancelScope
    ) -> None:
        self.websocket = websocket
        self._stream = stream
        self._reading = reading

    async def send(self, message: ServerMessage, re: int | None = None) -> None:
        await self.websocket.send_message(encode_server(message, re))

    async def receive(self) -> ClientFrame:
        """Wait for the next request; sound before it is skipped."""
        while isinstance(message := await self.websocket.get_message(), bytes):
            pass
        return decode_client(message)

    async def send_audio(self, stream: int, pcm: bytes, timestamp: int = 0, **flags: bool) -> None:
        await self.websocket.send_message(encode_audio_frame(stream, pcm, timestamp=timestamp, **flags))

    async def receive_audio(self) -> AudioFrameWire:
        return decode_audio_frame_untrusted(await self.websocket.get_message())

    async def receive_sound(self, stream: int) -> bytes:
        """Wait for all of a playout, in order; return it."""
        sound = b""
        while True:
            frame = await self.receive_audio()
            assert (frame.stream, frame.timestamp) == (stream, len(sound) // 2)
            sound += frame.pcm
            if frame.end:
                return sound

    async def answer(self, message: ServerMessage) -> ClientFrame:
        """Wait for the next request and answer it like that."""
        frame = await self.receive()
        await self.send(message, frame.id)
        return frame

    async def admit(self, snapshot: LobbySnapshot) -> ClientFrame:
        return await self.answer(Joined(**dict(snapshot)))

    async def resume(self, snapshot: LobbySnapshot | None, *streams: int) -> ClientFrame:
        return await self.answer(
            Resumed(session_id="s-1", lobby=snapshot, media_state="connected", audio_streams=streams)
        )

    async def refuse_resume(self) -> ClientFrame:
        return await self.answer(ErrorReply(code="resume_failed", error="expired"))

    async def cut(self) -> None:
        """Break the connection without a word."""
        await trio.aclose_forcefully(self._stream)

    def freeze(self) -> None:
        """Stay connected, but read and answer nothing any more, not even pings."""
        self._reading.cancel()

    async def wait_closed(self) -> int:
        """Wait for the client's close frame, or the end; return the code."""
        try:
            while True:
                await self.websocket.get_message()
        except ConnectionClosed as closed:
            return closed.reason.code


class ScriptedServer:
    """Accepts connections one by one; the test plays each of them through ``visit``."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._to_accept, self._accepted = trio.open_memory_channel[trio.abc.Stream](16)
        #: When each connection was opened (or refused), by the clock of the test.
        self.attempts: list[float] = []
        #: While set, connections are refused.
        self.refuses = False
        self.visits = 0
        self.make_pair = trio.testing.memory_stream_pair

    async def open_stream(self) -> trio.abc.Stream:
        """What ``connect`` takes as ``open_stream``."""
        self.attempts.append(trio.current_time())
        if self.refuses:
            raise ConnectionRefusedError("refused by the script")
        ours, theirs = self.make_pair()
        await self._to_accept.send(ours)
        return theirs

    async def accept_stream(self) -> trio.abc.Stream:
        return await self._accepted.receive()

    @asynccontextmanager
    async def visit(self) -> AsyncIterator[Visit]:
        """Accept the next connection and welcome it."""
        stream = await self.accept_stream()
        reader: trio.Nursery = await self._nursery.start(_hold_nursery)
        request = await wrap_server_stream(reader, stream)
        visit = Visit(await request.accept(), stream, reader.cancel_scope)
        self.visits += 1
        await visit.send(welcome(self.visits))
        try:
            yield visit
        finally:
            await visit.cut()
            visit.freeze()


async def _hold_nursery(task_status: trio.TaskStatus[trio.Nursery]) -> None:
    async with trio.open_nursery() as nursery:
        task_status.started(nursery)
        await trio.sleep_forever()


@asynccontextmanager
async def open_scripted_server() -> AsyncIterator[ScriptedServer]:
    async with trio.open_nursery() as nursery:
        yield ScriptedServer(nursery)
        nursery.cancel_scope.cancel()


Script = Callable[[Visit], Awaitable[None]]


@asynccontextmanager
async def connected(*scripts: Script) -> AsyncIterator[voicebot.Connection]:
    """A connection to a server that plays these, one after another; the last one waits for the goodbye."""
    async with open_scripted_server() as server, trio.open_nursery() as nursery:
        nursery.start_soon(_serve, server, scripts)
        async with voicebot.connect(
            URL, lobby="garden", name="Ada", open_stream=server.open_stream, reconnect=STEADY
        ) as connection:
            yield connection


async def _serve(server: ScriptedServer, scripts: tuple[Script, ...]) -> None:
    for number, script in enumerate(scripts):
        async with server.visit() as visit:
            if number == 0:
                await visit.admit(snapshot())
            await script(visit)
            if number == len(scripts) - 1:
                await visit.wait_closed()
