"""Password hashes: right, wrong, renewed, bounded, and no more of them at once than allowed."""

import resource
from contextlib import suppress
from pathlib import Path

import argon2
import pytest
import trio
from cheap_passwords import CHEAP, cheap_passwords
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from signaling.auth import (
    PasswordFormatError,
    PasswordParameters,
    Passwords,
    PasswordsBusyError,
    Verification,
)
from signaling.auth.passwords import MAX_PASSWORD_LENGTH, prepare_password


async def test_a_hash_is_argon2id_and_matches_its_password_only() -> None:
    passwords = cheap_passwords()
    first, second = [await passwords.hash("correct horse") for _ in range(2)]
    assert first.startswith("$argon2id$v=19$m=8,t=1,p=1$")
    assert first != second
    assert await passwords.verify(first, "correct horse") == Verification(right=True)
    assert await passwords.verify(first, "correct horsf") == Verification(right=False)
    assert passwords.statistics().hashed == 2
    assert passwords.statistics().verified == 2


async def test_the_defaults_are_those_of_owasp() -> None:
    parameters = argon2.extract_parameters(await Passwords().hash("x"))
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (19 * 1024, 2, 1)
    assert parameters.type is argon2.Type.ID


async def test_nobodys_hash_costs_what_a_real_one_costs_and_matches_nothing() -> None:
    passwords = cheap_passwords()
    assert argon2.extract_parameters(passwords._nobodys_hash) == argon2.extract_parameters(
        await passwords.hash("x")
    )
    assert await passwords.verify(None, "x") == Verification(right=False)
    assert passwords.statistics().verified == 1
    assert passwords._nobodys_hash != cheap_passwords()._nobodys_hash


async def test_a_hash_of_other_parameters_is_renewed_when_the_password_is_right() -> None:
    old = await cheap_passwords().hash("secret")
    stronger = Passwords(PasswordParameters(memory_kib=16, iterations=2))
    verification = await stronger.verify(old, "secret")
    assert verification.right
    assert verification.renewed_hash is not None
    assert "$m=16,t=2,p=1$" in verification.renewed_hash
    assert await stronger.verify(verification.renewed_hash, "secret") == Verification(right=True)
    assert await stronger.verify(old, "wrong") == Verification(right=False)


@pytest.mark.parametrize(
    "damaged", ["", "secret", "$2b$12$abc", "$argon2id$nonsense", "$argon2id$v=19$m=8,t=1,p=1$é$x"]
)
async def test_a_damaged_hash_matches_nothing(damaged) -> None:
    passwords = cheap_passwords()
    with capture_logs() as logged:
        assert not (await passwords.verify(damaged, "secret")).right
    assert [line["log_level"] for line in logged] == ["error"]
    assert "secret" not in str(logged)


async def test_it_does_not_matter_how_an_accent_was_typed() -> None:
    passwords = cheap_passwords()
    assert (await passwords.verify(await passwords.hash("caf\u00e9"), "cafe\u0301")).right


@pytest.mark.parametrize(
    "password", ["", "x" * (MAX_PASSWORD_LENGTH + 1), "x" * 10_000_000, "\ufdfa" * 200, "\ud800"]
)
async def test_what_cannot_be_a_password_is_refused_before_any_work(password) -> None:
    passwords = cheap_passwords()
    for use in (passwords.hash(password), passwords.verify(None, password)):
        with pytest.raises(PasswordFormatError, match=r"character") as caught:
            await use
        assert (caught.value.code, caught.value.field) == ("invalid_message", "password")
    assert passwords.statistics() == cheap_passwords().statistics()


async def test_the_longest_password_counts_to_its_last_character() -> None:
    passwords = cheap_passwords()
    longest = "\u00e4" * MAX_PASSWORD_LENGTH
    kept = await passwords.hash(longest)
    assert (await passwords.verify(kept, longest)).right
    assert not (await passwords.verify(kept, longest[:-1])).right
    assert not (await passwords.verify(kept, longest[:-1] + "a")).right


@given(st.text(max_size=300))
def test_any_text_is_a_password_or_the_documented_error(text) -> None:
    with suppress(PasswordFormatError):
        assert prepare_password(text).decode()


async def test_a_flood_is_refused_beyond_the_few_that_may_wait() -> None:
    passwords = cheap_passwords(threads=1, waiting=2)
    outcomes: list[str] = []

    async def guess() -> None:
        try:
            await passwords.verify(None, "x")
        except PasswordsBusyError as error:
            outcomes.append(error.code)
        else:
            outcomes.append("compared")

    # All are started in one step of the loop, before any thread can report back.
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(guess)
    assert sorted(outcomes) == ["at_capacity"] * 7 + ["compared"] * 3
    statistics = passwords.statistics()
    assert (statistics.refused, statistics.verified, statistics.pending) == (7, 3, 0)
    assert await passwords.hash("x")  # and it is over when it is over


async def test_a_hash_refused_counts_and_leaves_no_place_taken() -> None:
    passwords = cheap_passwords(threads=1, waiting=0)
    refused = 0

    async def make() -> None:
        nonlocal refused
        try:
            await passwords.hash("x")
        except PasswordsBusyError:
            refused += 1

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(make)
    assert refused == 2
    assert passwords.statistics().pending == 0


async def test_who_goes_away_while_waiting_leaves_the_place() -> None:
    passwords = cheap_passwords(threads=1, waiting=5)
    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(passwords.verify, None, "x")
        await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert passwords.statistics().pending == 0


@pytest.fixture
def little_memory():
    """Allow this process half a gigabyte of addresses more than it has."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**29, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


async def test_without_memory_passwords_are_refused_for_a_while(little_memory) -> None:
    hungry = Passwords(PasswordParameters(memory_kib=2**20, iterations=1))
    with pytest.raises(PasswordsBusyError, match="try again"):
        await hungry.hash("x")
    with pytest.raises(PasswordsBusyError, match="try again"):
        await hungry.verify(None, "x")
    assert hungry.statistics().pending == 0
    kept = await cheap_passwords().hash("x")
    # It cannot be renewed, and is right all the same.
    assert await hungry.verify(kept, "x") == Verification(right=True)


def test_cheap_is_for_tests_only() -> None:
    assert PasswordParameters() != CHEAP
