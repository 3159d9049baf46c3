"""Who serves a connection, decided from its first bytes, whatever they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.request_head import (
    MAX_HEAD_BYTES,
    Destination,
    RequestHead,
    head_is_complete,
    origin_is_allowed,
    parse_head,
)

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: a.example:8080\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Origin: http://a.example:8080\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def test_an_upgrade_goes_to_the_websocket() -> None:
    assert parse_head(UPGRADE) == RequestHead(
        Destination.WEBSOCKET, "http://a.example:8080", "a.example:8080"
    )
    assert parse_head(UPGRADE.replace(b"/ws", b"/ws?x=1")).destination is Destination.WEBSOCKET


@pytest.mark.parametrize(
    ("there", "instead"),
    [
        (b"/ws", b"/wsx"),
        (b"/ws", b"/"),
        (b"GET", b"PUT"),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"Upgrade: WebSocket", b"Upgrade: h2c"),
        (b"Upgrade: WebSocket\r\n", b""),
        (b"keep-alive, Upgrade", b"keep-alive"),
        (b"Version: 13", b"Version: 12"),
        (b"Sec-WebSocket-Key", b"Sec-WebSocket-Lock"),
        (b"Host: a.example:8080\r\n", b""),
        (b"GET ", b"G\x00T "),
    ],
)
def test_everything_else_goes_to_the_web_server(there: bytes, instead: bytes) -> None:
    assert parse_head(UPGRADE.replace(there, instead, 1)).destination is Destination.WEB


@given(st.binary(max_size=2000))
def test_any_bytes_have_a_destination(received: bytes) -> None:
    assert parse_head(received).destination is Destination.WEB
    head_is_complete(received)


@given(st.binary(max_size=20), st.integers(0, len(UPGRADE)))
def test_any_damage_to_an_upgrade_is_survived(damage: bytes, place: int) -> None:
    parse_head(UPGRADE[:place] + damage + UPGRADE[place + len(damage) :])


@pytest.mark.parametrize(
    ("received", "complete"),
    [
        (b"", False),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", True),
        (b"GET / HTTP/1.1\nHost: x\n\n", True),
        (b"\x16\x03\x01", True),
        (b"G" * MAX_HEAD_BYTES, True),
    ],
)
def test_reading_stops_when_there_is_nothing_to_gain(received: bytes, complete: bool) -> None:
    assert head_is_complete(received) is complete


@pytest.mark.parametrize(
    ("origin", "host", "allowed", "verdict"),
    [
        (None, "a", (), True),
        ("http://a", "a", (), True),
        ("https://A:8443", "a:8443", (), True),
        ("http://a:8080", "a", (), False),
        ("http://b", "a", (), False),
        ("http://b", "a", ("http://b",), True),
        ("https://b", "a", ("http://b",), False),
        ("http://b", "a", ("*",), True),
        ("null", "a", (), False),
        ("", "", (), False),
        ("http://[", "[", (), False),
        ("http://user@a", "a", (), False),
    ],
)
def test_origins(origin: str | None, host: str, allowed: tuple[str, ...], verdict: bool) -> None:
    assert origin_is_allowed(RequestHead(Destination.WEBSOCKET, origin, host), allowed) is verdict
