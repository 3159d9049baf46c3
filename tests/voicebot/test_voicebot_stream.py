"""URLs taken apart."""

import pytest

from voicebot.stream import WebSocketUrl


@pytest.mark.parametrize(
    ("url", "expected", "host_header"),
    [
        ("ws://relay.example/ws", (False, "relay.example", 80, "/ws"), "relay.example"),
        ("wss://relay.example", (True, "relay.example", 443, "/ws"), "relay.example"),
        ("ws://127.0.0.1:8080/a/b?c=d", (False, "127.0.0.1", 8080, "/a/b?c=d"), "127.0.0.1:8080"),
        ("ws://[::1]:8080/", (False, "::1", 8080, "/ws"), "[::1]:8080"),
    ],
)
def test_url_is_taken_apart(url: str, expected: tuple[object, ...], host_header: str) -> None:
    parsed = WebSocketUrl.parse(url)
    assert (parsed.secure, parsed.host, parsed.port, parsed.resource) == expected
    assert parsed.host_header == host_header


@pytest.mark.parametrize("url", ["", "relay.example", "http://relay.example/ws", "ws:///ws", "ws://a:b/ws"])
def test_malformed_url_raises(url: str) -> None:
    with pytest.raises(ValueError):
        WebSocketUrl.parse(url)
