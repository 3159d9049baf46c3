"""The administrator's door: one credential, few tries, and open on loopback for development only."""

import base64

import pytest

from signaling.auth import AdminDeniedError, AdminGate, AdminTokenError, Rate

TOKEN = "correct-horse-battery"
PEER = "192.0.2.1"
HERE = {"host": "localhost:8080"}


def basic(user: str, password: str, encoding: str = "utf-8") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode(encoding)).decode()


def denied(
    gate: AdminGate, headers: dict[str, str], peer: str | None, status: int, code: str
) -> AdminDeniedError:
    with pytest.raises(AdminDeniedError) as caught:
        gate.admit(headers, peer)
    assert (caught.value.status, caught.value.code) == (status, code)
    assert TOKEN not in str(caught.value)
    return caught.value


@pytest.fixture
def gate() -> AdminGate:
    return AdminGate(token=TOKEN, listens_on="0.0.0.0", attempts=Rate(burst=5, per_second=0.1))


@pytest.mark.parametrize(
    "authorization",
    [
        f"Bearer {TOKEN}",
        f"bearer   {TOKEN} ",
        basic("admin", TOKEN),
        basic("admin", TOKEN).replace("Basic", "bAsIc"),
    ],
)
async def test_the_token_opens_as_bearer_or_as_admins_password(gate, authorization) -> None:
    assert gate.admit({"authorization": authorization}, PEER).actor == "admin@192.0.2.1"
    assert gate.startup_notice() == ()


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN.upper()}",
        f"Token {TOKEN}",
        TOKEN,
        "Bearer " + "x" * 100_000,
        f"Bearer {TOKEN}" + " " * 2000,
        "Bearer \xff\xfe",
        "Bearer \u0100\U0001f600",
        basic("root", TOKEN),
        basic("", TOKEN),
        basic("Admin", TOKEN),
        basic("admin", ""),
        "Basic",
        "Basic !!!",
        "Basic \u0100",
        "Basic " + base64.b64encode(TOKEN.encode()).decode(),
        "Basic " + base64.b64encode(b"\xff:\xff").decode(),
    ],
)
async def test_anything_else_does_not(gate, authorization) -> None:
    denied(gate, {"authorization": authorization}, PEER, 401, "unauthorized")
    assert gate.denied == 1


async def test_no_credential_is_no_guess(gate) -> None:
    for _ in range(50):
        denied(gate, {}, PEER, 401, "unauthorized")
    assert gate.denied == 0
    gate.admit({"authorization": f"Bearer {TOKEN}"}, PEER)


async def test_a_token_beyond_ascii_can_be_given_in_both_ways() -> None:
    token = "schlüssel-für-alles"
    gate = AdminGate(token=token, listens_on="0.0.0.0")
    on_the_wire = token.encode().decode("latin-1")
    gate.admit({"authorization": f"Bearer {on_the_wire}"}, PEER)
    gate.admit({"authorization": basic("admin", token)}, PEER)
    denied(gate, {"authorization": basic("admin", token, "latin-1")}, PEER, 401, "unauthorized")


async def test_guessing_is_slow_and_right_tokens_are_free(gate, mock_clock) -> None:
    for _ in range(20):
        gate.admit({"authorization": f"Bearer {TOKEN}"}, PEER)
    for _ in range(5):
        denied(gate, {"authorization": "Bearer guess"}, PEER, 401, "unauthorized")
    # Nothing is compared any more, or the last guess would be told from the others.
    error = denied(gate, {"authorization": f"Bearer {TOKEN}"}, PEER, 429, "rate_limited")
    assert error.retry_after_seconds == pytest.approx(10)
    assert gate.refused == 1
    gate.admit({"authorization": f"Bearer {TOKEN}"}, "192.0.2.2")
    mock_clock.jump(10)
    gate.admit({"authorization": f"Bearer {TOKEN}"}, PEER)


async def test_an_ipv6_customer_guesses_as_one(gate) -> None:
    for index in range(5):
        denied(gate, {"authorization": "Bearer guess"}, f"2001:db8::{index}", 401, "unauthorized")
    denied(gate, {"authorization": "Bearer guess"}, "2001:db8::ffff", 429, "rate_limited")


async def test_a_browsers_memory_is_no_credential_for_other_sites(gate) -> None:
    password = {"authorization": basic("admin", TOKEN), "host": "relay.example"}
    gate.admit(password | {"origin": "https://relay.example", "sec-fetch-site": "same-origin"}, PEER)
    for foreign in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "https://["},
        {"origin": "https://relay.example:444"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ):
        denied(gate, password | foreign, PEER, 403, "cross_site")
    gate.admit({"authorization": f"Bearer {TOKEN}", "origin": "https://admin.example"}, PEER)


@pytest.mark.parametrize("token", ["", "short", "x" * 15])
def test_a_short_token_is_refused_at_start(token) -> None:
    with pytest.raises(AdminTokenError, match=r"at least 16.*openssl rand"):
        AdminGate(token=token, listens_on="127.0.0.1")


# Without a token


@pytest.mark.parametrize("listens_on", ["127.0.0.1", "::1", "0.0.0.0"])
async def test_in_development_it_is_open_to_this_machine_and_says_so(listens_on) -> None:
    gate = AdminGate(token=None, listens_on=listens_on, development=True)
    for peer in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        for host in ("localhost:8080", "127.0.0.1", "[::1]:8080", "LOCALHOST"):
            assert gate.admit({"host": host}, peer).actor.startswith("admin@")
    notice = " ".join(gate.startup_notice())
    assert "OPEN" in notice
    assert "RELAY_ADMIN_TOKEN" in notice


@pytest.mark.parametrize("listens_on", ["127.0.0.1", "::1", "0.0.0.0", "::", "192.0.2.7", "nonsense"])
async def test_by_default_it_is_closed_to_everybody_and_says_so(listens_on) -> None:
    gate = AdminGate(token=None, listens_on=listens_on)
    for peer in ("127.0.0.1", "::1", PEER, None):
        for headers in (HERE, HERE | {"authorization": "Bearer "}, HERE | {"authorization": "Bearer None"}):
            error = denied(gate, headers, peer, 403, "admin_closed")
            assert "RELAY_ADMIN_TOKEN" in str(error)
    notice = " ".join(gate.startup_notice())
    assert "CLOSED" in notice
    assert "RELAY_ADMIN_TOKEN" in notice


async def test_development_opens_it_to_this_machine_only() -> None:
    gate = AdminGate(token=None, listens_on="0.0.0.0", development=True)
    gate.admit(HERE, "127.0.0.1")
    for peer in (PEER, "", None, "localhost", "10.0.0.1"):
        denied(gate, HERE, peer, 403, "admin_closed")
    assert "OPEN" in " ".join(gate.startup_notice())


async def test_a_token_closes_loopback_as_well() -> None:
    gate = AdminGate(token=TOKEN, listens_on="127.0.0.1", development=True)
    denied(gate, HERE, "127.0.0.1", 401, "unauthorized")


@pytest.mark.parametrize(
    "header",
    [
        "x-forwarded-for",
        "forwarded",
        "x-real-ip",
        "via",
        "x-forwarded-proto",
        "x-forwarded-host",
        "cf-connecting-ip",
    ],
)
async def test_a_proxys_clients_are_not_here(header) -> None:
    gate = AdminGate(token=None, listens_on="127.0.0.1", development=True)
    denied(gate, HERE | {header: "127.0.0.1"}, "127.0.0.1", 403, "admin_closed")


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "[", "x@evil"]
)
async def test_a_name_that_was_made_to_point_here_is_not_here(host) -> None:
    gate = AdminGate(token=None, listens_on="127.0.0.1", development=True)
    denied(gate, {"host": host}, "127.0.0.1", 403, "admin_closed")
    assert gate.denied == 1


async def test_pages_of_other_sites_cannot_use_the_open_door() -> None:
    gate = AdminGate(token=None, listens_on="127.0.0.1", development=True)
    gate.admit(HERE | {"origin": "http://localhost:8080"}, "127.0.0.1")
    for origin in ("http://evil.example", "http://localhost:3000", "null"):
        denied(gate, HERE | {"origin": origin}, "127.0.0.1", 403, "cross_site")
