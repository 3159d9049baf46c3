"""What companies have, counted against what they may have."""

import pytest

from signaling.auth import CompanyError, CompanyLimitError, CompanyLimits, CompanyUsage, Resource
from signaling.auth.company_usage import PLURALS

LIMITS = {
    "co-1": CompanyLimits(
        max_sessions=2, max_lobbies=1, max_participants=1, max_bots=1, messages_per_second=3
    ),
    "co-2": CompanyLimits(),
}


@pytest.fixture
def usage() -> CompanyUsage:
    return CompanyUsage(LIMITS.get, max_companies=10)


@pytest.mark.parametrize("resource", Resource)
def test_a_limit_is_met_then_refused_then_free_again(usage, resource) -> None:
    allowed = getattr(LIMITS["co-1"], resource.value)
    for _ in range(allowed):
        usage.acquire("co-1", resource)
    with pytest.raises(CompanyLimitError, match=f"{PLURALS[resource]}.*{resource.value}") as caught:
        usage.acquire("co-1", resource)
    assert (caught.value.code, caught.value.limit, caught.value.allowed) == (
        "company_limit",
        resource.value,
        allowed,
    )
    usage.acquire("co-2", resource)
    shown = usage.of("co-1")
    assert shown.held[resource] == allowed
    assert shown.refused == {resource.value: 1}
    usage.release("co-1", resource)
    usage.acquire("co-1", resource)


def test_every_resource_has_a_limit_and_a_plural() -> None:
    assert {resource.value for resource in Resource} <= set(CompanyLimits.model_fields)
    assert set(PLURALS) == set(Resource)


def test_nobody_has_no_limit_and_is_counted(usage) -> None:
    for _ in range(5000):
        usage.acquire("", Resource.SESSION)
        assert usage.take_message("")
    assert usage.of("").held[Resource.SESSION] == 5000
    assert usage.of("").messages == 5000


def test_an_unknown_company_gets_nothing_and_leaves_nothing(usage) -> None:
    with pytest.raises(CompanyError) as caught:
        usage.acquire("co-x", Resource.SESSION)
    assert caught.value.code == "company_unknown"
    assert usage.of("co-x").held[Resource.SESSION] == 0
    assert not usage._counters


def test_what_is_restored_counts_whatever_the_limit(usage) -> None:
    for _ in range(3):
        usage.acquire("co-1", Resource.LOBBY, limited=False)
    assert usage.of("co-1").held[Resource.LOBBY] == 3
    with pytest.raises(CompanyLimitError):
        usage.acquire("co-1", Resource.LOBBY)


def test_releasing_what_was_not_acquired_is_our_own_fault(usage) -> None:
    with pytest.raises(AssertionError, match="more often"):
        usage.release("co-1", Resource.LOBBY)


async def test_messages_are_limited_for_all_sessions_together(usage, mock_clock) -> None:
    assert [usage.take_message("co-1") for _ in range(5)] == [True, True, True, False, False]
    assert usage.take_message("co-2")
    assert not usage.take_message("co-x")
    mock_clock.jump(1)
    assert [usage.take_message("co-1") for _ in range(4)] == [True, True, True, False]
    shown = usage.of("co-1")
    assert shown.messages == 9
    assert shown.refused == {"messages_per_second": 3}


def test_figures_are_forgotten_when_nothing_is_held(usage) -> None:
    usage.acquire("co-1", Resource.BOT)
    usage.forget("co-1")
    assert usage.of("co-1").held[Resource.BOT] == 1
    usage.release("co-1", Resource.BOT)
    usage.forget("co-1")
    usage.forget("co-1")
    assert not usage._counters
