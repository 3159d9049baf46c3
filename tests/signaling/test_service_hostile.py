"""Clients that send what they must not, read too slowly, or come in thousands: each is answered or cut, nobody else notices."""

import json
import random
from contextlib import suppress

import pytest
import trio
from raw_client import raw_connection, raw_websocket, read_to_end
from running_server import running_server
from trio_websocket import ConnectionClosed
from wire_client import Client, connected, in_lobby
from wsproto.events import BytesMessage, CloseConnection
from wsproto.events import Ping as PingFrame

import signaling.handlers
from signaling import messages
from signaling.connection import MESSAGE_BURST, REFUSAL_BURST
from signaling.messages import (
    ChatPosted,
    ChatSend,
    ChatSent,
    CloseCode,
    Closing,
    ErrorCode,
    ErrorReply,
    Ping,
    Pong,
)


async def refusal_of(client: Client, text: str) -> ErrorReply:
    await client.send_text(text)
    reply, _ = await client.receive()
    assert isinstance(reply, ErrorReply), reply
    return reply


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        ("", ErrorCode.INVALID_JSON, None),
        ("hello", ErrorCode.INVALID_JSON, None),
        ("{", ErrorCode.INVALID_JSON, None),
        ("[]", ErrorCode.INVALID_JSON, None),
        ("null", ErrorCode.INVALID_JSON, None),
        ("[" * 50_000, ErrorCode.INVALID_JSON, None),
        ('{"a":' * 50_000, ErrorCode.INVALID_JSON, None),
        ('{"type":"ping","data":{"x":NaN}}', ErrorCode.INVALID_JSON, None),
        ("{}", ErrorCode.INVALID_MESSAGE, "type"),
        ('{"type":7}', ErrorCode.INVALID_MESSAGE, "type"),
        ('{"type":"ping","data":[]}', ErrorCode.INVALID_MESSAGE, "data"),
        ('{"type":"ping","data":null}', ErrorCode.INVALID_MESSAGE, "data"),
        ('{"type":"ping","id":"one"}', ErrorCode.INVALID_MESSAGE, "id"),
        ('{"type":"ping","id":true}', ErrorCode.INVALID_MESSAGE, "id"),
        ('{"type":"ping","id":-1}', ErrorCode.INVALID_MESSAGE, "id"),
        ('{"type":"ping","id":9007199254740992}', ErrorCode.INVALID_MESSAGE, "id"),
        ('{"type":"dance"}', ErrorCode.UNKNOWN_TYPE, "type"),
        ('{"type":"welcome","data":{}}', ErrorCode.UNKNOWN_TYPE, "type"),
        ('{"type":"join"}', ErrorCode.INVALID_MESSAGE, "lobby"),
        ('{"type":"join","data":{"lobby":"x","name":1}}', ErrorCode.INVALID_MESSAGE, "name"),
        ('{"type":"join","data":{"lobby":"x","name":"  "}}', ErrorCode.INVALID_MESSAGE, "name"),
        ('{"type":"join","data":{"lobby":"x","name":"a\\u0007b"}}', ErrorCode.INVALID_MESSAGE, "name"),
        ('{"type":"join","data":{"lobby":"x","name":"a\\u202eb"}}', ErrorCode.INVALID_MESSAGE, "name"),
        ('{"type":"join","data":{"lobby":"x\\ny","name":"a"}}', ErrorCode.INVALID_MESSAGE, "lobby"),
        ('{"type":"join","data":{"lobby":"x","name":"a","is_bot":1}}', ErrorCode.INVALID_MESSAGE, "is_bot"),
        (
            json.dumps({"type": "join", "data": {"lobby": "x" * 65, "name": "a"}}),
            ErrorCode.INVALID_MESSAGE,
            "lobby",
        ),
        (json.dumps({"type": "chat", "data": {"text": "x" * 2001}}), ErrorCode.INVALID_MESSAGE, "text"),
        (
            '{"type":"offer","data":{"sdp":"v=0","publish":[{"mid":"0","source":"Camera!"}]}}',
            ErrorCode.INVALID_MESSAGE,
            "publish.0.source",
        ),
        (
            '{"type":"candidate","data":{"candidate":"","sdp_mline_index":-1}}',
            ErrorCode.INVALID_MESSAGE,
            "sdp_mline_index",
        ),
        ('{"type":"mute","data":{"track_id":"t","muted":"yes"}}', ErrorCode.INVALID_MESSAGE, "muted"),
    ],
)
async def test_what_is_not_a_message_is_refused_with_the_field_and_the_connection_lives(
    text: str, code: ErrorCode, field: str | None
) -> None:
    async with running_server() as server, connected(server.url) as client:
        refused = await refusal_of(client, text)
        assert (refused.code, refused.field) == (code, field)
        assert len(refused.error) < 500
        await client.expect(Ping(), Pong)
        assert not server.service.counters.failures


async def test_refusals_repeat_the_id_of_the_request() -> None:
    async with running_server() as server, connected(server.url) as client:
        for text in (
            '{"type":"dance","id":5}',
            '{"type":"join","id":5}',
            '{"type":"chat","id":5,"data":{"text":"x"}}',
        ):
            await client.send_text(text)
            reply, re = await client.receive()
            assert isinstance(reply, ErrorReply)
            assert re == 5


async def test_unknown_fields_are_ignored() -> None:
    async with running_server() as server, connected(server.url) as client:
        await client.send_text('{"type":"ping","id":1,"data":{"more":1},"more":{"deep":[]}}')
        reply, re = await client.receive()
        assert isinstance(reply, Pong)
        assert re == 1


async def test_binary_frames_are_refused_and_the_connection_lives() -> None:
    async with running_server() as server, raw_websocket(server.url) as client:
        await client.send(BytesMessage(data=b"\x00\xff" * 100))
        assert (await client.next_message())["data"]["code"] == ErrorCode.INVALID_AUDIO
        await client.send_message("ping")
        assert (await client.next_message())["type"] == "pong"


@pytest.mark.parametrize("size", [4097, 8000])
async def test_a_message_over_the_limit_is_answered_then_closed(size: int) -> None:
    async with (
        running_server(max_message_bytes=4096) as server,
        in_lobby(server.url) as ada,
        connected(server.url) as client,
    ):
        await client.send_text("x" * size)
        code, reason, read = await client.closed()
        assert code == CloseCode.TOO_LARGE
        assert "4096" in reason
        assert [type(one) for one in read] == [ErrorReply, Closing]
        assert read[0].code == ErrorCode.TOO_LARGE
        await ada.expect(Ping(), Pong)


async def test_a_message_far_over_the_limit_is_closed_while_it_is_still_coming() -> None:
    async with running_server(max_message_bytes=4096) as server, connected(server.url) as client:
        with suppress(ConnectionClosed):
            await client.send_text("x" * 1_000_000)
        code, reason, _ = await client.closed()
        assert code == CloseCode.TOO_LARGE
        assert "maximum message size" in reason


async def test_the_limit_counts_bytes_and_not_characters() -> None:
    async with running_server(max_message_bytes=4096) as server, connected(server.url) as client:
        await client.send_text(
            json.dumps({"type": "ping", "data": {"x": "\u20ac" * 2000}}, ensure_ascii=False)
        )
        assert (await client.closed())[0] == CloseCode.TOO_LARGE
    async with running_server(max_message_bytes=4096) as server, connected(server.url) as client:
        await client.send_text(
            json.dumps({"type": "ping", "data": {"x": "\u20ac" * 1300}}, ensure_ascii=False)
        )
        assert isinstance((await client.receive())[0], Pong)


async def test_too_many_messages_are_refused_unread_then_closed() -> None:
    async with running_server() as server, connected(server.url) as client:
        for _ in range(3 * (MESSAGE_BURST + REFUSAL_BURST)):
            with suppress(ConnectionClosed):
                await client.send_text('{"type":"ping"}')
        code, _, read = await client.closed()
        assert code == CloseCode.POLICY
        refused = [one for one in read if isinstance(one, ErrorReply)]
        assert {one.code for one in refused} == {ErrorCode.RATE_LIMITED}
        assert len(refused) >= REFUSAL_BURST
        assert sum(isinstance(one, Pong) for one in read) >= MESSAGE_BURST
        assert isinstance(read[-1], Closing)


async def test_a_fault_of_the_servers_own_is_told_logged_and_closes_that_connection_only(monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug in a handler")

    monkeypatch.setitem(signaling.handlers.HANDLERS, Ping, fail)
    async with running_server() as server, in_lobby(server.url) as ada:
        async with connected(server.url) as client:
            assert (await client.refused(Ping())).code == ErrorCode.INTERNAL
            code, _, read = await client.closed()
            assert code == CloseCode.INTERNAL
            assert isinstance(read[-1], Closing)
            assert server.service.counters.failures["request"] == 1
        await ada.expect(ChatSend(text="still fine"), ChatSent)


async def test_a_client_that_does_not_read_is_cut_and_delays_nobody() -> None:
    async with (
        running_server(send_queue_bytes=65_536) as server,
        in_lobby(server.url, name="Ada") as ada,
        raw_websocket(server.url, receive_buffer_bytes=4096) as slow,
    ):
        await slow.send_message("join", lobby="garden", name="Slow")
        await ada.event(messages.ParticipantJoined)
        lobby = server.service.lobbies.open["garden"]
        (writer, _) = lobby.participants.values()
        with trio.fail_after(30):
            said = 0
            while not server.service.counters.websockets_closed["try_later"]:
                # Past the rate limit: as many as it takes to fill what the system buffers, then our queue.
                for _ in range(20):
                    said = lobby.say(writer, "x" * 2000).seq
                for _ in range(20):
                    await ada.event(ChatPosted)
        assert said > 30
        assert (await ada.expect(ChatSend(text="and now?"), ChatSent)).seq == said + 1
        # It may come back, for its session is kept.
        assert len(lobby.participants) == 2


async def test_a_slow_client_that_reads_on_is_told_why() -> None:
    async with (
        running_server(send_queue_bytes=65_536) as server,
        in_lobby(server.url, name="Ada"),
        raw_websocket(server.url, receive_buffer_bytes=4096) as slow,
    ):
        await slow.send_message("join", lobby="garden", name="Slow")
        assert (await slow.next_message())["type"] == "joined"
        lobby = server.service.lobbies.open["garden"]
        writer = next(iter(lobby.participants.values()))
        for _ in range(3000):
            lobby.say(writer, "x" * 2000)
        read, close = await slow.messages_until_close()
        assert close.code == CloseCode.TRY_LATER
        assert read[-1]["type"] == "closing"
        assert "too slow" in read[-1]["data"]["reason"]
        # What did arrive arrived whole and in order.
        numbers = [one["data"]["message"]["seq"] for one in read[:-1]]
        assert numbers == list(range(1, len(numbers) + 1))


async def test_broken_frames_end_only_their_connection() -> None:
    frames = [
        b"\x81\x05hello",  # not masked
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",  # reserved bits, reserved opcode
        b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00",  # a length with the highest bit set
        b"\x81\xfe\x00\x01\x00\x00\x00\x00x",  # a length longer than it need be
        b"\x81\x82\x00\x00\x00\x00\xc3\x28",  # not UTF-8
        b"\x80\x81\x00\x00\x00\x00x",  # a continuation of nothing
        b"\x09\x80\x00\x00\x00\x00",  # a fragmented ping
        b"\x88\x81\x00\x00\x00\x00x",  # a close frame of one byte
        b"\x88\x82\x00\x00\x00\x00\x00\x00",  # close code 0
        random.Random(7).randbytes(5000),
    ]
    async with running_server() as server, in_lobby(server.url) as ada:
        for frame in frames:
            async with raw_websocket(server.url) as client:
                await client.stream.send_all(frame)
                await client.stream.send_eof()
                await read_to_end(client.stream)
        await ada.expect(Ping(), Pong)
        assert not server.service.counters.failures


async def test_pings_that_cross_the_close_are_no_fault() -> None:
    async with running_server() as server:
        for _ in range(20):
            async with raw_websocket(server.url) as client:
                burst = b"".join(client.protocol.send(PingFrame(payload=b"x")) for _ in range(50))
                burst += client.protocol.send(CloseConnection(code=1000))
                await client.stream.send_all(burst + burst[:50])
                await read_to_end(client.stream)
        assert not server.service.counters.failures


async def test_connections_cut_at_any_moment_leave_nothing_behind() -> None:
    async with running_server() as server:
        for cut in range(0, 400, 7):
            async with raw_connection(server.url) as stream:
                head = (
                    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
                )
                frame = b"\x81\x8f\x00\x00\x00\x00" + b'{"type":"ping"}'
                await stream.send_all((head + frame * 10)[:cut])
        with trio.fail_after(10):
            counters = server.service.counters
            while counters.websockets or counters.pending or counters.web or server.service.sessions:
                await trio.lowlevel.checkpoint()
        assert not counters.failures
