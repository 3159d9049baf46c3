"""A bot written for Twilio, on the loopback address: it takes a stream, and does what the test says, well or badly."""

import base64
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import trio
from phone_parts import PATIENCE_SECONDS
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

from signaling.telephony.g711 import decode_mulaw, encode_mulaw
from signaling.telephony.line import Samples

BREAKS = (trio.BrokenResourceError, trio.ClosedResourceError, ConnectionClosed)


class Bot:
    """One stream, as the bot sees it."""

    def __init__(self, socket: WebSocketConnection, headers: dict[str, str], path: str) -> None:
        self.socket = socket
        self.headers = headers
        self.path = path
        self.stream_id = ""
        self.start: dict[str, object] = {}

    async def wait_started(self) -> None:
        """Read as bots do that were written for Twilio: two messages, the second is the start."""
        assert (await self.next())["event"] == "connected"
        message = await self.next()
        self.start = message["start"]
        self.stream_id = self.start["streamSid"]

    async def next(self) -> dict[str, object]:
        with trio.fail_after(PATIENCE_SECONDS):
            return json.loads(await self.socket.get_message())

    async def hear(self, event: str) -> dict[str, object]:
        while True:
            message = await self.next()
            if message["event"] == event:
                return message

    async def hear_audio(self) -> Samples:
        return decode_mulaw(base64.b64decode((await self.hear("media"))["media"]["payload"]))

    async def say(self, event: str, **more: object) -> None:
        await self.socket.send_message(json.dumps({"event": event, "streamSid": self.stream_id, **more}))

    async def speak(self, samples: Samples) -> None:
        await self.say("media", media={"payload": base64.b64encode(encode_mulaw(samples)).decode()})


Behaviour = Callable[[Bot], Awaitable[None]]
#: Of a connection before it is a WebSocket.
Door = Callable[[trio.abc.Stream], Awaitable[None]]


async def echo(bot: Bot) -> None:
    """Say what is heard, and go on until the call stops."""
    await bot.wait_started()
    while True:
        message = await bot.next()
        if message["event"] == "stop":
            return
        if message["event"] == "media":
            await bot.say("media", media={"payload": message["media"]["payload"]})


def answer_http(status: int, *headers: str) -> Door:
    async def answer(stream: trio.abc.Stream) -> None:
        await stream.receive_some()
        lines = "".join(f"{line}\r\n" for line in headers)
        await stream.send_all(
            f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n{lines}\r\n".encode()
        )

    return answer


async def hang_up(stream: trio.abc.Stream) -> None:
    await stream.receive_some()


async def say_nonsense(stream: trio.abc.Stream) -> None:
    await stream.receive_some()
    await stream.send_all(b"SSH-2.0-no\r\n\r\n")


async def say_nothing(stream: trio.abc.Stream) -> None:
    await trio.sleep_forever()


class BotServer:
    def __init__(self, port: int, scheme: str, behave: Behaviour) -> None:
        self.port = port
        self.url = f"{scheme}://127.0.0.1:{port}/media"
        self.behave = behave
        #: What happens to the next connections, before those that become WebSockets.
        self.doors: list[Door] = []
        self.connections = 0
        self.bots: list[Bot] = []
        self.ended = 0
        self._changed = trio.Event()

    async def wait_ended(self, count: int = 1) -> None:
        with trio.fail_after(PATIENCE_SECONDS):
            while self.ended < count:
                await self._changed.wait()

    async def wait_bot(self) -> Bot:
        with trio.fail_after(PATIENCE_SECONDS):
            while not self.bots:
                await self._changed.wait()
        return self.bots[-1]

    def _notify(self) -> None:
        event, self._changed = self._changed, trio.Event()
        event.set()

    async def serve(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        with suppress(*BREAKS):
            if self.doors:
                await self.doors.pop(0)(stream)
            else:
                await self._serve_bot(stream)
        await trio.aclose_forcefully(stream)
        self.ended += 1
        self._notify()

    async def _serve_bot(self, stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:
            request = await wrap_server_stream(nursery, stream)
            headers = {name.decode().lower(): value.decode() for name, value in request.headers}
            socket = await request.accept()
            bot = Bot(socket, headers, request.path)
            self.bots.append(bot)
            self._notify()
            with suppress(*BREAKS):
                await self.behave(bot)
                with trio.move_on_after(1):
                    await socket.aclose()
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def bot_server(
    behave: Behaviour = echo, *doors: Door, ssl_context: ssl.SSLContext | None = None
) -> AsyncIterator[BotServer]:
    """Serve for the length of a scope."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    scheme = "ws" if ssl_context is None else "wss"
    server = BotServer(listener.socket.getsockname()[1], scheme, behave)
    server.doors.extend(doors)

    async def serve(stream: trio.abc.Stream) -> None:
        if ssl_context is not None:
            stream = trio.SSLStream(stream, ssl_context, server_side=True, https_compatible=True)
        await server.serve(stream)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        try:
            yield server
        finally:
            nursery.cancel_scope.cancel()
