"""Compressed messages: what is agreed on, what goes out, and what comes in, in bounds."""

import random
import tracemalloc
import zlib

import pytest
import trio
from test_websocket import Peer, serving
from wsproto.connection import ConnectionType
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Pong, Request, TextMessage
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import FrameProtocol, ParseFailed

from signaling.deflate import MIN_DEFLATED_BYTES, MessageDeflate, deflate
from signaling.frames import compressed_text_frame, text_frame
from signaling.messages import CloseCode
from signaling.websocket import WebSocket

ANSWER = "server_no_context_takeover; client_no_context_takeover"


def inflated(payload: bytes) -> bytes:
    return zlib.decompressobj(-15).decompress(payload + b"\x00\x00\xff\xff")


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("permessage-deflate", ANSWER),
        # Chromium, Firefox, wsproto, ws.
        ("permessage-deflate; client_max_window_bits", ANSWER),
        ("permessage-deflate; client_max_window_bits=15; server_max_window_bits=15", f"{ANSWER}; server_max_window_bits=15"),
        ("permessage-deflate;server_no_context_takeover;client_no_context_takeover", ANSWER),
        ('permessage-deflate; server_max_window_bits="15"', f"{ANSWER}; server_max_window_bits=15"),
        ("permessage-deflate; client_max_window_bits=8", ANSWER),
        # Every client gets the same bytes: no smaller window.
        ("permessage-deflate; server_max_window_bits=10", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; client_max_window_bits=16", None),
        ("permessage-deflate; client_max_window_bits=08", None),
        ("permessage-deflate; server_no_context_takeover=1", None),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits", None),
        ("permessage-deflate; unknown", None),
        ("permessage-deflate; =", None),
        ("permessage-deflate;", None),
    ],
)  # fmt: skip
def test_an_offer_is_accepted_if_it_can_be_met(offer: str, answer: str | None) -> None:
    extension = MessageDeflate(1000)
    assert extension.accept(offer) == answer
    assert extension.enabled() is (answer is not None)


def test_the_first_offer_that_can_be_met_is_taken() -> None:
    extension = MessageDeflate(1000)
    assert extension.accept("permessage-deflate; server_max_window_bits=9") is None
    assert extension.accept("permessage-deflate") == ANSWER
    assert extension.accept("permessage-deflate") is None


@pytest.mark.parametrize("size", [0, 1, MIN_DEFLATED_BYTES - 1, MIN_DEFLATED_BYTES, 70_000, 1_000_000])
@pytest.mark.parametrize("character", ["x", "\u00e9", "\U0001f3b5"])
def test_a_large_text_is_compressed_and_a_small_one_is_not(size: int, character: str) -> None:
    text = character * (size // len(character.encode()))
    frame = compressed_text_frame(text)
    payload_bytes = len(text.encode())
    if payload_bytes < MIN_DEFLATED_BYTES:
        assert frame == text_frame(text)
    else:
        assert frame[0] == 0xC1
        assert len(frame) < payload_bytes / 10
        header = 2 if frame[1] < 126 else 4
        assert inflated(frame[header:]).decode() == text
    assert compressed_text_frame(text) is frame


def test_what_does_not_become_smaller_is_sent_as_it_is() -> None:
    rng = random.Random(1)
    text = "".join(chr(rng.randrange(0x4E00, 0x9FFF)) for _ in range(4000))
    frame = compressed_text_frame(text)
    assert len(frame) <= len(text_frame(text))
    noise = "".join(chr(rng.randrange(32, 0xD7FF)) for _ in range(4000))
    assert len(compressed_text_frame(noise)) <= len(text_frame(noise))


class Receiving:
    """The extension inside wsproto's own frame parser, fed by a client."""

    def __init__(self, max_message_bytes: int = 1000) -> None:
        extension = MessageDeflate(max_message_bytes)
        extension.accept("permessage-deflate")
        self.server = FrameProtocol(client=False, extensions=[extension])

    def take(self, data: bytes, *, piece: int = 4096) -> bytes:
        """Return the payload of data frames, as text comes in bytes."""
        payload = b""
        for place in range(0, len(data), piece):
            self.server.receive_bytes(data[place : place + piece])
            for frame in self.server.received_frames():
                if not frame.opcode.iscontrol():
                    payload += (
                        frame.payload
                        if isinstance(frame.payload, bytes | bytearray)
                        else frame.payload.encode()
                    )
        return payload


def client_frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 1 << 16:
        length = b"\xfe" + size.to_bytes(2)
    else:
        length = b"\xff" + size.to_bytes(8)
    return bytes([first]) + length + bytes(4) + payload


@pytest.mark.parametrize("piece", [1, 7, 4096])
def test_messages_are_inflated_however_they_are_cut(piece: int) -> None:
    receiving = Receiving(100_000)
    text = b"hello, world " * 500
    compressed = deflate(text)
    third = len(compressed) // 3
    whole = client_frame(0xC1, compressed)
    in_fragments = (
        client_frame(0x41, compressed[:third])
        + client_frame(0x89, b"a ping between")
        + client_frame(0x00, compressed[third : 2 * third])
        + client_frame(0x00, b"")
        + client_frame(0x8A, b"")
        + client_frame(0x80, compressed[2 * third :])
    )
    assert receiving.take(whole + in_fragments + client_frame(0x81, b"plain") + whole, piece=piece) == (
        text + text + b"plain" + text
    )


def test_a_final_block_ends_the_message_and_what_follows_it_is_nothing() -> None:
    receiving = Receiving(100_000)
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    final = compressor.compress(b"the end") + compressor.flush()
    assert receiving.take(client_frame(0xC1, final + b"\x00")) == b"the end"
    assert receiving.take(client_frame(0xC1, final + b"junk" * 1000)) == b"the end"
    assert receiving.take(client_frame(0xC1, b"\x02\x00")) == b""


def test_a_bomb_is_inflated_up_to_the_limit_and_no_further() -> None:
    bomb = deflate(b"\x00" * 200_000_000)
    assert len(bomb) < 1_000_000
    receiving = Receiving(100_000)
    tracemalloc.start()
    try:
        taken = receiving.take(client_frame(0xC1, bomb))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 100_000 < len(taken) <= 100_010
    assert peak < 5_000_000


def test_what_goes_on_for_ever_without_becoming_anything_is_cut() -> None:
    nothing = b"\x00\x00\x00\xff\xff"  # an empty block
    receiving = Receiving(1000)
    with pytest.raises(Exception, match="error in extension") as caught:
        receiving.take(client_frame(0xC1, nothing * 1000))
    assert caught.value.code == CloseCode.TOO_LARGE


@pytest.mark.parametrize("seed", range(50))
def test_any_bytes_are_survived(seed: int) -> None:
    rng = random.Random(seed)
    receiving = Receiving(1000)
    payload = bytearray(deflate(b"some text " * 50))
    for _ in range(rng.randint(1, 5)):
        payload[rng.randrange(len(payload))] = rng.randrange(256)
    try:
        assert len(receiving.take(client_frame(0xC2, bytes(payload)))) <= 1010
    except ParseFailed as error:
        assert error.code == 1007  # noqa: PT017 - some of the damage goes unnoticed


@pytest.mark.parametrize(
    "frames",
    [
        client_frame(0xC9, b""),  # a compressed ping
        client_frame(0x41, b"\xf2\x48\x05\x00") + client_frame(0xC0, b""),  # the bit on a continuation
        client_frame(0x41, b"\xf2\x48\x05\x00") + client_frame(0xC1, b""),  # a message in a message
        client_frame(0xA1, b""),  # a bit nobody agreed on
    ],
)
def test_the_bit_where_it_may_not_be_is_a_protocol_error(frames: bytes) -> None:
    receiving = Receiving()
    with pytest.raises(Exception, match=r"extension|Reserved|CONTINUATION") as caught:
        receiving.take(frames)
    assert caught.value.code == 1002


# Through the server's own WebSocket, with a client that is wsproto's.


class DeflatingPeer(Peer):
    """A client that offers compression, and compresses what it sends."""

    async def upgrade(self) -> None:
        offer = [PerMessageDeflate()]
        await self.send(Request(host="x", target="/ws", extensions=offer))
        while self.protocol.connection is None:
            self.protocol.receive_data(bytes(await self.stream.receive_some()))
        accepted = next(self.protocol.events())
        assert isinstance(accepted, AcceptConnection)
        self.agreed = accepted.extensions


async def echo(socket: WebSocket) -> None:
    while True:
        received = await socket.receive()
        socket.send(received if isinstance(received, str) else f"{len(received)} bytes")


async def test_both_ways_with_pings_between(autojump_clock) -> None:
    texts = ["short", "long " * 5000, "\u00e9" * 3000, "", "x" * 1023, "x" * 1024]
    async with serving(echo, peer=DeflatingPeer) as peer:
        assert [extension.enabled() for extension in peer.agreed] == [True]
        for text in texts:
            half = len(text) // 2
            await peer.send(TextMessage(data=text[:half], message_finished=False))
            await peer.stream.send_all(b"\x89\x80\x00\x00\x00\x00")
            await peer.send(TextMessage(data=text[half:]))
        await peer.send(BytesMessage(data=b"\x00" * 50_000))
        heard: list[str] = []
        pongs = 0
        async for event in peer.events():
            pongs += isinstance(event, Pong)
            if isinstance(event, TextMessage):
                heard.append(event.data)
                if len(heard) == len(texts) + 1:
                    await peer.send(CloseConnection(code=1000))
    assert heard == [*texts, "50000 bytes"]
    assert pongs == len(texts)
    assert peer.ended is not None
    assert peer.ended.by_client


async def test_a_compressed_message_over_the_limit_is_answered_and_closed_with_1009(autojump_clock) -> None:
    async with serving(echo, peer=DeflatingPeer, max_message_bytes=10_000) as peer:
        await peer.send(TextMessage(data="x" * 10_000))
        await peer.send(TextMessage(data="x" * 10_001))
        texts, close = await peer.texts_and_close()
    assert texts[0] == "x" * 10_000
    assert '"too_large"' in texts[1]
    assert '"closing"' in texts[2]
    assert close is not None
    assert close.code == CloseCode.TOO_LARGE


async def test_a_zip_bomb_closes_its_connection_with_1009(autojump_clock) -> None:
    async with serving(echo, peer=DeflatingPeer, max_message_bytes=10_000) as peer:
        await peer.stream.send_all(client_frame(0xC1, deflate(b" " * 50_000_000)))
        _, close = await peer.texts_and_close()
    assert close is not None
    assert close.code == CloseCode.TOO_LARGE


async def test_without_the_setting_nothing_is_agreed_on(autojump_clock) -> None:
    async with serving(echo, peer=DeflatingPeer, compression=False) as peer:
        assert peer.agreed == []
        await peer.send(TextMessage(data="x" * 5000))
        raw = b""
        while len(raw) < 5004:
            raw += bytes(await peer.stream.receive_some())
        assert raw == text_frame("x" * 5000)
        peer.protocol = type(peer.protocol)(ConnectionType.CLIENT)
        await peer.stream.aclose()


async def test_clients_with_and_without_hear_the_same(autojump_clock) -> None:
    text = "for everybody " * 1000

    async def talk(socket: WebSocket) -> None:
        socket.send(text)
        await trio.sleep(1)

    for kind in (Peer, DeflatingPeer):
        async with serving(talk, peer=kind) as peer:
            texts, _ = await peer.texts_and_close()
        assert texts == [text]


async def test_a_ping_to_a_client_that_compresses_is_plain(autojump_clock) -> None:
    async with serving(echo, peer=DeflatingPeer, keepalive_seconds=1) as peer:
        async for event in peer.events():
            if isinstance(event, Ping):
                await peer.send(CloseConnection(code=1000))
    assert peer.ended is not None
    assert peer.ended.by_client
