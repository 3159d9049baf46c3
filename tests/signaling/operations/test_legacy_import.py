"""The old server's file becomes records: what is imported, what is not and why, and never half of it."""

import hashlib
import json
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from kept_in_lists import KeptInLists
from typer.testing import CliRunner

from signaling.legacy import is_legacy, verify_legacy
from signaling.legacy.command import SHOWN_LINES, make_import_command, report_lines
from signaling.legacy.importer import import_into, most_changes
from signaling.legacy.passwords import PBKDF2_ROUNDS, wrap_legacy
from signaling.legacy.plan import ImportPlan
from signaling.legacy.sessions_file import LegacyFileError, read_sessions_file
from signaling.storage import AddChat, PutLobby, PutName, PutSession

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SALT = "00112233445566778899aabbccddeeff"
DIGEST = hashlib.sha256(bytes.fromhex(SALT) + b"sesame").hexdigest()
ADA, GRACE, BOB = "a" * 32, "b" * 32, "c" * 32

WHOLE = {
    "sessions": [
        {
            "id": ADA,
            "name": "Ada",
            "created_at": 1_700_000_000,
            "last_used": 1_700_000_100.5,
            "lobbies": [
                {"id": "x1", "name": "den", "private": True},
                {"id": "x2", "name": "hall", "private": False},
            ],
        },
        {"id": GRACE, "name": "Grace", "lobbies": [{"id": "x2", "name": "hall"}]},
        {"id": BOB, "name": "Bob", "displaced": True},
    ],
    "name_passwords": {"Ada": {"salt": SALT, "hash": DIGEST}},
    "lobbies": [
        {
            "id": "x2",
            "name": "hall",
            "created_at": "2024-05-06T07:08:09Z",
            "chat": [
                {"sender_name": "Grace", "message": "second", "timestamp": 1_700_000_002_000},
                {"sender_name": "Ada", "message": "first", "timestamp": 1_700_000_001},
            ],
        }
    ],
}


def encoded(content: object) -> bytes:
    return json.dumps(content).encode()


async def imported(
    content: object, store: KeptInLists | None = None, **options
) -> tuple[KeptInLists, ImportPlan]:
    store = store or KeptInLists()
    plan = await import_into(store, read_sessions_file(encoded(content)), now=NOW, **options)
    return store, plan


async def test_a_whole_file_is_imported_in_one_commit() -> None:
    store, plan = await imported(WHOLE)
    assert len(store.commits) == 1
    assert (plan.names, plan.lobbies, plan.chat_lines, plan.sessions) == (1, 2, 2, 2)
    assert len(store.commits[0]) == 7 <= most_changes(read_sessions_file(encoded(WHOLE)))
    (name,) = [change.name for change in store.of(PutName)]
    assert (name.key, name.name, name.protected_at) == ("ada", "Ada", NOW)
    assert is_legacy(name.password_hash)
    assert verify_legacy(name.password_hash, "sesame")
    den, hall = sorted((change.lobby for change in store.of(PutLobby)), key=lambda lobby: lobby.name)
    assert (den.private, hall.private) == (True, False)
    assert den.persistent
    assert hall.created_at == datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
    assert [(line.seq, line.name, line.text) for line in store.chat] == [
        (1, "Ada", "first"),
        (2, "Grace", "second"),
    ]
    assert store.chat[1].sent_at == datetime.fromtimestamp(1_700_000_002, UTC)
    assert {line.lobby_id for line in store.chat} == {hall.lobby_id}
    sessions = {change.session.token_digest: change.session for change in store.of(PutSession)}
    ada, grace = (sessions[hashlib.sha256(one.encode()).digest()] for one in (ADA, GRACE))
    assert ada.name is None, "a protected name is not given to who merely knows an old id"
    assert grace.name == "Grace"
    assert ada.created_at == datetime.fromtimestamp(1_700_000_000, UTC)
    assert ada.last_seen_at == NOW
    assert ada.lobby_id is None
    assert plan.skipped == ["sessions[2]: somebody else has taken its name over"]
    assert plan.notes == [
        "lobby 'den' is private: enter it with a join token, or set a password as administrator"
    ]


async def test_importing_twice_is_importing_once() -> None:
    store, _ = await imported(WHOLE)
    store, again = await imported(WHOLE, store)
    assert len(store.commits) == 1
    assert (again.names, again.lobbies, again.sessions, again.changes) == (0, 0, 0, [])
    told = "\n".join(again.skipped)
    assert "the name 'Ada' is protected already" in told
    assert "there is a lobby 'hall' already" in told
    assert "sessions[1]: it is here already" in told


async def test_a_dry_run_says_the_same_and_changes_nothing() -> None:
    store, plan = await imported(WHOLE, dry_run=True)
    assert not store.commits
    assert (plan.names, plan.lobbies, plan.sessions) == (1, 2, 2)
    assert next(report_lines(plan, dry_run=True)).startswith(
        "Would import 1 protected names, 2 lobbies with 2 lines"
    )


async def test_other_shapes_of_the_file() -> None:
    store, plan = await imported([{"id": ADA, "name": "Ada", "lobbies": [{"name": "hall"}]}])
    assert (plan.sessions, plan.lobbies, plan.skipped) == (1, 1, [])
    by_id = {
        "sessions": {ADA: {"name": "Ada"}},
        "lobbies": {"x1": {"name": "den", "private": True}},
        "nameToPassword": {"Ada": {"salt": SALT, "hash": DIGEST.upper()}},
    }
    store, plan = await imported(by_id)
    assert (plan.sessions, plan.lobbies, plan.names, plan.skipped) == (1, 1, 1, [])
    assert verify_legacy(store.of(PutName)[0].name.password_hash, "sesame")
    for empty in ([], {}, {"sessions": []}):
        assert (await imported(empty))[1].changes == []


async def test_lobbies_of_one_name_become_one_and_the_stricter_holds() -> None:
    lobbies = [{"id": "x1", "name": "den"}, {"id": "x2", "name": " den ", "private": True}]
    store, plan = await imported({"lobbies": lobbies})
    (lobby,) = [change.lobby for change in store.of(PutLobby)]
    assert lobby.private
    assert plan.notes[0] == "2 lobbies are named 'den'; they become one"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([3], "sessions[0]: the number 3, expected an object"),
        ([{"name": "Ada"}], "sessions[0].id: missing, expected a text"),
        ([{"id": "short", "name": "Ada"}], "sessions[0]: its id is shorter than 16 characters and could be guessed"),
        ([{"id": ADA, "is_bot": True}], "sessions[0]: it is a bot's; bots come back by themselves"),
        ([{"id": ADA, "name": 7}], "sessions[0].name: the number 7, expected a text; imported without a name"),
        ([{"id": ADA, "name": "x" * 65}], f"sessions[0]: '{'x' * 40}' cannot be used here: String should have at most"),
        ([{"id": ADA, "lobbies": 3}], "sessions[0].lobbies: the number 3, expected a list"),
        ([{"id": ADA, "lobbies": [{"id": "x"}]}], "sessions[0].lobbies[0].name: missing, expected a text"),
        ([{"id": ADA, "created_at": "soon"}], "sessions[0]: 'soon' is no time; left out"),
        ([{"id": ADA, "created_at": -5}], "sessions[0]: '-5' is no time; left out"),
        ({"lobbies": [{"name": "a\u202eb"}]}, "must not contain the control character U+202E"),
        ({"lobbies": [{"name": "den", "private": "no"}]}, "lobbies[0].private: the text 'no', expected true or false"),
        ({"lobbies": [{"name": "den", "chat": [{"name": "Ada"}]}]}, "lobbies[0].chat[0]: has no text"),
        ({"lobbies": [{"name": "den", "chat": ["hi"]}]}, "lobbies[0].chat[0]: the text 'hi', expected an object"),
        ({"lobbies": [{"name": "den", "chat": [{"name": "A", "text": "\x00"}]}]}, "line 1 of its chat: '\\x00' cannot"),
        ({"name_passwords": {"Ada": {"hash": DIGEST}}}, "name_passwords['Ada'].salt: missing, expected a text"),
        ({"name_passwords": {"Ada": {"salt": "s", "hash": "abc"}}}, "name_passwords['Ada']: the hash is not 64"),
        ({"name_passwords": {"Ada": "sesame"}}, "name_passwords['Ada']: the text 'sesame', expected an object"),
        ({"name_passwords": {" ": {"salt": "s", "hash": DIGEST}}}, "name_passwords[' ']: ' ' cannot be used here"),
        ({"name_passwords": {"Ada": {"salt": "s" * 300, "hash": DIGEST}}}, "the salt is longer than 256"),
        ({"name_passwords": [1]}, "name_passwords: a list, expected an object of names"),
        (
            {"name_passwords": {"Ada": {"salt": "s", "hash": DIGEST}, "ADA": {"salt": "s", "hash": DIGEST}}},
            "name_passwords['ADA']: the name 'ADA' is protected already",
        ),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_left_out_and_told(content: object, told: str) -> None:
    _, plan = await imported(content)
    assert any(told in line for line in plan.skipped), plan.skipped


async def test_one_fault_costs_nothing_beside_it() -> None:
    _, plan = await imported([{"id": ADA, "lobbies": [None, {"name": "hall"}]}, None, {"id": GRACE}])
    assert (plan.sessions, plan.lobbies, len(plan.skipped)) == (2, 1, 2)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"sessions": [\n {"id": 1,}]}', "not valid JSON: line 2, column"),
        (b'{"sessions": [', "the file ends there: is it whole?"),
        (b"", "the file ends there"),
        (b"\xff\xfe", "byte 0 is not UTF-8"),
        (b'"text"', "the file holds the text 'text'; expected a list of sessions"),
        (b"null", "the file holds nothing"),
        (b'{"users": []}', "none of its keys is known ('users')"),
        (b"[" * 100_000, "not a sessions file"),
        (b"[" + b"9" * 10_000 + b"]", "not a sessions file"),
    ],
)
def test_a_file_that_is_none_is_one_error_with_its_place(content: bytes, told: str) -> None:
    with pytest.raises(LegacyFileError) as caught:
        read_sessions_file(content)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("a" * 32),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "sessions",
                    "lobbies",
                    "name_passwords",
                    "id",
                    "name",
                    "chat",
                    "text",
                    "salt",
                    "hash",
                    "private",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(json_values)
async def test_any_json_is_read_or_refused(content: object) -> None:
    try:
        old = read_sessions_file(json.dumps(content).encode())
    except LegacyFileError:
        return
    store = KeptInLists()
    plan = await import_into(store, old, now=NOW)
    assert sum(map(len, store.commits)) == plan.names + plan.lobbies + plan.chat_lines + plan.sessions
    assert len(plan.changes) <= most_changes(old)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with suppress(LegacyFileError):
        read_sessions_file(content)


# Passwords.


@pytest.mark.parametrize(
    "digest",
    [
        hashlib.sha256(bytes.fromhex(SALT) + b"sesame").hexdigest(),
        hashlib.sha256(b"sesame" + bytes.fromhex(SALT)).hexdigest(),
        hashlib.sha256(f"{SALT}sesame".encode()).hexdigest(),
        hashlib.sha256(f"sesame{SALT}".encode()).hexdigest(),
        hashlib.pbkdf2_hmac("sha256", b"sesame", bytes.fromhex(SALT), PBKDF2_ROUNDS).hex(),
    ],
)
def test_a_password_is_right_however_the_old_server_salted_it(digest: str) -> None:
    stored = wrap_legacy(SALT, digest)
    assert stored.startswith("legacy-sha256$")
    assert verify_legacy(stored, "sesame")
    assert not verify_legacy(stored, "Sesame")
    assert not verify_legacy(stored, "")


def test_a_salt_may_hold_any_character() -> None:
    for salt in ("a$b", "$", "salt with spaces", "sälz"):
        stored = wrap_legacy(salt, hashlib.sha256(f"{salt}sesame".encode()).hexdigest())
        assert verify_legacy(stored, "sesame")


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "legacy-sha256$",
        "legacy-sha256$salt",
        f"legacy-sha256$salt${DIGEST[:-1]}",
        "$argon2id$v=19$m=1,t=1,p=1$a$b",
    ],
)
def test_what_is_no_hash_of_the_old_server_s_matches_nothing(stored: str) -> None:
    assert not verify_legacy(stored, "sesame")
    assert not verify_legacy(stored, "\ud800")


# The command.


def command_with(store: KeptInLists) -> typer.Typer:
    @asynccontextmanager
    async def open_store(settings, room):
        assert room >= 0
        yield store

    app = typer.Typer()
    app.callback()(lambda: None)
    app.command("import")(make_import_command(open_store))
    return app


def test_the_command_says_what_it_did(tmp_path: Path) -> None:
    file, store = tmp_path / "sessions.json", KeptInLists()
    file.write_bytes(encoded(WHOLE))
    dry = CliRunner().invoke(command_with(store), ["import", "--dry-run", str(file)])
    assert dry.exit_code == 0, dry.output
    assert not store.commits
    done = CliRunner().invoke(command_with(store), ["import", str(file), "--database", "memory:"])
    assert done.exit_code == 0
    assert done.output.splitlines() == [
        "Imported 1 protected names, 2 lobbies with 2 lines of chat, 2 sessions; 1 skipped.",
        "Note: lobby 'den' is private: enter it with a join token, or set a password as administrator",
        "Skipped: sessions[2]: somebody else has taken its name over",
    ]
    assert len(store.of(AddChat)) == 2


@pytest.mark.parametrize(
    ("content", "status", "told"),
    [
        (None, 1, "cannot read"),
        (b"{", 1, "sessions.json: not valid JSON: line 1, column 2"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(
    tmp_path: Path, content: bytes | None, status: int, told: str
) -> None:
    file = tmp_path / "sessions.json"
    if content is not None:
        file.write_bytes(content)
    result = CliRunner().invoke(command_with(KeptInLists()), ["import", str(file)])
    assert result.exit_code == status
    assert told in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_database_that_does_not_take_it_imports_nothing_and_says_so(tmp_path: Path) -> None:
    file, store = tmp_path / "sessions.json", KeptInLists(fault="the disk is full")
    file.write_bytes(encoded(WHOLE))
    result = CliRunner().invoke(command_with(store), ["import", str(file)])
    assert result.exit_code == 1
    assert (
        result.stderr == "relay: nothing was imported, for the database does not take it: the disk is full\n"
    )
    assert not store.commits


def test_a_bad_setting_ends_it_with_status_2(tmp_path: Path) -> None:
    result = CliRunner().invoke(command_with(KeptInLists()), ["import", "x", "--database", "mysql://h/x"])
    assert result.exit_code == 2


def test_a_thousand_reasons_are_not_told_one_by_one() -> None:
    lines = list(report_lines(ImportPlan(skipped=["x"] * 1000), dry_run=False))
    assert len(lines) == SHOWN_LINES + 2
    assert lines[-1] == "Skipped: 950 more"
