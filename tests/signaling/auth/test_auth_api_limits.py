"""Limits of the HTTP interface, and the figures its answers carry."""

from datetime import UTC, datetime

from signaling.auth import ApiLimits, Company, CompanyLimits

ACME = Company(
    "co-1", "Acme", datetime(2026, 1, 1, tzinfo=UTC), True, CompanyLimits(requests_per_minute=3), ()
)


def test_the_figures_count_down_and_then_say_when_to_come_back() -> None:
    limits = ApiLimits(per_minute=2)
    shown = [limits.check(address="192.0.2.1", company=None, now=0).headers for _ in range(3)]
    assert shown == [
        {"X-RateLimit-Limit": "2", "X-RateLimit-Remaining": "1", "X-RateLimit-Reset": "30"},
        {"X-RateLimit-Limit": "2", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "60"},
        {
            "X-RateLimit-Limit": "2",
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset": "60",
            "Retry-After": "30",
        },
    ]
    assert limits.refused == 1
    assert not limits.check(address="192.0.2.1", company=None, now=29.9).allowed
    assert limits.check(address="192.0.2.1", company=None, now=30).allowed


def test_who_waits_as_long_as_told_is_served() -> None:
    limits = ApiLimits(per_minute=700)
    now = 0.0
    while limits.check(address="192.0.2.1", company=None, now=now).allowed:
        pass
    for _ in range(100):
        decision = limits.check(address="192.0.2.1", company=None, now=now)
        if not decision.allowed:
            now += decision.retry_after_seconds
            assert decision.retry_after_seconds >= 1
            assert limits.check(address="192.0.2.1", company=None, now=now).allowed


def test_a_company_has_its_own_limit_wherever_it_comes_from() -> None:
    limits = ApiLimits(per_minute=1)
    taken = [limits.check(address=f"192.0.2.{index}", company=ACME, now=0) for index in range(4)]
    assert [each.allowed for each in taken] == [True, True, True, False]
    assert taken[0].limit == 3
    assert limits.check(address="192.0.2.1", company=None, now=0).allowed


def test_addresses_do_not_share_but_a_customers_network_does() -> None:
    limits = ApiLimits(per_minute=1)
    assert limits.check(address="192.0.2.1", company=None, now=0).allowed
    assert limits.check(address="192.0.2.2", company=None, now=0).allowed
    assert limits.check(address="2001:db8::1", company=None, now=0).allowed
    assert not limits.check(address="2001:db8::2", company=None, now=0).allowed


def test_a_flood_of_addresses_takes_bounded_memory_and_frees_no_company() -> None:
    limits = ApiLimits(per_minute=1, capacity=10)
    for _ in range(3):
        limits.check(address="192.0.2.1", company=ACME, now=0)
    for index in range(1000):
        limits.check(address=f"198.51.{index // 250}.{index % 250}", company=None, now=0)
    assert len(limits._of_addresses) == 10
    assert not limits.check(address="192.0.2.1", company=ACME, now=0).allowed
