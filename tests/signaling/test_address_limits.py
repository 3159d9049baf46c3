"""What one address may have, whoever else has what."""

import pytest

from signaling.address_limits import AddressLimits


def test_so_many_websockets_and_one_more_when_one_has_closed() -> None:
    limits = AddressLimits(max_open=2, per_second=1)
    assert limits.open("203.0.113.5")
    assert limits.open("203.0.113.5")
    assert not limits.open("203.0.113.5")
    assert limits.open("203.0.113.6")
    limits.close("203.0.113.5")
    assert limits.open("203.0.113.5")


def test_an_ipv6_network_is_one_address() -> None:
    limits = AddressLimits(max_open=1, per_second=1)
    assert limits.open("2001:db8:0:1::1")
    assert not limits.open("2001:db8:0:1:ffff::2")
    assert limits.open("2001:db8:0:2::1")


def test_a_rate_with_a_burst_of_all_that_may_be_open() -> None:
    limits = AddressLimits(max_open=5, per_second=2)
    assert [limits.take_connection("203.0.113.5", 100.0) for _ in range(6)] == [True] * 5 + [False]
    assert limits.take_connection("203.0.113.6", 100.0)
    assert [limits.take_connection("203.0.113.5", 101.0) for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_the_machine_itself_is_exempt_unless_told_otherwise(address: str) -> None:
    exempt = AddressLimits(max_open=1, per_second=1)
    for _ in range(10):
        assert exempt.open(address)
        assert exempt.take_connection(address, 0)
    exempt.close(address)
    assert exempt.remembered == (0, 0)
    counted = AddressLimits(max_open=1, per_second=1, exempt_loopback=False)
    assert counted.open(address)
    assert not counted.open(address)
    assert counted.take_connection(address, 0)
    assert not counted.take_connection(address, 0)


def test_memory_is_bounded_and_an_address_without_anything_is_forgotten() -> None:
    limits = AddressLimits(max_open=3, per_second=1, max_remembered=100)
    for number in range(1000):
        limits.take_connection(f"10.0.{number // 250}.{number % 250}", number / 1000)
    assert limits.remembered == (0, 100)
    limits = AddressLimits(max_open=3, per_second=1)
    for number in range(1000):
        assert limits.open(f"10.0.{number // 250}.{number % 250}")
    assert limits.remembered == (1000, 0)
    for number in range(1000):
        limits.close(f"10.0.{number // 250}.{number % 250}")
    assert limits.remembered == (0, 0)


def test_who_keeps_knocking_is_not_the_one_forgotten() -> None:
    limits = AddressLimits(max_open=3, per_second=0.001, max_remembered=10)
    for number in range(200):
        limits.take_connection("203.0.113.5", number / 1000)
        limits.take_connection(f"10.0.0.{number}", number / 1000)
    assert not limits.take_connection("203.0.113.5", 1)
