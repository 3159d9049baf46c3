"""docs/auth.md says what the code does: its example makes a token, its tables are complete, its figures are true."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from signaling.auth import CompanyLimits, Tokens, key_from_secret
from signaling.auth.admin import ATTEMPTS, MIN_TOKEN_LENGTH
from signaling.auth.companies import MAX_KEYS
from signaling.auth.guarded_passwords import PER_ADDRESS, PER_SECRET
from signaling.auth.passwords import MAX_PASSWORD_LENGTH, THREADS, WAITING
from signaling.auth.tokens import DEFAULT_LEEWAY_SECONDS, MAX_IDENTITY_LENGTH, _Claims

PAGE = Path(__file__).parents[3] / "docs" / "auth.md"
SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def first_cells(page: str, header: str) -> list[str]:
    """Return the words in code font of the first column of the table that begins so."""
    rows = page.split(header, 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]


def test_the_example_makes_a_token_that_is_accepted(page) -> None:
    (source,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    namespace: dict[str, object] = {}
    exec(compile(source, str(PAGE), "exec"), namespace)
    token = namespace["join_token"](SECRET)
    tokens = Tokens(key_from_secret(SECRET), is_company=lambda _: False)
    grants = tokens.verify(token, datetime.now(UTC))
    assert (grants.lobby, grants.name, grants.can_chat, grants.can_publish) == ("garden", "Ada", False, True)


def test_every_claim_is_listed(page) -> None:
    told = set(first_cells(page, "| claim |"))
    assert told == set(_Claims.model_fields) - {"iat"}


def test_every_limit_is_listed_with_its_default(page) -> None:
    assert first_cells(page, "| limit |") == list(CompanyLimits.model_fields)
    for name, value in CompanyLimits().model_dump().items():
        assert f"| `{name}` | {value} |" in page


def test_the_figures_are_those_of_the_code(page) -> None:
    text = " ".join(page.split())
    assert f"for each name ({PER_SECRET.burst} at once, then one in {1 / PER_SECRET.per_second:g} s)" in text
    assert f"each address ({PER_ADDRESS.burst} at once, then one in {1 / PER_ADDRESS.per_second:g} s;" in text
    assert f"(1 to {MAX_PASSWORD_LENGTH} characters" in text
    assert (THREADS, WAITING, MAX_KEYS, ATTEMPTS.burst) == (2, 64, 5, 10)
    assert f"`RELAY_ADMIN_TOKEN` (at least {MIN_TOKEN_LENGTH} characters" in text
    assert f"{1 / ATTEMPTS.per_second:g} s for each further try" in text
    assert f"`RELAY_TOKEN_LEEWAY_SECONDS` ({DEFAULT_LEEWAY_SECONDS:g})" in text
    assert f"up to {MAX_IDENTITY_LENGTH} characters" in text
