"""WebSockets to services: how they are opened, lost, and how little the kernel hides."""

import socket
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing
from websocket_host import Call, WebSocketHost, open_host

from voicebot.services.api_key import ApiKey
from voicebot.services.errors import ServiceRefusedError, ServiceUnavailableError
from voicebot.services.service_socket import UNSENT_BYTES, SocketTimeouts, open_service_socket

KEY = ApiKey("secret-1")
QUICK = SocketTimeouts(connect_s=0.3, send_s=0.2, close_s=0.2)


async def echo(call: Call) -> None:
    while True:
        await call.send(await call.receive())


@asynccontextmanager
async def hosted(talk=echo):
    with trio.fail_after(10):
        async with open_host(talk) as host:
            host.authorization = "Bearer secret-1"
            yield host


def dial(url: str, host: WebSocketHost | None = None, timeouts: SocketTimeouts = QUICK):
    return open_service_socket(
        "X", url, key=KEY, timeouts=timeouts, open_stream=None if host is None else host.open_stream
    )


async def test_text_and_bytes_go_both_ways() -> None:
    async with hosted() as host, dial(await host.listen()) as service:
        for message in ("text", b"bytes", "", b""):
            await service.send(message)
            assert await service.receive() == message


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, ServiceRefusedError),
        (403, ServiceRefusedError),
        (400, ServiceRefusedError),
        (429, ServiceUnavailableError),
        (402, ServiceUnavailableError),
        (503, ServiceUnavailableError),
    ],
)
async def test_refusals_are_told_apart_from_troubles(status: int, error: type[Exception]) -> None:
    async with hosted() as host:
        host.refusal = (status, b"because of secret-1")
        with pytest.raises(error, match=rf"X answered HTTP {status} at 127.0.0.1:\d+: because of \[key\]"):
            async with dial(await host.listen()):
                pass


async def serve_badly(answer: bytes | None, stream: trio.SocketStream) -> None:
    await stream.receive_some()
    if answer is None:
        await trio.sleep_forever()
    await stream.send_all(answer)
    await stream.aclose()


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (None, "did not answer within 0.3 s"),
        (b"", "closed the connection during the opening handshake"),
        (b"HTTP/1.1 101 Switching", "closed the connection during the opening handshake"),
        (b"SSH-2.0-nonsense\r\n\r\n", "speaks no HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "answered HTTP 200"),
    ],
)
async def test_what_is_no_service_is_told(answer: bytes | None, text: str) -> None:
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            serve = partial(trio.serve_tcp, partial(serve_badly, answer), 0, host="127.0.0.1")
            (listener,) = await nursery.start(serve)
            url = f"ws://127.0.0.1:{listener.socket.getsockname()[1]}"
            with pytest.raises((ServiceUnavailableError, ServiceRefusedError), match=text):
                async with dial(url):
                    pass
            nursery.cancel_scope.cancel()


async def test_loss_is_told_to_who_receives_and_who_sends() -> None:
    async with hosted() as host, dial(await host.listen()) as service:
        call = await host.wait_calls(1)
        await call.websocket.aclose(4321, "so long")
        with pytest.raises(ServiceUnavailableError, match="X closed the connection: so long") as raised:
            await service.receive()
        assert raised.value.code == 4321
        with pytest.raises(ServiceUnavailableError, match="so long"):
            await service.send("x")


async def test_kernel_hides_no_backlog() -> None:
    """A service that does not read: what it is given is soon not taken any more, instead of waiting in buffers for minutes."""
    async with hosted() as host, dial(await host.listen()) as service:
        call = await host.wait_calls(1)
        call.freeze()
        sent = 0

        async def send_all() -> None:
            nonlocal sent
            while True:
                await service.send(bytes(640))
                sent += 640

        with pytest.raises(ServiceUnavailableError, match=r"took nothing for 0\.2 s"):
            await send_all()
        # The window that the other side offers, and what we may have unsent.
        receive_buffer = call._stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        assert sent < receive_buffer + UNSENT_BYTES + 65536
        assert sent < 16000 * 2 * 10


async def test_caller_s_own_errors_come_out_as_they_are(autojump_clock: trio.testing.MockClock) -> None:
    async with open_host(echo) as host:
        host.authorization = "Bearer secret-1"
        for error in (KeyError("x"), trio.TooSlowError(), OSError("mine")):
            with pytest.raises(type(error)) as raised:
                async with dial("ws://x", host):
                    raise error
            assert raised.value is error


async def test_cancelled_caller_is_not_held_up_by_a_dead_service(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_host(echo) as host:
        host.authorization = "Bearer secret-1"
        began = trio.current_time()
        with trio.move_on_after(1):
            async with dial("ws://x", host, SocketTimeouts()):
                (await host.wait_calls(1)).freeze()
                await trio.sleep_forever()
        assert trio.current_time() - began == pytest.approx(1)
