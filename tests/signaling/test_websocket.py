"""One connection's bytes, over streams that take everything at once, a little, or only what is waited for."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    Pong,
    Request,
    TextMessage,
)

from signaling.courier import Courier
from signaling.messages import CloseCode
from signaling.outbox import SOUND_PIECE_BYTES
from signaling.websocket import ABNORMAL, Ended, WebSocket, WebSocketLimits, serve_websocket

Stream = trio.abc.HalfCloseableStream
Handler = Callable[[WebSocket], Awaitable[None]]


class Trickle(trio.abc.HalfCloseableStream):
    """A stream that can write without waiting, but takes any number of bytes from none to `most` of each write."""

    def __init__(self, near: Stream, below: Stream, seed: int, most: int) -> None:
        self._near = near
        self._below = below
        self._random = random.Random(seed)
        self._most = most

    def send_nowait(self, data: bytes | memoryview) -> int:
        size = min(len(data), self._random.randint(0, self._most))
        try:
            self._near.receive_stream.put_data(bytes(data[:size]))
        except trio.ClosedResourceError as error:
            raise trio.BrokenResourceError from error
        return size

    async def send_all(self, data: bytes | memoryview) -> None:
        data = bytes(data)
        while data:
            await trio.lowlevel.checkpoint()
            size = self._random.randint(1, self._most)
            await self._below.send_all(data[:size])
            data = data[size:]

    async def wait_send_all_might_not_block(self) -> None:
        await self._below.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._below.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self._below.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._below.aclose()


class Peer:
    """A client that does what it is told, and keeps what it hears."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.protocol = WSConnection(ConnectionType.CLIENT)
        self.ended: Ended | None = None

    async def send(self, event: Event) -> None:
        await self.stream.send_all(self.protocol.send(event))

    async def upgrade(self) -> None:
        await self.send(Request(host="x", target="/ws"))
        while self.protocol.connection is None:
            self.protocol.receive_data(bytes(await self.stream.receive_some()))
        assert isinstance(next(self.protocol.events()), AcceptConnection)

    async def events(self, *, answer_pings: bool = True) -> AsyncIterator[Event]:
        """Yield whole messages and control frames until the server closes the stream."""
        text = ""
        whole = bytearray()
        while True:
            for event in self.protocol.events():
                state = self.protocol.state
                asked = isinstance(event, Ping) and answer_pings and state is ConnectionState.OPEN
                if asked or state is ConnectionState.REMOTE_CLOSING:
                    await self.send(event.response())
                if isinstance(event, BytesMessage):
                    whole += event.data
                    if event.message_finished:
                        yield BytesMessage(data=bytes(whole))
                        whole.clear()
                elif isinstance(event, Message):
                    text += event.data
                    if event.message_finished:
                        yield TextMessage(data=text)
                        text = ""
                else:
                    yield event
            piece = await self.stream.receive_some()
            if not piece:
                return
            self.protocol.receive_data(bytes(piece))

    async def texts_and_close(self) -> tuple[list[str], CloseConnection | None]:
        texts: list[str] = []
        close = None
        async for event in self.events():
            if isinstance(event, TextMessage):
                texts.append(event.data)
            elif isinstance(event, CloseConnection):
                close = event
        return texts, close


def plain(_: Stream, far: Stream) -> Stream:
    """As TLS: every write is waited for."""
    return far


def whole(near: Stream, far: Stream) -> Stream:
    return Trickle(near, far, seed=1, most=10**9)


def trickling(near: Stream, far: Stream) -> Stream:
    return Trickle(near, far, seed=2, most=700)


EVERY_STREAM = pytest.mark.parametrize("kind", [plain, whole, trickling])


@asynccontextmanager
async def serving(
    handler: Handler,
    kind: Callable[[Stream, Stream], Stream] = whole,
    *,
    keepalive_seconds: float = 3600,
    max_message_bytes: int = 100_000,
    send_queue_bytes: int = 10_000_000,
    send_timeout_seconds: float = 10,
    compression: bool = True,
    peer: type[Peer] = Peer,
) -> AsyncIterator[Peer]:
    near, far = trio.testing.memory_stream_pair()
    courier = Courier(keepalive_seconds=keepalive_seconds)
    limits = WebSocketLimits(
        max_message_bytes=max_message_bytes,
        send_queue_bytes=send_queue_bytes,
        send_timeout_seconds=send_timeout_seconds,
        compression=compression,
    )
    client = peer(near)
    served = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(courier.run)

        async def serve() -> None:
            client.ended = await serve_websocket(kind(near, far), handler, limits, courier)
            served.set()

        nursery.start_soon(serve)
        await client.upgrade()
        yield client
        with trio.fail_after(60):
            await served.wait()
        nursery.cancel_scope.cancel()


async def forever(socket: WebSocket) -> None:
    while True:
        await socket.receive()


@EVERY_STREAM
async def test_a_thousand_frames_of_all_lengths_arrive_whole_and_in_order(kind, autojump_clock) -> None:
    sizes = [0, 1, 125, 126, 127, 65_535, 65_536, 200_000]
    texts = [f"{number} " + "é" * (sizes[number % len(sizes)] // 200) for number in range(1000)]
    texts += ["x" * size for size in sizes]

    async def talk(socket: WebSocket) -> None:
        for number, text in enumerate(texts):
            socket.send(text)
            if number % 37 == 0:
                await trio.lowlevel.checkpoint()
        while await socket.receive() != "enough":
            pass

    async with serving(talk, kind, keepalive_seconds=0.5) as peer:
        heard: list[str] = []
        async for event in peer.events():
            if isinstance(event, TextMessage):
                heard.append(event.data)
                if len(heard) == len(texts):
                    await peer.send(TextMessage(data="enough"))
    assert heard == texts
    assert peer.ended == Ended(CloseCode.NORMAL, "", by_client=False)


@EVERY_STREAM
async def test_control_frames_never_fall_into_another_frame(kind, autojump_clock) -> None:
    async def talk(socket: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(forever, socket)
            for _ in range(100):
                socket.send("x" * 5000)
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()

    pings = 0
    async with serving(talk, kind, keepalive_seconds=0.003) as peer:
        async for event in peer.events():
            if isinstance(event, Ping):
                pings += 1
            elif isinstance(event, TextMessage):
                assert event.data == "x" * 5000
    assert pings > 50
    assert peer.ended is not None
    assert peer.ended.code == CloseCode.NORMAL


@EVERY_STREAM
async def test_closing_sends_what_is_queued_then_the_last_words_then_the_code(kind, autojump_clock) -> None:
    async def talk(socket: WebSocket) -> None:
        for number in range(500):
            socket.send(f"{number}")
        socket.close(CloseCode.GOING_AWAY, "good night")
        socket.send("not sent any more")
        await trio.sleep_forever()

    async with serving(talk, kind) as peer:
        texts, close = await peer.texts_and_close()
    assert texts == [*map(str, range(500)), '{"type":"closing","data":{"reason":"good night"}}']
    assert close == CloseConnection(code=CloseCode.GOING_AWAY, reason="good night")
    assert peer.ended == Ended(CloseCode.GOING_AWAY, "good night", by_client=False)


@EVERY_STREAM
async def test_a_client_that_closes_is_answered_with_its_code_whatever_is_queued(
    kind, autojump_clock
) -> None:
    async def talk(socket: WebSocket) -> None:
        for _ in range(100):
            socket.send("x" * 1000)
        await forever(socket)

    async with serving(talk, kind) as peer:
        await peer.send(CloseConnection(code=1000, reason="bye"))
        _, close = await peer.texts_and_close()
    assert close == CloseConnection(code=1000, reason="bye")
    assert peer.ended == Ended(1000, "bye", by_client=True)


@EVERY_STREAM
async def test_an_overflow_finishes_the_frame_that_was_begun_and_says_why(kind, autojump_clock) -> None:
    async def talk(socket: WebSocket) -> None:
        for number in range(100):
            socket.send(f"{number} " + "x" * 10_000)
            if number % 20 == 0:
                await trio.lowlevel.checkpoint()
        await trio.sleep_forever()

    async with serving(talk, kind, send_queue_bytes=150_000) as peer:
        texts, close = await peer.texts_and_close()
    assert close is not None
    assert close.code == CloseCode.TRY_LATER
    assert "too slow" in texts[-1]
    assert [int(text.split()[0]) for text in texts[:-1]] == list(range(len(texts) - 1))


@EVERY_STREAM
async def test_sound_and_messages_arrive_whole_each_in_their_order(kind, autojump_clock) -> None:
    sizes = [1, 125, 126, 700, 65_535, 70_000]
    sound = [bytes((number,)) * sizes[number % len(sizes)] for number in range(100)]
    waiting: list[bytes] = []

    def fetch() -> bytes:
        return waiting.pop(0) if waiting else b""

    async def talk(socket: WebSocket) -> None:
        for number in range(100):
            waiting.append(sound[number])
            socket.send_sound(fetch)
            socket.send(f"{number} " + "x" * sizes[number % len(sizes)])
            if number % 7 == 0:
                await trio.sleep(0.01)
        await trio.sleep(100)

    async with serving(talk, kind) as peer:
        heard: list[bytes] = []
        texts: list[str] = []
        async for event in peer.events():
            if isinstance(event, BytesMessage):
                heard.append(bytes(event.data))
            elif isinstance(event, TextMessage):
                texts.append(event.data)
    assert heard == sound
    assert [int(text.split()[0]) for text in texts[:100]] == list(range(100))


async def test_a_client_that_does_not_take_sound_keeps_its_messages(autojump_clock) -> None:
    """Over a stream that takes 700 bytes a second, far less than there is to hear."""

    class Narrow(Trickle):
        async def send_all(self, data: bytes | memoryview) -> None:
            for at in range(0, len(data), 700):
                await trio.sleep(1)
                await self._below.send_all(bytes(data[at : at + 700]))

        def send_nowait(self, data: bytes | memoryview) -> int:
            return 0

    fetched = 0

    def fetch() -> bytes:
        nonlocal fetched
        fetched += 1
        return b"\1" * 656

    async def talk(socket: WebSocket) -> None:
        for number in range(10):
            socket.send_sound(fetch)
            socket.send(f"{number}")
            await trio.sleep(30)
            # Little is under way at a time, however much there is.
            assert socket.queued_bytes < SOUND_PIECE_BYTES + 1000

    narrow = partial(Narrow, seed=1, most=700)
    async with serving(talk, narrow, send_queue_bytes=100, send_timeout_seconds=60) as peer:
        texts, _ = await peer.texts_and_close()
    assert texts == [str(number) for number in range(10)]
    assert peer.ended == Ended(CloseCode.NORMAL, "", by_client=False)
    assert fetched < 400


async def test_a_client_that_is_silent_is_pinged_then_closed(autojump_clock) -> None:
    async with serving(forever, keepalive_seconds=4) as peer:
        heard = [type(event) async for event in peer.events(answer_pings=False)]
    assert heard.count(Ping) == 1
    assert heard[-1] is CloseConnection
    assert peer.ended == Ended(CloseCode.KEEPALIVE_TIMEOUT, "no pong in time", by_client=False)


async def test_anything_heard_is_a_sign_of_life(autojump_clock) -> None:
    async with serving(forever, keepalive_seconds=4) as peer:
        for _ in range(20):
            await trio.sleep(3)
            await peer.send(Pong(payload=b"unasked"))
        assert peer.ended is None
        await peer.send(CloseConnection(code=1000))
        await peer.texts_and_close()
    assert peer.ended is not None
    assert peer.ended.by_client


async def test_a_message_in_fragments_is_put_together_and_the_limit_counts_bytes(autojump_clock) -> None:
    received: list[str | bytes] = []

    async def listen(socket: WebSocket) -> None:
        while True:
            received.append(await socket.receive())

    async with serving(listen, max_message_bytes=1000) as peer:
        for piece, finished in (("ab", False), ("", False), ("cé", True)):
            await peer.send(TextMessage(data=piece, message_finished=finished))
        await peer.send(TextMessage(data="é" * 500))
        await peer.send(TextMessage(data="é" * 400, message_finished=False))
        await peer.send(TextMessage(data="é" * 101, message_finished=False))
        texts, close = await peer.texts_and_close()
    assert received == ["abcé", "é" * 500]
    assert close is not None
    assert close.code == CloseCode.TOO_LARGE
    assert '"too_large"' in texts[0]
    assert '"closing"' in texts[1]


async def test_a_connection_lost_under_a_write_cancels_a_handler_that_does_not_read(autojump_clock) -> None:
    async def talk(socket: WebSocket) -> None:
        while True:
            socket.send("x")
            await trio.sleep(1)

    async with serving(talk, plain) as peer:
        await trio.sleep(3)
        await peer.stream.aclose()
    assert peer.ended == Ended(ABNORMAL, "the connection broke", by_client=True)


async def test_messages_sent_without_pause_leave_other_tasks_their_turns() -> None:
    turns = turns_then = 0

    async def listen(socket: WebSocket) -> None:
        nonlocal turns_then
        for _ in range(500):
            await socket.receive()
        turns_then = turns

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with serving(listen) as peer, trio.open_nursery() as nursery:
        nursery.start_soon(take_turns)
        await peer.stream.send_all(b"".join(peer.protocol.send(TextMessage(data="x")) for _ in range(500)))
        await peer.texts_and_close()
        nursery.cancel_scope.cancel()
    assert turns_then >= 500
