"""Companies: keys shown once, replaced without a gap, worth nothing when revoked; and what is left after a restart."""

import re
from datetime import UTC, datetime

import pytest
import trio
from kept_records import KeptRecords

from signaling.auth import Companies, CompanyError, CompanyLimits, Resource
from signaling.auth.companies import MAX_KEYS
from signaling.storage import CompanyRecord, StoreUnavailableError


def companies_of(store: KeptRecords, **options) -> Companies:
    return Companies(store=store, records=store.companies.values(), **options)


@pytest.fixture
def store() -> KeptRecords:
    return KeptRecords()


@pytest.fixture
def companies(store) -> Companies:
    return companies_of(store)


async def test_a_key_is_shown_once_and_kept_as_a_digest(companies, store) -> None:
    company, api_key = await companies.create("Acme")
    assert re.fullmatch(r"tr_[A-Za-z0-9_-]{43}", api_key)
    assert companies.authenticate(api_key) == company
    assert companies.find(company.company_id) == company
    assert (company.name, company.enabled, company.limits) == ("Acme", True, CompanyLimits())
    assert len(company.key_ids) == 1
    for shown in (repr(store.companies), repr(company), repr(companies.listed())):
        assert api_key not in shown


async def test_nothing_else_is_a_key(companies) -> None:
    _, api_key = await companies.create("Acme")
    for attempt in (
        "",
        "tr_",
        api_key[:-1],
        api_key + "x",
        api_key + "x" * 1000,
        api_key.upper(),
        api_key.removeprefix("tr_"),
        f" {api_key}",
        "x" * 10_000_000,
        "\ud800",
        "tr_" + "A" * 43,
        "\x00" * 32,
    ):
        assert companies.authenticate(attempt) is None


async def test_each_key_is_of_its_company(companies) -> None:
    acme, acme_key = await companies.create("Acme")
    umbrella, umbrella_key = await companies.create("Umbrella")
    assert companies.authenticate(acme_key) == acme
    assert companies.authenticate(umbrella_key) == umbrella
    assert companies.listed() == (acme, umbrella)
    # The id of another's key is no handle on it.
    assert not await companies.revoke(umbrella.company_id, acme.key_ids[0])
    assert companies.authenticate(acme_key) == acme


async def test_a_key_is_replaced_without_a_gap(companies, store) -> None:
    company, first = await companies.create("Acme")
    second = await companies.rotate(company.company_id)
    both = companies.authenticate(first)
    assert both is not None
    assert companies.authenticate(second) == both
    assert both.key_ids[0] == company.key_ids[0]
    assert await companies.revoke(company.company_id, both.key_ids[0])
    assert companies.authenticate(first) is None
    assert companies.authenticate(second) is not None
    again = companies_of(store)
    assert again.authenticate(first) is None
    assert again.authenticate(second) is not None
    assert not await companies.revoke(company.company_id, both.key_ids[0])
    assert not await companies.revoke(company.company_id, "")


async def test_keys_of_a_company_are_few(companies) -> None:
    company, _ = await companies.create("Acme")
    for _ in range(MAX_KEYS - 1):
        await companies.rotate(company.company_id)
    with pytest.raises(CompanyError, match="revoke one first") as caught:
        await companies.rotate(company.company_id)
    assert caught.value.code == "at_capacity"


async def test_a_disabled_company_gets_nowhere_until_it_is_enabled(companies, store) -> None:
    company, api_key = await companies.create("Acme")
    assert not (await companies.set_enabled(company.company_id, enabled=False)).enabled
    assert companies.authenticate(api_key) is None
    assert not companies.is_enabled(company.company_id)
    assert companies_of(store).authenticate(api_key) is None
    await companies.set_enabled(company.company_id, enabled=True)
    assert companies.authenticate(api_key) is not None
    assert companies.is_enabled(company.company_id)


async def test_a_deleted_company_is_gone(companies, store) -> None:
    company, api_key = await companies.create("Acme")
    assert await companies.delete(company.company_id)
    assert companies.authenticate(api_key) is None
    assert companies.find(company.company_id) is None
    assert not companies.is_enabled(company.company_id)
    assert len(companies) == 0
    assert not store.companies
    assert not await companies.delete(company.company_id)


@pytest.mark.parametrize("use", ["rotate", "revoke", "set_enabled", "set_limits"])
async def test_an_unknown_company_is_told_as_such(companies, use) -> None:
    calls = {
        "rotate": lambda: companies.rotate("co-x"),
        "revoke": lambda: companies.revoke("co-x", "k"),
        "set_enabled": lambda: companies.set_enabled("co-x", enabled=False),
        "set_limits": lambda: companies.set_limits("co-x", {}),
    }
    with pytest.raises(CompanyError, match="no company of this id") as caught:
        await calls[use]()
    assert (caught.value.code, caught.value.field) == ("company_unknown", "company_id")


@pytest.mark.parametrize(
    ("name", "code"), [("", "invalid_message"), ("a\nb", "invalid_message"), ("ACME", "company_exists")]
)
async def test_a_name_that_cannot_be_or_is_taken_is_refused(companies, name, code) -> None:
    await companies.create("Acme")
    with pytest.raises(CompanyError) as caught:
        await companies.create(name)
    assert (caught.value.code, caught.value.field) == (code, "name")
    assert len(companies) == 1


async def test_companies_are_bounded(store) -> None:
    companies = companies_of(store, max_companies=1)
    await companies.create("Acme")
    with pytest.raises(CompanyError) as caught:
        await companies.create("Umbrella")
    assert caught.value.code == "at_capacity"


async def test_limits_are_kept_and_what_was_not_set_follows_the_defaults(companies, store) -> None:
    company, _ = await companies.create("Acme", {"max_lobbies": 3})
    assert company.limits.max_lobbies == 3
    assert dict(store.companies[company.company_id].limits) == {"max_lobbies": 3}
    changed = await companies.set_limits(company.company_id, {"max_bots": 0})
    assert changed.limits == CompanyLimits(max_bots=0)
    (again,) = companies_of(store).listed()
    assert again.limits == changed.limits


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ({"max_lobbies": -1}, "limits.max_lobbies"),
        ({"max_lobbies": "3"}, "limits.max_lobbies"),
        ({"max_lobbies": True}, "limits.max_lobbies"),
        ({"max_lobbies": 10**9}, "limits.max_lobbies"),
        ({"messages_per_second": 0}, "limits.messages_per_second"),
        ({"max_fun": 1}, "limits.max_fun"),
        ({"x" * 1000: 1}, "limits." + "x" * 64),
    ],
)
async def test_a_limit_that_cannot_be_is_named(companies, limits, field) -> None:
    with pytest.raises(CompanyError, match="max_sessions") as caught:
        await companies.create("Acme", limits)
    assert (caught.value.code, caught.value.field) == ("invalid_message", field)
    assert len(companies) == 0


def test_stored_limits_of_another_version_are_read_as_far_as_they_are_known() -> None:
    stored = {"max_lobbies": 3, "max_fun": 1, "messages_per_second": 0, "max_bots": 2}
    assert CompanyLimits.restore(stored) == CompanyLimits(max_lobbies=3, max_bots=2)


async def test_of_what_could_not_be_kept_nothing_is_left(companies, store) -> None:
    company, first = await companies.create("Acme")
    store.down = True
    with pytest.raises(StoreUnavailableError):
        await companies.create("Umbrella")
    with pytest.raises(StoreUnavailableError):
        await companies.rotate(company.company_id)
    store.down = False
    assert companies.listed() == (company,)
    assert companies_of(store).listed() == (company,)
    assert companies.authenticate(first) == company
    await companies.create("Umbrella")


async def test_a_restriction_holds_even_if_it_could_not_be_kept_and_can_be_asked_for_again(
    companies, store
) -> None:
    company, api_key = await companies.create("Acme")
    store.down = True
    with pytest.raises(StoreUnavailableError):
        await companies.revoke(company.company_id, company.key_ids[0])
    assert companies.authenticate(api_key) is None
    store.down = False
    assert companies_of(store).authenticate(api_key) is not None
    await companies.revoke(company.company_id, company.key_ids[0])
    assert companies_of(store).authenticate(api_key) is None
    store.down = True
    with pytest.raises(StoreUnavailableError):
        await companies.delete(company.company_id)
    assert companies.find(company.company_id) is None
    store.down = False
    assert not await companies.delete(company.company_id)
    assert not store.companies


async def test_what_happens_while_a_key_waits_to_be_kept_is_not_undone(companies, store) -> None:
    company, first = await companies.create("Acme")
    store.acknowledge = trio.Event()
    with trio.CancelScope() as impatient:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(companies.rotate, company.company_id)
            nursery.start_soon(companies.create, "Umbrella")
            await trio.testing.wait_all_tasks_blocked()
            # While both wait: another takes the first key away, and deletes what is not even acknowledged.
            store.acknowledge, waiting = None, store.acknowledge
            await companies.revoke(company.company_id, company.key_ids[0])
            (umbrella,) = [found for found in companies.listed() if found.name == "Umbrella"]
            await companies.delete(umbrella.company_id)
            impatient.cancel()
            await waiting.wait()
    assert companies.authenticate(first) is None
    for seen in (companies, companies_of(store)):
        (left,) = seen.listed()
        assert (left.name, left.key_ids) == ("Acme", ())


async def test_a_company_deleted_while_its_new_key_waits_stays_deleted(companies, store) -> None:
    company, _ = await companies.create("Acme")
    store.acknowledge = trio.Event()
    with trio.CancelScope() as impatient:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(companies.rotate, company.company_id)
            await trio.testing.wait_all_tasks_blocked()
            store.acknowledge, waiting = None, store.acknowledge
            await companies.delete(company.company_id)
            impatient.cancel()
            await waiting.wait()
    assert not store.companies
    assert len(companies) == 0


async def test_a_record_of_an_older_server_is_read(store) -> None:
    store.companies["co-1"] = CompanyRecord("co-1", "Acme", datetime(2026, 1, 1, tzinfo=UTC))
    (company,) = companies_of(store).listed()
    assert (company.key_ids, company.limits) == ((), CompanyLimits())


async def test_deleting_forgets_the_figures_of_what_is_over(companies) -> None:
    company, _ = await companies.create("Acme")
    companies.usage.acquire(company.company_id, Resource.LOBBY)
    companies.usage.take_message(company.company_id)
    await companies.delete(company.company_id)
    assert companies.usage.of(company.company_id).held[Resource.LOBBY] == 1
    companies.usage.release(company.company_id, Resource.LOBBY)
    assert companies.usage.of(company.company_id).held[Resource.LOBBY] == 0
