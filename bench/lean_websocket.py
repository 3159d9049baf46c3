"""A WebSocket client that costs little: joins by the hundred, and thousands of idle sessions, from one thread.

What it leaves out is what the relay never needs of a load generator: fragments, extensions, and random masks (RFC 6455
section 5.3 guards proxies with them; a mask of zeros is as valid and saves the exclusive-or). Events are not decoded,
only replies are, and of events the number.
"""

import base64
import json
import os
import re
import secrets
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import trio

from bench.errors import BenchError
from voicebot.nursery import open_bare_nursery
from voicebot.stream import WebSocketUrl, open_tcp

TEXT: Final = 0x1
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA
NORMAL_CLOSE: Final = (1000).to_bytes(2)
OPEN_TIMEOUT_S: Final = 60.0
REQUEST_TIMEOUT_S: Final = 60.0
MAX_HEAD_BYTES: Final = 16_384
RECEIVE_BYTES: Final = 65_536
EVENT_NUMBER: Final = re.compile(rb'"seq":(\d+)\}$')
"""The number of a lobby's event stands at the end of its frame; a reply ends in "re"."""

_FINAL: Final = 0x80
_MASKED: Final = 0x80
_NO_MASK: Final = bytes(4)


def encode_frame(opcode: int, payload: bytes) -> bytes:
    """Return a whole frame from a client."""
    length = len(payload)
    if length < 126:
        head = bytes((_FINAL | opcode, _MASKED | length))
    elif length < 65_536:
        head = bytes((_FINAL | opcode, _MASKED | 126)) + length.to_bytes(2)
    else:
        head = bytes((_FINAL | opcode, _MASKED | 127)) + length.to_bytes(8)
    return head + _NO_MASK + payload


class FrameReader:
    """Cuts what a server sends into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def rest(self) -> bytes:
        """What belongs to a frame that has not come whole."""
        return bytes(self._buffer)

    def feed(self, received: bytes) -> list[tuple[int, bytes]]:
        """Take more bytes; return the (opcode, payload) of every frame they complete."""
        buffer = self._buffer
        buffer += received
        frames, at = [], 0
        while len(buffer) - at >= 2:
            length, start = buffer[at + 1] & 0x7F, at + 2
            if length >= 126:
                size_bytes = 2 if length == 126 else 8
                if len(buffer) < start + size_bytes:
                    break
                length = int.from_bytes(buffer[start : start + size_bytes])
                start += size_bytes
            if len(buffer) < start + length:
                break
            frames.append((buffer[at] & 0x0F, bytes(buffer[start : start + length])))
            at = start + length
        del buffer[:at]
        return frames


class LeanSession:
    """One session at the relay. Made by `open_lean_session`, which reads for it."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.reader = FrameReader()
        self._requests = 0
        self._replies: dict[int, tuple[trio.Event, list[dict[str, Any]]]] = {}
        self._sending = trio.Lock()
        self._welcomed = trio.Event()
        self.ended = trio.Event()
        self.welcome: dict[str, Any] = {}
        """What the relay's first message said."""
        self.joined: dict[str, Any] = {}
        """The last reply to `join`."""
        self.last_seq = 0
        """Number of the last event of the lobby, or of the last one the reply to `join` shows."""
        self.detached = False
        self.muted = False
        """Set to answer no ping any more."""

    async def request(self, kind: str, **data: Any) -> dict[str, Any]:
        """Send a request; return the data of its reply.

        Raises: BenchError when it is refused, or no reply comes.
        """
        self._requests += 1
        number = self._requests
        arrived, replies = self._replies[number] = trio.Event(), []
        text = json.dumps({"type": kind, "id": number, "data": data})
        await self.send_frame(TEXT, text.encode())
        with trio.move_on_after(REQUEST_TIMEOUT_S):
            await arrived.wait()
        if not replies:
            raise BenchError(f"no reply to {kind!r}: the relay closed the connection, or needs very long")
        (reply,) = replies
        if reply["type"] == "error":
            raise BenchError(f"the relay refused {kind!r}: {reply['data'].get('error', reply['data'])}")
        answer: dict[str, Any] = reply["data"]
        return answer

    async def send_frame(self, opcode: int, payload: bytes) -> None:
        """Send one frame; nothing when the connection is gone, which whoever waits for a reply hears."""
        try:
            async with self._sending:
                await self.stream.send_all(encode_frame(opcode, payload))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._end()

    async def wait_welcome(self) -> None:
        """Wait for the relay's first message.

        Raises: BenchError when the connection ends before.
        """
        await self._welcomed.wait()
        if self.ended.is_set():
            raise BenchError("the relay closed the connection before its welcome")

    async def read(self) -> None:
        """Receive until the connection ends; answer pings, hand replies over, drop events."""
        try:
            while received := await self.stream.receive_some(RECEIVE_BYTES):
                for opcode, payload in self.reader.feed(bytes(received)):
                    await self._take(opcode, payload)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        self._end()

    async def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            if self.muted:
                return
            await self.send_frame(PONG, payload)
        elif opcode == TEXT and not self._welcomed.is_set():
            self.welcome = json.loads(payload)["data"]
            self._welcomed.set()
        elif opcode == TEXT and b'"re":' not in payload:
            if (numbered := EVENT_NUMBER.search(payload)) is not None:
                self.last_seq = int(numbered[1])
        elif opcode == TEXT and self._replies:
            reply = json.loads(payload)
            if reply["type"] == "joined":
                self.joined = reply["data"]
                self.last_seq = int(self.joined["seq"])
            waiting = self._replies.pop(reply.get("re"), None)
            if waiting is not None:
                waiting[1].append(reply)
                waiting[0].set()

    def detach(self) -> socket.socket:
        """Return the connection's socket for somebody else to read, who also takes `reader` over.

        Leaving the scope then says no goodbye, and the connection stays open.
        """
        assert isinstance(self.stream, trio.SocketStream)
        self.detached = True
        return socket.socket(fileno=os.dup(self.stream.socket.fileno()))

    def _end(self) -> None:
        self.ended.set()
        self._welcomed.set()
        for arrived, _ in self._replies.values():
            arrived.set()


@asynccontextmanager
async def open_lean_session(url: str) -> AsyncGenerator[LeanSession]:
    """Open a WebSocket, wait for the welcome, and read in the background. Leaving in order says goodbye.

    Leaving by an exception or a cancellation cuts the connection, as a client does that crashes.
    Raises: BenchError.
    """
    address = WebSocketUrl.parse(url)
    try:
        with trio.fail_after(OPEN_TIMEOUT_S):
            stream = await open_tcp(address, None)
    except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
        raise BenchError(f"cannot connect to {address.host_header}: {error}") from error
    try:
        session = LeanSession(stream)
        with trio.fail_after(OPEN_TIMEOUT_S):
            left_over = await _upgrade(stream, address)
        async with open_bare_nursery() as nursery:
            for opcode, payload in session.reader.feed(left_over):
                await session._take(opcode, payload)  # noqa: SLF001 - one module
            nursery.start_soon(session.read)
            with trio.fail_after(OPEN_TIMEOUT_S):
                await session.wait_welcome()
            yield session
            if not session.detached:
                await session.send_frame(CLOSE, NORMAL_CLOSE)
    except trio.TooSlowError:
        raise BenchError(f"no welcome from {address.host_header} within {OPEN_TIMEOUT_S:g} s") from None
    finally:
        await trio.aclose_forcefully(stream)


async def _upgrade(stream: trio.abc.Stream, address: WebSocketUrl) -> bytes:
    """Do the opening handshake; return what came behind its response.

    Raises: BenchError.
    """
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    request = (
        f"GET {address.resource} HTTP/1.1\r\nHost: {address.host_header}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    received = b""
    try:
        await stream.send_all(request.encode())
        while b"\r\n\r\n" not in received and len(received) < MAX_HEAD_BYTES:
            chunk = await stream.receive_some(RECEIVE_BYTES)
            if not chunk:
                break
            received += chunk
    except trio.BrokenResourceError as error:
        raise BenchError(f"{address.host_header} cut the opening handshake: {error}") from error
    head, _, rest = received.partition(b"\r\n\r\n")
    status = head.partition(b"\r\n")[0].decode("latin-1")
    if status.split(" ")[1:2] != ["101"]:
        raise BenchError(
            f"{address.host_header} answered {status or 'nothing'} at {address.resource}, not an upgrade"
        )
    return rest
