"""Lines and sockets that do what a test says: the borders of telephony."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import numpy as np
import trio

from signaling.telephony import LineClosed, LineRefusedError
from signaling.telephony.line import Samples
from signaling.websocket import Disconnected

PATIENCE_SECONDS = 20


class FakeLine:
    """A line without a lobby: the test says what is heard and when what was queued has been played."""

    def __init__(self, rate: int = 8000) -> None:
        self.participant_id = "p-phone"
        self.rate = rate
        self.queued: list[Samples] = []
        self.position = 0
        self.played = 0
        self.clears = 0
        self.pressed: list[str] = []
        self.closed = False
        #: Why nothing more can be done with it.
        self.over = ""
        self._changed = trio.Event()
        self._say, self._hear = trio.open_memory_channel[Samples](1000)

    # The interface.

    async def receive(self) -> Samples:
        try:
            return await self._hear.receive()
        except trio.EndOfChannel:
            raise LineClosed("the lobby was closed") from None

    def queue(self, samples: Samples) -> int:
        assert samples.dtype == np.int16
        if self.over:
            raise LineClosed(self.over)
        self.queued.append(samples)
        self.position += samples.size
        self._notify()
        return self.position

    async def wait_played(self, position: int) -> None:
        if self.over:
            raise LineClosed(self.over)
        while self.played < position:
            await self._changed.wait()

    async def clear(self) -> int:
        await trio.lowlevel.checkpoint()
        self.clears += 1
        reached, self.played = self.played, self.position
        self._notify()
        return reached

    def press(self, digit: str) -> None:
        self.pressed.append(digit)
        self._notify()

    # For the test.

    def _notify(self) -> None:
        event, self._changed = self._changed, trio.Event()
        event.set()

    def say(self, samples: Samples) -> None:
        self._say.send_nowait(samples)

    async def say_all(self, pieces: list[Samples]) -> None:
        """Say them as fast as they are heard."""
        for piece in pieces:
            await self._say.send(piece)

    def end(self) -> None:
        self._say.close()

    def play(self, position: int) -> None:
        self.played = position
        self._notify()

    def heard(self) -> Samples:
        return np.concatenate([np.zeros(0, np.int16), *self.queued])

    async def until(self, condition) -> None:
        with trio.fail_after(PATIENCE_SECONDS):
            while not condition():
                await self._changed.wait()


class FakeLobby:
    """An ``OpenLine``."""

    def __init__(self) -> None:
        self.opened: list[dict[str, object]] = []
        self.lines: list[FakeLine] = []
        self.left = 0
        self.refusal: str | None = None
        self.changed = trio.Event()

    @asynccontextmanager
    async def __call__(
        self, *, lobby: str, name: str, rate: int, live: bool, metadata: Mapping[str, str]
    ) -> AsyncIterator[FakeLine]:
        if self.refusal is not None:
            raise LineRefusedError(self.refusal)
        line = FakeLine(rate)
        self.opened.append(
            {"lobby": lobby, "name": name, "rate": rate, "live": live, "metadata": dict(metadata)}
        )
        self.lines.append(line)
        self._notify()
        try:
            yield line
        finally:
            line.closed = True
            self.left += 1
            self._notify()

    def _notify(self) -> None:
        event, self.changed = self.changed, trio.Event()
        event.set()

    async def line(self, number: int = 0) -> FakeLine:
        with trio.fail_after(PATIENCE_SECONDS):
            while len(self.lines) <= number:
                await self.changed.wait()
        return self.lines[number]

    async def wait_left(self, count: int = 1) -> None:
        with trio.fail_after(PATIENCE_SECONDS):
            while self.left < count:
                await self.changed.wait()


class FakeSocket:
    """A WebSocket in memory, whose other end is the test."""

    def __init__(self) -> None:
        self.queued_bytes = 0
        self.sent: list[dict[str, object]] = []
        self.closed: tuple[int, str] | None = None
        self._changed = trio.Event()
        self._put, self._get = trio.open_memory_channel[str | bytes](100_000)

    async def receive(self) -> str | bytes:
        try:
            return await self._get.receive()
        except trio.EndOfChannel:
            raise Disconnected from None

    def send(self, text: str) -> None:
        if self.closed is None:
            self.sent.append(json.loads(text))
            self._notify()

    def close(self, code: int, reason: str) -> None:
        if self.closed is None:
            self.closed = (int(code), reason)
            self._put.close()
            self._notify()

    def _notify(self) -> None:
        event, self._changed = self._changed, trio.Event()
        event.set()

    # For the test.

    def put(self, message: object) -> None:
        self._put.send_nowait(message if isinstance(message, str | bytes) else json.dumps(message))

    def hang_up(self) -> None:
        self._put.close()

    def events(self, name: str) -> list[dict[str, object]]:
        return [each for each in self.sent if each["event"] == name]

    async def until(self, condition) -> None:
        with trio.fail_after(PATIENCE_SECONDS):
            while not condition():
                await self._changed.wait()


def tone(samples: int, *, rate: int = 8000, hertz: float = 440.0, amplitude: int = 8000) -> Samples:
    times = np.arange(samples) / rate
    return (amplitude * np.sin(2 * np.pi * hertz * times)).astype(np.int16)
