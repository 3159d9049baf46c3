"""Streams and sockets below the service: peeked bytes, bounded writes, both families on one port."""

import socket
from collections.abc import Awaitable, Callable

import pytest
import trio
from raw_client import raw_connection
from running_server import running_server

from signaling import websocket
from signaling.courier import Courier
from signaling.listeners import ListenError, open_listener
from signaling.messages import CloseCode
from signaling.peeked_stream import PeekedStream
from signaling.websocket import Ended, WebSocket, WebSocketLimits, serve_websocket

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def stream_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    listener = open_listener("127.0.0.1", 0)
    near = trio.socket.socket()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await near.connect(listener.socket.getsockname())
    far = await listener.accept()
    await listener.aclose()
    return trio.SocketStream(near), far


async def test_peeked_bytes_come_first_in_any_pieces() -> None:
    near, far = await stream_pair()
    async with near, far:
        peeked = PeekedStream(far, b"abcdef", send_timeout_seconds=1)
        assert await peeked.receive_some(4) == b"abcd"
        assert await peeked.receive_some() == b"ef"
        await near.send_all(b"more")
        assert await peeked.receive_some(100) == b"more"


async def test_a_write_that_is_not_read_breaks_the_stream_in_time() -> None:
    near, far = await stream_pair()
    async with near, far:
        peeked = PeekedStream(far, b"", send_timeout_seconds=0.2)
        with trio.fail_after(10), pytest.raises(trio.BrokenResourceError):
            await peeked.send_all(b"x" * 50_000_000)
        with pytest.raises(trio.ClosedResourceError):
            await peeked.send_all(b"more")


async def test_both_wildcards_take_both_families_on_one_port() -> None:
    for host in ("0.0.0.0", "::"):
        listener = open_listener(host, 0)
        port = listener.socket.getsockname()[1]
        async with listener, trio.open_nursery() as nursery:
            for address in ("127.0.0.1", "::1"):
                stream = await trio.open_tcp_stream(address, port)
                accepted = await listener.accept()
                await stream.aclose()
                await accepted.aclose()
            nursery.cancel_scope.cancel()


async def test_a_server_on_ipv6_says_so() -> None:
    async with running_server(host="::1") as server:
        assert server.url.startswith("http://[::1]:")
        assert server.addresses == ("::1",)
        async with raw_connection(server.url) as stream:
            await stream.send_all(b"GET /api/system/health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b" 200 " in await stream.receive_some()


@pytest.mark.parametrize(
    ("host", "words"), [("192.0.2.77", "not an address of this machine"), ("2001:db8::77", "not an address")]
)
def test_listening_elsewhere_is_explained(host: str, words: str) -> None:
    with pytest.raises(ListenError, match=words):
        open_listener(host, 0)


def limits(**changes: float) -> WebSocketLimits:
    return WebSocketLimits(max_message_bytes=1000, send_queue_bytes=100_000_000, **changes)


async def serve(
    stream: trio.abc.HalfCloseableStream,
    handler: Callable[[WebSocket], Awaitable[None]],
    chosen: WebSocketLimits,
    *,
    keepalive_seconds: float = 60,
) -> Ended:
    courier = Courier(keepalive_seconds=keepalive_seconds)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(courier.run)
        with trio.fail_after(10):
            ended = await serve_websocket(stream, handler, chosen, courier)
        nursery.cancel_scope.cancel()
    return ended


async def idle(_: WebSocket) -> None:
    await trio.sleep_forever()


async def test_a_write_that_blocks_too_long_ends_the_websocket() -> None:
    near, far = await stream_pair()

    async def flood(socket: WebSocket) -> None:
        socket.send("x" * 50_000_000)
        await trio.sleep_forever()

    async with near:
        await near.send_all(UPGRADE)
        ended = await serve(far, flood, limits(send_timeout_seconds=0.3))
    assert ended == Ended(CloseCode.TRY_LATER, "too slow: a write did not finish in time", by_client=False)


async def test_keepalive_of_a_client_that_does_not_read_calls_it_slow() -> None:
    near, far = await stream_pair()

    async def flood(socket: WebSocket) -> None:
        socket.send("x" * 50_000_000)
        await trio.sleep_forever()

    async with near:
        await near.send_all(UPGRADE)
        ended = await serve(far, flood, limits(close_seconds=0.2), keepalive_seconds=0.2)
    assert (ended.code, ended.by_client) == (CloseCode.TRY_LATER, False)


async def test_an_upgrade_that_never_comes_ends_in_time() -> None:
    near, far = await stream_pair()
    async with near:
        await near.send_all(UPGRADE[:-2])
        ended = await serve(far, idle, limits(handshake_seconds=0.2))
    assert ended == Ended(websocket.ABNORMAL, "the handshake did not finish", by_client=True)


async def test_an_error_of_the_handler_passes_through_and_closes_the_stream() -> None:
    near, far = await stream_pair()

    async def fail(_: WebSocket) -> None:
        raise ZeroDivisionError

    async with near:
        await near.send_all(UPGRADE)
        with pytest.raises(ExceptionGroup) as caught:
            await serve(far, fail, limits())
        assert caught.group_contains(ZeroDivisionError)
        assert far.socket.fileno() == -1


async def test_a_handler_that_returns_closes_normally() -> None:
    near, far = await stream_pair()

    async def done(socket: WebSocket) -> None:
        socket.send("bye")
        await trio.lowlevel.checkpoint()

    async with near:
        await near.send_all(UPGRADE)
        ended = await serve(far, done, limits(close_seconds=0.2))
        received = bytearray()
        while piece := await near.receive_some():
            received += piece
    assert ended == Ended(CloseCode.NORMAL, "", by_client=False)
    assert received.endswith(b"\x81\x03bye" + b"\x88\x02" + CloseCode.NORMAL.to_bytes(2, "big"))
