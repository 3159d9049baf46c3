"""Protected names: who may use them, what takes one over, and what is left after a restart."""

from datetime import UTC, datetime

import pytest
import trio
from cheap_passwords import cheap_passwords
from kept_records import KeptRecords
from structlog.testing import capture_logs

from signaling.auth import (
    GuardedPasswords,
    NameRefusedError,
    NameVerdict,
    PasswordFormatError,
    PasswordParameters,
    Passwords,
    ProtectedNames,
    Rate,
    TooManyAttemptsError,
)
from signaling.storage import NameRecord, StoreUnavailableError

HERE = "192.0.2.1"


def names_of(store: KeptRecords, passwords: Passwords | None = None, **options) -> ProtectedNames:
    return ProtectedNames(
        store=store,
        guarded=GuardedPasswords(passwords or cheap_passwords()),
        records=store.names.values(),
        **options,
    )


@pytest.fixture
def store() -> KeptRecords:
    return KeptRecords()


@pytest.fixture
def names(store) -> ProtectedNames:
    return names_of(store)


async def test_a_free_name_is_anybodys(names) -> None:
    assert await names.check("Ada", None, client=HERE) is NameVerdict.FREE
    assert await names.check("Ada", "anything", client=HERE) is NameVerdict.FREE
    assert not names.is_protected("Ada")
    assert len(names) == 0


async def test_a_protected_name_needs_its_password(names) -> None:
    await names.protect("Ada", "secret")
    assert len(names) == 1
    assert names.is_protected("Ada")
    assert await names.check("Ada", None, client=HERE) is NameVerdict.PASSWORD_REQUIRED
    assert await names.check("Ada", "guess", client=HERE) is NameVerdict.WRONG
    assert await names.check("Ada", "secret", client=HERE) is NameVerdict.RIGHT


def test_only_the_right_password_takes_a_name_over() -> None:
    assert {verdict for verdict in NameVerdict if verdict.takes_over} == {NameVerdict.RIGHT}
    assert {verdict for verdict in NameVerdict if verdict.admits} == {NameVerdict.RIGHT, NameVerdict.FREE}


@pytest.mark.parametrize(
    "attempt",
    [
        "ada",
        " ADA ",
        "A\u200bda",
        "\u200eAda",
        "\u0410d\u0430",
        "\uff21\uff44\uff41",
        "Ada\ufe0f",
        "\u2060Ada",
        "Ad\u0430\u3164",
    ],
)
async def test_a_name_that_looks_the_same_is_the_same(names, attempt) -> None:
    await names.protect("Ada", "secret")
    assert await names.check(attempt, None, client=HERE) is NameVerdict.PASSWORD_REQUIRED
    assert await names.check(attempt, "wrong", client=HERE) is NameVerdict.WRONG
    assert await names.check(attempt, "secret", client=HERE) is NameVerdict.RIGHT


async def test_no_company_has_a_say_in_anothers_names(names) -> None:
    await names.protect("Ada", "secret", company_id="co-1")
    assert await names.check("Ada", None, client=HERE, company_id="co-1") is NameVerdict.PASSWORD_REQUIRED
    assert await names.check("Ada", None, client=HERE, company_id="co-2") is NameVerdict.FREE
    assert await names.check("Ada", None, client=HERE) is NameVerdict.FREE
    await names.protect("Ada", "other", company_id="co-2")
    assert await names.check("Ada", "secret", client=HERE, company_id="co-2") is NameVerdict.WRONG
    assert not await names.clear("Ada")
    assert await names.clear("Ada", company_id="co-2")
    assert [found.name for found in names.listed("co-1")] == ["Ada"]
    assert names.listed("co-2") == ()


async def test_a_name_that_is_not_protected_takes_the_same_work(store) -> None:
    passwords = cheap_passwords()
    names = names_of(store, passwords)
    await names.protect("Ada", "secret")
    for name in ("Ada", "Grace"):
        before = passwords.statistics().verified
        await names.check(name, "guess", client=HERE)
        assert passwords.statistics().verified == before + 1


async def test_guesses_are_limited_and_the_owner_gets_through(store, mock_clock) -> None:
    guarded = GuardedPasswords(cheap_passwords(), per_secret=Rate(3, 0.1), per_address=Rate(100, 1))
    names = ProtectedNames(store=store, guarded=guarded)
    await names.protect("Ada", "secret")
    assert await names.check("Ada", "secret", client=HERE) is NameVerdict.RIGHT
    verdicts = [
        await names.check("A\u200bda" if index else "Ada", "guess", client="198.51.100.1")
        for index in range(3)
    ]
    assert verdicts == [NameVerdict.WRONG] * 3
    for spelling in ("Ada", "ADA", "\u0410da"):
        with pytest.raises(TooManyAttemptsError):
            await names.check(spelling, "secret", client="198.51.100.1")
    assert await names.check("Ada", "secret", client=HERE) is NameVerdict.RIGHT
    assert await names.check("Ada", None, client="198.51.100.1") is NameVerdict.PASSWORD_REQUIRED


async def test_a_new_password_replaces_the_old(names) -> None:
    await names.protect("Ada", "first")
    await names.protect("ADA", "second")
    assert [found.name for found in names.listed()] == ["ADA"]
    assert await names.check("Ada", "first", client=HERE) is NameVerdict.WRONG
    assert await names.check("Ada", "second", client=HERE) is NameVerdict.RIGHT


async def test_clearing_frees_it(names, store) -> None:
    await names.protect("Ada", "secret")
    assert await names.clear("ada")
    assert await names.check("Ada", None, client=HERE) is NameVerdict.FREE
    assert not await names.clear("ada")
    assert not store.names


async def test_a_companys_names_go_together(names, store) -> None:
    for name in ("Ada", "Grace"):
        await names.protect(name, "secret", company_id="co-1")
    await names.protect("Ada", "secret")
    assert await names.clear_company("co-1") == 2
    assert await names.clear_company("co-1") == 0
    assert len(names) == 1
    assert list(store.names) == [("", "ada")]


async def test_what_was_acknowledged_is_there_after_a_restart(names, store) -> None:
    await names.protect("Ada", "secret")
    await names.protect("Grace", "secret", company_id="co-1")
    again = names_of(store)
    assert len(again) == 2
    assert await again.check("ada", "secret", client=HERE) is NameVerdict.RIGHT
    assert await again.check("grace", None, client=HERE, company_id="co-1") is NameVerdict.PASSWORD_REQUIRED
    (record,) = [record for record in store.names.values() if not record.company_id]
    assert "secret" not in repr(record)


async def test_protecting_is_acknowledged_only_when_it_is_kept(names, store) -> None:
    store.acknowledge = trio.Event()
    acknowledged = False

    async def protect() -> None:
        nonlocal acknowledged
        await names.protect("Ada", "secret")
        acknowledged = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(protect)
        with trio.fail_after(30):
            while not names.is_protected("Ada"):
                await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        assert not acknowledged
        store.acknowledge.set()
    assert acknowledged


async def test_with_the_store_down_the_name_holds_and_nobody_is_told_that_it_is_kept(names, store) -> None:
    store.down = True
    with pytest.raises(StoreUnavailableError):
        await names.protect("Ada", "secret")
    assert await names.check("Ada", None, client=HERE) is NameVerdict.PASSWORD_REQUIRED
    store.down = False
    await names.protect("Ada", "secret")
    store.down = True
    with pytest.raises(StoreUnavailableError):
        await names.clear("Ada")
    assert store.names
    store.down = False
    assert not await names.clear("Ada")  # asked again, as the error says
    assert not store.names


async def test_an_old_hash_is_renewed_and_kept(store) -> None:
    await names_of(store).protect("Ada", "secret")
    stronger = names_of(store, Passwords(PasswordParameters(memory_kib=16, iterations=1)))
    assert await stronger.check("Ada", "secret", client=HERE) is NameVerdict.RIGHT
    (record,) = store.names.values()
    assert "$m=16,t=1,p=1$" in record.password_hash
    assert await stronger.check("Ada", "secret", client=HERE) is NameVerdict.RIGHT
    assert await names_of(store).check("Ada", "secret", client=HERE) is NameVerdict.RIGHT


class _Interrupted(Passwords):
    """Does something else while the first password is compared, as another task may."""

    meanwhile = None

    async def verify(self, password_hash, password_untrusted):
        verification = await super().verify(password_hash, password_untrusted)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return verification


async def test_an_answer_about_a_password_that_was_changed_meanwhile_does_not_count(store) -> None:
    passwords = _Interrupted(PasswordParameters(memory_kib=8, iterations=1))
    names = names_of(store, passwords)
    await names.protect("Ada", "old")
    passwords.meanwhile = lambda: names.protect("Ada", "new")
    assert await names.check("Ada", "old", client=HERE) is NameVerdict.WRONG
    passwords.meanwhile = lambda: names.clear("Ada")
    assert await names.check("Ada", "wrong", client=HERE) is NameVerdict.FREE
    passwords.meanwhile = lambda: names.protect("Ada", "mine")
    assert await names.check("Ada", "guess", client=HERE) is NameVerdict.WRONG


@pytest.mark.parametrize("name", ["", "   ", "x" * 65, "a\nb", "\u202eadA", "\u200b\u200d", "\u3164"])
async def test_what_cannot_be_a_name_is_not_protected(names, name) -> None:
    with pytest.raises(NameRefusedError, match="name") as caught:
        await names.protect(name, "secret")
    assert (caught.value.code, caught.value.field) == ("invalid_message", "name")
    assert len(names) == 0


async def test_what_cannot_be_a_password_protects_nothing(names) -> None:
    for password in ("", "x" * 257):
        with pytest.raises(PasswordFormatError):
            await names.protect("Ada", password)
        with pytest.raises(PasswordFormatError):
            await names.check("Ada", password, client=HERE)
    assert len(names) == 0


async def test_names_are_bounded(store) -> None:
    names = names_of(store, max_names=1)
    await names.protect("Ada", "secret")
    await names.protect("ada", "other")
    with pytest.raises(NameRefusedError, match="clear some") as caught:
        await names.protect("Grace", "secret")
    assert caught.value.code == "at_capacity"


async def test_keys_are_made_anew_when_the_rules_have_changed(store) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    kept = await cheap_passwords().hash("secret")
    store.names["", "alice"] = NameRecord("alice", "Alice", kept, at)
    store.names["", "AIice"] = NameRecord("AIice", "AIice", kept, at.replace(year=2027))
    with capture_logs() as logged:
        names = names_of(store)
    assert [line["log_level"] for line in logged] == ["warning"]
    assert [found.name for found in names.listed()] == ["Alice"]
    await names.protect("alice", "new")
    assert sorted(store.names) == [("", "AIice"), ("", "allce")]
    store.names["", "alice"] = NameRecord("alice", "Alice", kept, at)
    del store.names["", "allce"], store.names["", "AIice"]
    assert await names_of(store).clear("Alice")
    assert not store.names
