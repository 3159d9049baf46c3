"""Guessing: limited for each secret and each address, and no way to lock an owner out."""

from contextlib import suppress

import pytest
import trio
from cheap_passwords import cheap_passwords

from signaling.auth import (
    GuardedPasswords,
    PasswordFormatError,
    PasswordsBusyError,
    Rate,
    TooManyAttemptsError,
)

PER_SECRET = Rate(burst=4, per_second=0.1)
PER_ADDRESS = Rate(burst=6, per_second=0.1)


@pytest.fixture
def guarded() -> GuardedPasswords:
    return GuardedPasswords(cheap_passwords(), per_secret=PER_SECRET, per_address=PER_ADDRESS)


@pytest.fixture
async def kept(guarded) -> str:
    return await guarded.passwords.hash("right")


async def guesses(guarded, subject, kept, client, count) -> int:
    """Return how many of so many wrong guesses were compared."""
    compared = 0
    for _ in range(count):
        with suppress(TooManyAttemptsError):
            assert not (await guarded.verify(subject, kept, "wrong", client=client)).right
            compared += 1
    return compared


async def test_one_secret_is_guessed_slowly_from_however_many_addresses(guarded, kept, mock_clock) -> None:
    before = guarded.passwords.statistics().verified
    compared = [await guesses(guarded, "ada", kept, f"192.0.2.{index}", 1) for index in range(20)]
    assert sum(compared) == PER_SECRET.burst
    assert guarded.passwords.statistics().verified - before == PER_SECRET.burst
    assert guarded.refused == 16
    with pytest.raises(TooManyAttemptsError, match="try again in 10 s") as caught:
        await guarded.verify("ada", kept, "right", client="192.0.2.99")
    assert (caught.value.code, caught.value.retry_after_seconds) == ("rate_limited", pytest.approx(10))
    mock_clock.jump(10)
    assert await guesses(guarded, "ada", kept, "192.0.2.99", 5) == 1


async def test_one_address_guesses_slowly_at_however_many_secrets(guarded, kept, mock_clock) -> None:
    compared = [await guesses(guarded, index, kept, "192.0.2.1", 1) for index in range(20)]
    assert sum(compared) == PER_ADDRESS.burst
    assert await guesses(guarded, 0, kept, "192.0.2.2", 1) == 1
    mock_clock.jump(10)
    assert await guesses(guarded, 99, kept, "192.0.2.1", 5) == 1


async def test_an_ipv6_customer_is_one_address(guarded, kept, mock_clock) -> None:
    compared = [await guesses(guarded, index, kept, f"2001:db8::{index:x}", 1) for index in range(20)]
    assert sum(compared) == PER_ADDRESS.burst


async def test_guesses_at_what_is_not_there_count_for_the_address(guarded, mock_clock) -> None:
    compared = [await guesses(guarded, index, None, "192.0.2.1", 1) for index in range(20)]
    assert sum(compared) == PER_ADDRESS.burst


async def test_right_passwords_cost_nothing(guarded, kept, mock_clock) -> None:
    for _ in range(50):
        assert (await guarded.verify("ada", kept, "right", client="192.0.2.1")).right
    assert await guesses(guarded, "ada", kept, "192.0.2.2", 9) == PER_SECRET.burst


async def test_an_owner_is_not_locked_out_by_strangers(guarded, kept, mock_clock) -> None:
    assert (await guarded.verify("ada", kept, "right", client="192.0.2.1")).right
    for index in range(10):
        await guesses(guarded, "ada", kept, f"198.51.100.{index}", 1)
    with pytest.raises(TooManyAttemptsError):
        await guarded.verify("ada", kept, "right", client="198.51.100.200")
    assert (await guarded.verify("ada", kept, "right", client="192.0.2.1")).right
    # Having been the owner once is no licence to guess.
    assert await guesses(guarded, "ada", kept, "192.0.2.1", 20) == PER_SECRET.burst


async def test_owners_are_remembered_in_bounded_memory(mock_clock) -> None:
    guarded = GuardedPasswords(cheap_passwords(), per_secret=PER_SECRET, per_address=PER_ADDRESS, capacity=2)
    kept = await guarded.passwords.hash("right")
    for index in range(3):
        assert (await guarded.verify("ada", kept, "right", client=f"192.0.2.{index}")).right
    await guesses(guarded, "ada", kept, "198.51.100.1", PER_SECRET.burst)
    assert (await guarded.verify("ada", kept, "right", client="192.0.2.2")).right
    with pytest.raises(TooManyAttemptsError):
        await guarded.verify("ada", kept, "right", client="192.0.2.0")


async def test_many_guesses_at_once_get_no_more_than_many_in_turn(guarded, kept, mock_clock) -> None:
    before = guarded.passwords.statistics().verified
    async with trio.open_nursery() as nursery:
        for index in range(20):
            nursery.start_soon(guesses, guarded, "ada", kept, f"192.0.2.{index}", 1)
    assert guarded.passwords.statistics().verified - before == PER_SECRET.burst


async def test_what_was_not_compared_is_not_counted(kept, mock_clock) -> None:
    guarded = GuardedPasswords(
        cheap_passwords(threads=1, waiting=0), per_secret=PER_SECRET, per_address=PER_ADDRESS
    )
    busy = 0

    async def guess() -> None:
        nonlocal busy
        try:
            await guarded.verify("ada", kept, "wrong", client="192.0.2.1")
        except PasswordsBusyError:
            busy += 1

    async with trio.open_nursery() as nursery:
        for _ in range(PER_SECRET.burst):
            nursery.start_soon(guess)
    assert busy == PER_SECRET.burst - 1
    for _ in range(20):
        with pytest.raises(PasswordFormatError):
            await guarded.verify("ada", kept, "", client="192.0.2.1")
    assert await guesses(guarded, "ada", kept, "192.0.2.1", 9) == PER_SECRET.burst - 1
