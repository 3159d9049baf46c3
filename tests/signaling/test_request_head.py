"""What a connection asks for, read from its first bytes, whatever they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.request_head import (
    MAX_HEAD_BYTES,
    RequestHead,
    head_is_complete,
    origin_is_allowed,
    parse_head,
)

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: a.example:8080\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Origin: http://a.example:8080\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def test_an_upgrade_is_one_with_path_query_and_headers() -> None:
    head = parse_head(UPGRADE.replace(b"/ws", b"/ws/%20a?x=1?&y"))
    assert head.is_upgrade
    assert head.fault is None
    assert (head.path, head.query) == (b"/ws/%20a", b"x=1?&y")
    assert (head.origin, head.host) == ("http://a.example:8080", "a.example:8080")
    assert head.headers["connection"] == "keep-alive, Upgrade"


def test_a_head_does_not_show_what_may_be_secret() -> None:
    head = parse_head(
        UPGRADE.replace(b"/ws", b"/ws?key=secret").replace(b"Host", b"Authorization: secret\r\nHost")
    )
    assert head.headers["authorization"] == "secret"
    assert "secret" not in repr(head)


def test_repeated_headers_are_joined_so_that_none_hides_behind_the_other() -> None:
    twice = UPGRADE.replace(b"Origin:", b"Origin: http://evil.example\r\nOrigin:")
    head = parse_head(twice)
    assert head.origin == "http://evil.example, http://a.example:8080"
    assert not origin_is_allowed(head, ("http://evil.example", "http://a.example:8080"))


@pytest.mark.parametrize(
    ("header", "at_fault"),
    [
        (b"Transfer-Encoding: chunked", True),
        (b"Content-Length: 5", True),
        (b"Content-Length: 0", False),
    ],
)
def test_an_upgrade_with_a_body_is_at_fault(header: bytes, at_fault: bool) -> None:
    head = parse_head(UPGRADE.replace(b"Host:", header + b"\r\nHost:"))
    assert head.is_upgrade
    assert (head.fault is not None) is at_fault


@pytest.mark.parametrize(
    "smuggled",
    [
        b"Content-Length: 1\r\nContent-Length: 2",
        b"Transfer-Encoding: identity, chunked",
        b"Transfer-Encoding : chunked",
        b"Host: b.example",
        b" folded: x\r\n\x0bx: y",
        b"X: a\r\n\r\nGET /ws HTTP/1.1\r\nHost: x",
        b"X: a\x00b",
        b"Sec-WebSocket-Version: 13",
        b"Upgrade: websocket",
    ],
)
def test_what_two_servers_may_read_in_two_ways_is_no_upgrade(smuggled: bytes) -> None:
    head = parse_head(UPGRADE.replace(b"Origin:", smuggled + b"\r\nOrigin:"))
    assert not head.is_upgrade or head.fault is not None


@pytest.mark.parametrize(
    ("there", "instead"),
    [
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
def test_everything_else_is_not(there: bytes, instead: bytes) -> None:
    assert not parse_head(UPGRADE.replace(there, instead, 1)).is_upgrade


@given(st.binary(max_size=2000))
def test_any_bytes_give_a_head(received: bytes) -> None:
    assert not parse_head(received).is_upgrade
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
    headers = {"host": host} if origin is None else {"host": host, "origin": origin}
    assert origin_is_allowed(RequestHead(headers=headers), allowed) is verdict
