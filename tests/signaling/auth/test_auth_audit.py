"""The audit log: durable, one line an entry whatever is in it, bounded, without secrets."""

import json
import math
import unicodedata
from datetime import UTC, datetime

import pytest
from cheap_passwords import cheap_passwords
from hypothesis import given, settings
from hypothesis import strategies as st
from kept_records import KeptRecords
from structlog.testing import capture_logs

from signaling.auth import AuditLog
from signaling.auth.api_keys import new_api_key
from signaling.auth.audit import HIDDEN, LEFT_OUT, MAX_TEXT_LENGTH, safe_detail, safe_text

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def store() -> KeptRecords:
    return KeptRecords()


@pytest.fixture
def audit(store) -> AuditLog:
    return AuditLog(store, clock=lambda: NOW)


async def test_an_action_is_stored_and_logged(audit, store) -> None:
    with capture_logs() as logged:
        assert await audit.record("admin@192.0.2.1", "kick", "s-1", {"reason": "spam"}, "c-0a1b2c3d")
    (entry,) = await store.audit_before(before=None, limit=10)
    assert (entry.at, entry.actor, entry.action, entry.target) == (NOW, "admin@192.0.2.1", "kick", "s-1")
    assert (entry.detail, entry.correlation_id) == ({"reason": "spam"}, "c-0a1b2c3d")
    assert logged == [
        {
            "event": "admin action",
            "log_level": "info",
            "actor": "admin@192.0.2.1",
            "action": "kick",
            "target": "s-1",
            "detail": {"reason": "spam"},
            "correlation_id": "c-0a1b2c3d",
        }
    ]
    assert (audit.recorded, audit.undurable) == (1, 0)


async def test_with_the_store_down_the_log_has_it_and_the_caller_is_told(audit, store) -> None:
    store.down = True
    with capture_logs() as logged:
        assert not await audit.record("admin", "drain", "server")
    assert [line["log_level"] for line in logged] == ["info", "error"]
    assert [line["action"] for line in logged] == ["drain", "drain"]
    assert "database" in logged[1]["reason"]
    assert (audit.recorded, audit.undurable) == (1, 1)


async def test_nothing_in_an_entry_can_forge_another(audit, store) -> None:
    evil = "s-1\r\n2026-01-31 admin action actor=nobody \x1b[2J\u2028\u202ekcik\x00\ud800"
    with capture_logs() as logged:
        await audit.record(evil, evil, evil, {evil: evil, "list": [evil], "deep": {"a": evil}}, evil)
    (entry,) = store.audit
    for text in (
        entry.actor,
        entry.action,
        entry.target,
        entry.correlation_id,
        json.dumps(entry.detail),
        repr(logged),
    ):
        assert text.isprintable()
    assert "s-1\\u000d\\u000a2026" in entry.target


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "newPassword",
        "passwd",
        "secret",
        "token",
        "resume_token",
        "api_key",
        "apiKey",
        "Authorization",
        "cookie",
        "private_key",
        "password_hash",
    ],
)
def test_what_is_called_a_secret_is_not_recorded(name) -> None:
    for value in ("hunter2", ["hunter2"], {"a": "hunter2"}, 12345):
        assert safe_detail({name: value, "also": {name: value}}) == {name: HIDDEN, "also": {name: HIDDEN}}


async def test_what_looks_like_a_secret_is_not_recorded_wherever_it_is() -> None:
    api_key = new_api_key()
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl"
    password_hash = await cheap_passwords().hash("x")
    pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAw\n-----END PRIVATE KEY-----"
    for secret in (api_key, token, password_hash, pem):
        text = f"used {secret} for it"
        assert secret not in safe_text(text)
        assert HIDDEN in safe_text(text)
        assert secret not in json.dumps(
            safe_detail({"note": text, "list": [secret], secret: 1, "b": secret.encode()})
        )
        # Not even the beginning of it, where a long text is cut.
        assert secret[:12] not in safe_text("x " * 95 + secret + "x" * 1000)


def test_long_texts_are_cut_and_large_details_left_out() -> None:
    assert safe_text("x" * MAX_TEXT_LENGTH) == "x" * MAX_TEXT_LENGTH
    assert safe_text("x" * 10_000_000) == "x" * MAX_TEXT_LENGTH + "..."
    large = {f"key{index}": "x" * 1000 for index in range(1000)}
    assert len(json.dumps(safe_detail(large))) < 10_000
    assert safe_detail({"list": list(range(1000))})["list"][-1] == LEFT_OUT
    deep: dict[str, object] = {}
    for _ in range(5000):
        deep = {"deeper": deep}
    assert LEFT_OUT in json.dumps(safe_detail(deep))
    assert len(json.dumps(safe_detail({"wide": [["x" * 200] * 32] * 32}))) < 20_000


def test_values_json_has_no_word_for_are_recorded_as_text() -> None:
    detail = safe_detail(
        {
            "a": math.nan,
            "b": math.inf,
            "c": 10**5000,
            "d": NOW,
            "e": None,
            "f": True,
            "g": 1.5,
            "h": (1, 2),
            7: b"x",
        }
    )
    assert json.loads(json.dumps(detail, allow_nan=False)) == detail
    assert detail["c"] == LEFT_OUT
    assert (detail["e"], detail["f"], detail["g"], detail["h"], detail["7"]) == (
        None,
        True,
        1.5,
        [1, 2],
        HIDDEN,
    )


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(max_examples=50)
@given(st.dictionaries(st.text(), anything, max_size=4))
def test_any_detail_becomes_bounded_printable_json(detail) -> None:
    written = json.dumps(safe_detail(detail), allow_nan=False, ensure_ascii=False)
    assert len(written.splitlines()) == 1
    assert not {unicodedata.category(character) for character in written} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert len(written) < 20_000


@given(st.text(max_size=500))
def test_a_safe_text_is_one_line_of_bounded_length(text) -> None:
    shown = safe_text(text)
    assert len(shown) <= MAX_TEXT_LENGTH + 3
    assert len(shown.splitlines()) <= 1
