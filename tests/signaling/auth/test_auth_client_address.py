"""Addresses: whose attempts are counted together, and who is at this machine."""

import pytest

from signaling.auth import attempts_key, came_through_proxy, is_loopback


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:DB8:1:2::", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("", ""),
        ("x" * 1000, "x" * 64),
    ],
)
def test_attempts_are_counted_by_address_or_network(address, key) -> None:
    assert attempts_key(address) == key


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_loopback(address) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize(
    "address",
    [None, "", "localhost", "0.0.0.0", "::", "192.0.2.7", "::ffff:192.0.2.7", "127.0.0.1.example", "1"],
)
def test_not_loopback(address) -> None:
    assert not is_loopback(address)


def test_proxies_leave_marks_in_any_case() -> None:
    assert came_through_proxy({"X-Forwarded-For": "127.0.0.1"})
    assert came_through_proxy({"forwarded": "for=127.0.0.1"})
    assert not came_through_proxy({"host": "localhost", "user-agent": "via"})
