"""Whose connection it is: proxies that are trusted are believed, nobody else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.client_address import client_address, parse_networks

PROXIES = parse_networks(["10.0.0.0/8", "192.0.2.7", "2001:db8:1::/48"])


def x_forwarded_for(value: str) -> dict[str, str]:
    return {"x-forwarded-for": value}


def forwarded(value: str) -> dict[str, str]:
    return {"forwarded": value}


@pytest.mark.parametrize(
    ("headers", "peer", "client"),
    [
        ({}, "203.0.113.5", "203.0.113.5"),
        ({}, "10.0.0.1", "10.0.0.1"),
        # Anybody can say anything.
        (x_forwarded_for("198.51.100.1"), "203.0.113.5", "203.0.113.5"),
        (forwarded("for=198.51.100.1"), "203.0.113.5", "203.0.113.5"),
        (x_forwarded_for("127.0.0.1"), "203.0.113.5", "203.0.113.5"),
        # A proxy speaks.
        (x_forwarded_for("198.51.100.1"), "10.0.0.1", "198.51.100.1"),
        (x_forwarded_for("198.51.100.1"), "::ffff:10.0.0.1", "198.51.100.1"),
        (x_forwarded_for(" 198.51.100.1:4711 "), "192.0.2.7", "198.51.100.1"),
        (x_forwarded_for("2001:db8::1"), "10.0.0.1", "2001:db8::1"),
        (x_forwarded_for("[2001:db8::1]:4711"), "10.0.0.1", "2001:db8::1"),
        (x_forwarded_for("::ffff:198.51.100.1"), "10.0.0.1", "198.51.100.1"),
        (x_forwarded_for("198.51.100.1"), "2001:db8:1::9", "198.51.100.1"),
        (x_forwarded_for("198.51.100.1"), "192.0.2.8", "192.0.2.8"),
        # Several, and what the client made up before the first of them.
        (x_forwarded_for("127.0.0.1, 198.51.100.1, 10.2.2.2"), "10.0.0.1", "198.51.100.1"),
        (x_forwarded_for("10.9.9.9, 198.51.100.1"), "10.0.0.1", "198.51.100.1"),
        (x_forwarded_for("10.9.9.9, 10.2.2.2"), "10.0.0.1", "10.9.9.9"),
        # What is no address ends the search at the one who said it.
        (x_forwarded_for("198.51.100.1, unknown"), "10.0.0.1", "10.0.0.1"),
        (x_forwarded_for("198.51.100.1, unknown, 10.2.2.2"), "10.0.0.1", "10.2.2.2"),
        (x_forwarded_for(""), "10.0.0.1", "10.0.0.1"),
        (x_forwarded_for("198.51.100.1,"), "10.0.0.1", "10.0.0.1"),
        (x_forwarded_for("198.51.100.999"), "10.0.0.1", "10.0.0.1"),
        (x_forwarded_for("198.51.100.1\nx"), "10.0.0.1", "10.0.0.1"),
        # RFC 7239.
        (forwarded("for=198.51.100.1"), "10.0.0.1", "198.51.100.1"),
        (forwarded('For="[2001:db8::1]:4711";proto=https;by=10.0.0.1'), "10.0.0.1", "2001:db8::1"),
        (forwarded("for=127.0.0.1, proto=http;for=198.51.100.1"), "10.0.0.1", "198.51.100.1"),
        (forwarded('for=198.51.100.1;host="a, for=127.0.0.1"'), "10.0.0.1", "198.51.100.1"),
        (forwarded("for=_hidden"), "10.0.0.1", "10.0.0.1"),
        (forwarded("for=198.51.100.1, proto=http"), "10.0.0.1", "10.0.0.1"),
        (forwarded('for="198.51.100.1'), "10.0.0.1", "10.0.0.1"),
        (forwarded("nonsense"), "10.0.0.1", "10.0.0.1"),
        # The one that nearly every proxy sets goes before the one that it hands on unread.
        ({**x_forwarded_for("198.51.100.1"), **forwarded("for=127.0.0.1")}, "10.0.0.1", "198.51.100.1"),
        # No address at all.
        (x_forwarded_for("198.51.100.1"), "", ""),
        (x_forwarded_for("198.51.100.1"), "x" * 100, "x" * 64),
    ],
)
def test_the_client_is_the_last_whom_no_trusted_proxy_stands_before(
    headers: dict[str, str], peer: str, client: str
) -> None:
    assert client_address(headers, peer, PROXIES) == client


def test_without_trusted_proxies_nobody_is_believed() -> None:
    assert client_address(x_forwarded_for("198.51.100.1"), "127.0.0.1", ()) == "127.0.0.1"


def test_a_long_list_is_looked_at_from_its_end_only() -> None:
    assert (
        client_address(x_forwarded_for("10.1.1.1, " * 5000 + "10.2.2.2"), "10.0.0.1", PROXIES) == "10.1.1.1"
    )


@given(st.text(max_size=60), st.text(max_size=60), st.sampled_from(["10.0.0.1", "203.0.113.5", "", "x%y"]))
def test_any_headers_give_an_address(one: str, other: str, peer: str) -> None:
    for headers in (
        {"x-forwarded-for": one},
        {"forwarded": one},
        {"x-forwarded-for": one, "forwarded": other},
    ):
        client = client_address(headers, peer, PROXIES)
        assert client.isascii()
        assert len(client) <= 64
        if peer == "203.0.113.5":
            assert client == peer


@given(
    st.lists(st.sampled_from(["for=", '"', "\\", ";", ",", " ", "1.2.3.4", "[::1]", "=", "a"]), max_size=40)
)
def test_any_pieces_of_forwarded_are_survived(pieces: list[str]) -> None:
    client_address(forwarded("".join(pieces)), "10.0.0.1", PROXIES)


def test_what_is_no_network_is_named() -> None:
    with pytest.raises(ValueError, match=r"^'10\.0\.0\.0/99' is not a network: expected an address"):
        parse_networks(["10.0.0.0/8", "10.0.0.0/99"])
