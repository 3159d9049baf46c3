"""A chat service of our own on the loopback address: OpenAI's chat completions, streamed, well or badly."""

import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import h11
import trio

KEY = "sk-secret"
BREAKS = (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError)


class Exchange:
    """One request, to be answered."""

    def __init__(self, stream: trio.abc.Stream, connection: h11.Connection, request: dict) -> None:
        self.stream = stream
        self.request = request
        self._connection = connection

    async def send(self, event: h11.Event) -> None:
        await self.stream.send_all(self._connection.send(event) or b"")

    async def begin(self, status: int = 200, kind: str = "text/event-stream", **headers: str) -> None:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        await self.send(
            h11.Response(
                status_code=status, headers=[("content-type", kind), ("connection", "close"), *fields.items()]
            )
        )

    async def write(self, data: bytes) -> None:
        await self.send(h11.Data(data=data))

    async def say(self, text: str, reason: str | None = None) -> None:
        piece = {"id": "c", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]}
        await self.write(f"data: {json.dumps(piece)}\n\n".encode())

    async def end(self) -> None:
        await self.send(h11.EndOfMessage())


Answer = Callable[[Exchange], Awaitable[None]]


def reply(*pieces: str, reason: str = "stop") -> Answer:
    """Say this, piece by piece."""

    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.write(b": welcome\n\n")
        for piece in pieces:
            await exchange.say(piece)
        await exchange.say("", reason)
        await exchange.write(b'data: {"choices": [], "usage": {"total_tokens": 7}}\n\ndata: [DONE]\n\n')
        await exchange.end()

    return answer


def refuse(status: int, message: str = "no", **headers: str) -> Answer:
    async def answer(exchange: Exchange) -> None:
        await exchange.begin(status, "application/json", **headers)
        await exchange.write(json.dumps({"error": {"message": message, "type": "x"}}).encode())
        await exchange.end()

    return answer


def raw(data: bytes, kind: str = "text/event-stream") -> Answer:
    async def answer(exchange: Exchange) -> None:
        await exchange.begin(kind=kind)
        await exchange.write(data)
        await exchange.end()

    return answer


async def hang(exchange: Exchange) -> None:
    await trio.sleep_forever()


async def stall(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.say("I was about to")
    await trio.sleep_forever()


async def cut(exchange: Exchange) -> None:
    await exchange.begin()
    await exchange.say("half of")
    await trio.aclose_forcefully(exchange.stream)


async def endless(exchange: Exchange) -> None:
    await exchange.begin()
    while True:
        await exchange.say("and so on ")


class ChatServer:
    """Answers each request by the next of ``answers``, the last of them for ever."""

    def __init__(self) -> None:
        self.answers: deque[Answer] = deque([reply("Hello", " there.")])
        self.requests: list[dict] = []
        self.url = ""
        self._requested = trio.Event()

    async def wait_requests(self, count: int) -> None:
        """Wait until there were so many."""
        while len(self.requests) < count:
            await self._requested.wait()

    async def handle(self, stream: trio.SocketStream) -> None:
        try:
            await self._handle(stream)
        except BREAKS:
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def _handle(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER)
        body = b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some())
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return
        exchange = Exchange(stream, connection, json.loads(body))
        headers = {name.decode(): value.decode() for name, value in request.headers}
        self.requests.append(exchange.request)
        self._requested.set()
        self._requested = trio.Event()
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.popleft()
        if request.target != b"/v1/chat/completions" or request.method != b"POST":
            answer = refuse(404)
        elif headers.get("authorization") != f"Bearer {KEY}":
            answer = refuse(401, f"Incorrect API key provided: {headers.get('authorization')}")
        await answer(exchange)


@asynccontextmanager
async def open_chat_server() -> AsyncIterator[ChatServer]:
    """Open one for a few seconds at most: real sockets take part, and nothing may hang."""
    server = ChatServer()
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            (listener,) = await nursery.start(partial(trio.serve_tcp, server.handle, 0, host="127.0.0.1"))
            server.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/v1"
            yield server
            nursery.cancel_scope.cancel()
