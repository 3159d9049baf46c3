"""What is left out of logs and pages, what is not, and that any input at all is survived."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.printable import indented, one_line
from signaling.redaction import MAX_DEPTH, REDACTED, is_secret_key, redact, redact_text


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("postgresql://u:pw@host/db", "postgresql://u:***@host/db"),
        ("see https://u:p%40w@h:1/x?y=1 there", "see https://u:***@h:1/x?y=1 there"),
        ("/signal/peer/KEY", "/signal/peer/***"),
        ("GET /signal/peer/KEY?x=1 HTTP/1.1", "GET /signal/peer/***?x=1 HTTP/1.1"),
        ("/ws?token=abc&x=1", "/ws?token=***&x=1"),
        ("/ws?x=1&join_token=abc#f", "/ws?x=1&join_token=***#f"),
        ("?api_key=abc", "?api_key=***"),
        ("Authorization: Bearer abcdefgh", "Authorization: Bearer ***"),
        ("basic dXNlcjpwYXNz==", "basic ***"),
        ("a=ice-pwd:abcdefghijklmnopqrstuv\r\n", "a=ice-pwd:***\r\n"),
        ("got eyJhbGciOiJ9.eyJsb2JieS.c2ln x", "got *** x"),
        ("eyJhbGciOiJub25lIn0.eyJsb2JieSI6.", "***"),
    ],
)
def test_a_secret_in_a_text_is_told_by_what_stands_around_it(text: str, redacted: str) -> None:
    assert redact_text(text) == redacted
    assert redact_text(redacted) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "http://host:8080/x",
        "http://[::1]:80/",
        "a@b.example",
        "/signal/peer",
        "?lobby=a",
        "a basic need",
        "12:30",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact_text(text) == text


@pytest.mark.parametrize(
    "key",
    [
        "token", "resume_token", "resumeToken", "password", "password_hash", "secret", "token_secret", "api_key",
        "apikey", "X-Api-Key", "Authorization", "Set-Cookie", "credentials", "API_KEYS", "token_digest",
    ],
)  # fmt: skip
def test_keys_that_tell_of_secrets(key: str) -> None:
    assert is_secret_key(key)
    assert redact({key: "x"}) == {key: REDACTED}
    assert redact({key: {"a": "x"}}) == {key: REDACTED}


@pytest.mark.parametrize(
    "key", ["name", "token_count", "token_id", "tokenizer", "monkey", "key", "secretary", 7, None]
)
def test_keys_that_do_not(key: object) -> None:
    assert not is_secret_key(key)
    assert redact({key: "x"}) == {key: "x"}


@pytest.mark.parametrize("piece", ["a-", "eyJabcdefghi-", "&a", "a://a:", "/signal/", "bearer "])
def test_a_long_text_takes_time_in_proportion_to_its_length(piece: str) -> None:
    # With time that grows with the square this would take minutes.
    redact_text(piece * (300_000 // len(piece)))


def test_numbers_are_no_secrets() -> None:
    assert redact({"tokens": 3, "password": None, "secret": False}) == {
        "tokens": 3,
        "password": None,
        "secret": False,
    }


def test_what_is_nested_too_deep_is_left_out() -> None:
    value: object = "/signal/p/KEY"
    for _ in range(MAX_DEPTH + 2):
        value = [value]
    assert "KEY" not in str(redact(value))
    endless: list[object] = []
    endless.append(endless)
    assert REDACTED in str(redact(endless))


@given(st.recursive(st.none() | st.integers() | st.text() | st.binary(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))  # fmt: skip
def test_anything_is_survived(value: object) -> None:
    redact(value)


@given(st.text(st.characters(codec=None), max_size=50))
def test_a_printable_text_is_one_line_that_can_be_written(text: str) -> None:
    assert len(one_line(text).splitlines()) <= 1
    one_line(text).encode()
    assert all(line.startswith("    ") for line in indented(text).split("\n"))
    indented(text).encode()
    assert indented(text).count("\n") == text.count("\n")


def test_what_people_write_stays_as_it_is() -> None:
    text = 'Zoë said: "naïve" \\ 日本 🙂 שלום'
    assert one_line(text) == text
    assert one_line("a\x1b[31m\n") == "a\\x1b[31m\\n"
