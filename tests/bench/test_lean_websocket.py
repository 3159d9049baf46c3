"""The lean WebSocket: its frames against wsproto's, its session against the real service."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.frame_protocol import Opcode

from bench.errors import BenchError
from bench.lean_websocket import CLOSE, NORMAL_CLOSE, PING, TEXT, FrameReader, encode_frame, open_lean_session
from bench.options import RelayOptions
from bench.server import open_relay_server

PAYLOADS = st.one_of(
    st.text(max_size=300), st.sampled_from(["x" * 125, "x" * 126, "y" * 65_535, "z" * 65_536])
)


def _server_reads(data):
    server = Connection(ConnectionType.SERVER)
    server.receive_data(data)
    return list(server.events())


@given(PAYLOADS)
def test_a_server_reads_what_is_encoded(text):
    events = _server_reads(encode_frame(TEXT, text.encode()))
    assert all(isinstance(event, TextMessage) for event in events)
    assert "".join(event.data for event in events) == text


def test_a_server_understands_ping_and_goodbye():
    ping, close = _server_reads(encode_frame(PING, b"here?") + encode_frame(CLOSE, NORMAL_CLOSE))
    assert isinstance(ping, Ping)
    assert ping.payload == b"here?"
    assert isinstance(close, CloseConnection)
    assert close.code == 1000


@given(st.lists(PAYLOADS, max_size=4), st.lists(st.integers(1, 40), min_size=1))
def test_frames_are_found_wherever_the_stream_is_cut(texts, cuts):
    server = Connection(ConnectionType.SERVER)
    stream = b"".join(server.send(TextMessage(data=text)) for text in texts)
    reader, found, at, turn = FrameReader(), [], 0, 0
    while at < len(stream):
        step = cuts[turn % len(cuts)] * 97
        found += reader.feed(stream[at : at + step])
        at += step
        turn += 1
    assert found == [(int(Opcode.TEXT), text.encode()) for text in texts]


def test_binary_frames_keep_their_opcode():
    server = Connection(ConnectionType.SERVER)
    assert FrameReader().feed(server.send(BytesMessage(data=b"\x00\xff"))) == [(2, b"\x00\xff")]


async def test_a_session_asks_is_answered_and_refused_and_a_page_is_no_websocket():
    with trio.fail_after(400):
        async with open_relay_server(RelayOptions(pin=False)) as server:
            async with open_lean_session(server.url) as session:
                joined = await session.request("join", lobby="garden", name="Lean")
                assert [one["name"] for one in joined["participants"]] == ["Lean"]
                with pytest.raises(BenchError, match="refused 'mute'"):
                    await session.request("mute", track_id="none", muted=True)
            with pytest.raises(BenchError, match="not an upgrade"):
                async with open_lean_session(server.url.replace("/ws", "/api/system/health")):
                    pass


async def test_nobody_there_is_an_error(unused_port):
    with pytest.raises(BenchError, match="cannot connect"):
        async with open_lean_session(f"ws://127.0.0.1:{unused_port}/ws"):
            pass
