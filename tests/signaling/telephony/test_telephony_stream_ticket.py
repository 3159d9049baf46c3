"""A ticket is good for its call, its parameters and its time, and for nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.telephony.stream_ticket import FIELD, VALID_SECONDS, is_valid, make_ticket

PARAMETERS = {"lobby": "support", "from": "+1415"}
NOW = 1_800_000_000
TICKET = make_ticket("secret", "CA1", PARAMETERS, NOW)


def test_a_ticket_is_good_for_two_minutes() -> None:
    for later, good in ((0, True), (VALID_SECONDS, True), (VALID_SECONDS + 1, False), (-1, False)):
        assert is_valid("secret", "CA1", PARAMETERS, TICKET, NOW + later) is good
    assert is_valid("secret", "CA1", {**PARAMETERS, FIELD: TICKET}, TICKET, NOW)
    assert is_valid("secret", "CA1", dict(reversed(PARAMETERS.items())), TICKET, NOW)


@pytest.mark.parametrize(
    ("secret", "call", "parameters"),
    [
        ("other", "CA1", PARAMETERS),
        ("secret", "CA2", PARAMETERS),
        ("secret", "CA1", {**PARAMETERS, "lobby": "board"}),
        ("secret", "CA1", {**PARAMETERS, "name": "Ada"}),
        ("secret", "CA1", {"lobby": "support"}),
    ],
)
def test_a_ticket_is_for_nothing_else(secret: str, call: str, parameters: dict[str, str]) -> None:
    assert not is_valid(secret, call, parameters, TICKET, NOW)


@given(st.text(max_size=80))
def test_no_text_but_the_ticket_is_one(text: str) -> None:
    assert is_valid("secret", "CA1", PARAMETERS, text, NOW) is (text == TICKET)
    assert not is_valid("secret", "CA1", PARAMETERS, f"{TICKET}{text}x", NOW)
    assert not is_valid("secret", "CA1", PARAMETERS, f"{NOW + 1}.{text}", NOW)
    # Another time under the same seal.
    assert not is_valid("secret", "CA1", PARAMETERS, f"{NOW + 9}.{TICKET.partition('.')[2]}", NOW)
