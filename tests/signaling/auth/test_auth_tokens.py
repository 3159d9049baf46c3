"""Join tokens: what a good one grants, and every way we know to pass a bad one off as good."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from signaling.auth import Grants, TokenError, TokenKey, Tokens, key_from_pem, key_from_secret
from signaling.auth.tokens import MAX_TOKEN_LENGTH

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
SOON = NOW + timedelta(minutes=10)
SECRET = "0123456789abcdef0123456789abcdef"
LEEWAY = timedelta(seconds=30)

ED25519 = Ed25519PrivateKey.generate()
PRIVATE_PEM = ED25519.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
PUBLIC_PEM = ED25519.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

KEYS = {"HS256": key_from_secret(SECRET), "EdDSA": key_from_pem(PRIVATE_PEM)}


def tokens_of(key: TokenKey | None = KEYS["HS256"], companies=("co-1",), **options) -> Tokens:
    return Tokens(key, is_company=lambda company_id: company_id in companies, **options)


def encoded(part: object) -> str:
    text = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def signed(claims: object, header: object = None, secret: bytes = SECRET.encode()) -> str:
    """Return a token made by hand, so that no library's good manners stand between a test and the verifier."""
    unsigned = f"{encoded({'alg': 'HS256', 'typ': 'JWT'} if header is None else header)}.{encoded(claims)}"
    return f"{unsigned}.{encoded(hmac.digest(secret, unsigned.encode(), hashlib.sha256))}"


def with_header(header: object) -> str:
    return f"{encoded(header)}.{encoded({})}.AAAA"


def good_claims(**claims) -> dict[str, object]:
    return {"exp": int(SOON.timestamp()), **claims}


def refused(tokens: Tokens, token: str, code: str = "token_invalid", now: datetime = NOW) -> str:
    with pytest.raises(TokenError) as caught:
        tokens.verify(token, now)
    assert caught.value.code == code
    assert caught.value.field == "token"
    text = str(caught.value)
    assert SECRET not in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_what_is_issued_is_granted(key) -> None:
    tokens = tokens_of(key)
    assert tokens.can_issue
    assert tokens.can_verify
    grants = Grants(
        lobby="garden",
        identity="ada@example.org",
        can_publish=False,
        can_chat=False,
        is_bot=True,
        company_id="co-1",
        expires_at=SOON,
        name="Ada",
    )
    verified = tokens.verify(tokens.issue(grants, now=NOW), NOW)
    # The leeway is part of how long it may be used.
    assert verified.to_json() == grants.to_json() | {"expires_at": (SOON + LEEWAY).isoformat()}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_the_largest_token_that_is_issued_is_accepted(key) -> None:
    tokens = tokens_of(key, companies=("x" * 64,), issuer="https://id.example", audience="relay")
    grants = Grants(
        lobby="\U0001f600" * 64,
        name="\U0001f600" * 64,
        identity="\U0001f600" * 256,
        company_id="x" * 64,
        expires_at=SOON,
    )
    assert tokens.verify(tokens.issue(grants, now=NOW), NOW).identity == grants.identity


def test_a_token_made_elsewhere_with_the_key_is_as_good() -> None:
    token = jwt.encode(
        good_claims(sub="ada", lobby="garden", more={"a": 1}),
        SECRET,
        algorithm="HS256",
        headers={"kid": "any"},
    )
    assert tokens_of().verify(token, NOW) == Grants(lobby="garden", identity="ada", expires_at=SOON + LEEWAY)
    token = jwt.encode(good_claims(sub="ada"), PRIVATE_PEM, algorithm="EdDSA")
    assert tokens_of(key_from_pem(PUBLIC_PEM)).verify(token, NOW).identity == "ada"


def test_a_public_key_verifies_and_makes_none() -> None:
    tokens = tokens_of(key_from_pem(PUBLIC_PEM))
    assert tokens.can_verify
    assert not tokens.can_issue
    with pytest.raises(TokenError) as caught:
        tokens.issue(Grants(expires_at=SOON), now=NOW)
    assert caught.value.code == "tokens_unavailable"


def test_without_a_key_nothing_is_accepted_or_made() -> None:
    tokens = tokens_of(None)
    assert not tokens.can_verify
    assert "no key" in refused(tokens, signed(good_claims()))
    with pytest.raises(TokenError):
        tokens.issue(Grants(expires_at=SOON), now=NOW)


@pytest.mark.parametrize(
    "grants",
    [
        Grants(),
        Grants(expires_at=NOW),
        Grants(expires_at=SOON, lobby=""),
        Grants(expires_at=SOON, lobby="x" * 65),
        Grants(expires_at=SOON, name="a\nb"),
        Grants(expires_at=SOON, identity="x" * 257),
        Grants(expires_at=SOON, identity="a\x00b"),
        Grants(expires_at=SOON, company_id="x" * 65),
    ],
)
def test_what_could_not_be_verified_is_not_issued(grants) -> None:
    with pytest.raises(ValueError):
        tokens_of().issue(grants, now=NOW)


def test_time_is_taken_with_leeway() -> None:
    tokens = tokens_of()
    token = signed(good_claims(nbf=int(NOW.timestamp())))
    for now in (NOW - LEEWAY, NOW, SOON, SOON + timedelta(seconds=29)):
        tokens.verify(token, now)
    assert "not valid yet" in refused(tokens, token, now=NOW - LEEWAY - timedelta(seconds=1))
    assert SOON.isoformat() in refused(tokens, token, "token_expired", now=SOON + LEEWAY)
    strict = tokens_of(leeway_seconds=0)
    refused(strict, token, "token_expired", now=SOON)
    assert strict.verify(token, NOW).expires_at == SOON


def test_what_a_token_grants_ends_when_it_would_be_refused() -> None:
    grants = tokens_of().verify(signed(good_claims(lobby="garden")), NOW)
    grants.require_lobby("garden", SOON + timedelta(seconds=29))
    with pytest.raises(Exception, match="expired"):
        grants.require_lobby("garden", SOON + LEEWAY)


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", None, 7, ["HS256"], {"HS256": 1}])
def test_no_signature_is_no_token(alg) -> None:
    for signature in ("", encoded(b""), "AAAA"):
        token = f"{encoded({'alg': alg, 'typ': 'JWT'})}.{encoded(good_claims())}.{signature}"
        refused(tokens_of(), token)
        refused(tokens_of(KEYS["EdDSA"]), token)


def test_an_algorithm_left_out_or_unknown_is_refused() -> None:
    assert "HS256" in refused(tokens_of(), signed(good_claims(), {"typ": "JWT"}))
    for alg in ("HS384", "HS512", "RS256", "ES256", "hs256", "EdDSA", "Ed25519", "HS256 "):
        text = refused(tokens_of(), signed(good_claims(), {"alg": alg}))
        assert "HS256" in text


def test_a_public_key_is_no_secret() -> None:
    # The classic: sign with HMAC, the public key everybody may know as its secret.
    raw = ED25519.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    for secret in (PUBLIC_PEM, PUBLIC_PEM.strip(), raw, encoded(raw).encode()):
        for key in (KEYS["EdDSA"], key_from_pem(PUBLIC_PEM)):
            assert "EdDSA" in refused(tokens_of(key), signed(good_claims(), secret=secret))
            refused(tokens_of(key), signed(good_claims(), {"alg": "EdDSA"}, secret=secret))


def test_a_key_in_the_token_is_not_believed() -> None:
    thief = Ed25519PrivateKey.generate()
    raw = thief.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": encoded(raw)}
    token = jwt.encode(
        good_claims(),
        thief,
        algorithm="EdDSA",
        headers={"jwk": jwk, "jku": "http://localhost/", "kid": "../key"},
    )
    assert "signature" in refused(tokens_of(KEYS["EdDSA"]), token)


def test_a_token_of_another_key_is_refused() -> None:
    assert "signature" in refused(tokens_of(), signed(good_claims(), secret=b"x" * 32))
    stranger = jwt.encode(good_claims(), Ed25519PrivateKey.generate(), algorithm="EdDSA")
    assert "signature" in refused(tokens_of(KEYS["EdDSA"]), stranger)


def test_a_changed_token_is_refused() -> None:
    header, payload, signature = signed(good_claims(lobby="garden", can_chat=False)).split(".")
    forged = encoded(good_claims(lobby="vault", can_chat=True))
    assert "signature" in refused(tokens_of(), f"{header}.{forged}.{signature}")
    other_header = encoded({"typ": "JWT", "alg": "HS256"})
    assert "signature" in refused(tokens_of(), f"{other_header}.{payload}.{signature}")
    assert "signature" in refused(tokens_of(), f"{header}.{payload}.{signature[:-4]}")


@pytest.mark.parametrize(
    "headers", [{"crit": ["exp"]}, {"crit": "exp"}, {"b64": False, "crit": ["b64"]}, {"kid": 7}]
)
def test_a_header_that_asks_for_more_than_we_do_is_refused(headers) -> None:
    refused(tokens_of(), signed(good_claims(), {"alg": "HS256", **headers}))


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "\ud800.b.c",
        "é.é.é",
        " a.b.c",
        "a.b.c\n",
        "x" * (MAX_TOKEN_LENGTH + 1),
        "." * 8000,
        with_header([1]),
        with_header(b"[" * 5000),
        with_header(b'{"a":' * 1000),
        with_header(b"\xff\xfe"),
        with_header(b"1" * 5000),
        signed(good_claims()) + "=",
        "Bearer " + signed(good_claims()),
    ],
)
def test_what_is_no_token_is_refused(token) -> None:
    refused(tokens_of(), token)
    refused(tokens_of(KEYS["EdDSA"]), token)


def test_a_token_of_millions_is_refused_before_it_is_looked_at() -> None:
    assert str(MAX_TOKEN_LENGTH) in refused(tokens_of(), "a" * 5_000_000)


@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b"7", b"null", b"{", b"\xff", b"[" * 4000, b'{"exp": NaN}', b'{"exp":' + b"9" * 4000 + b"}"],
)
def test_a_signed_payload_that_is_no_object_of_claims_is_refused(payload) -> None:
    refused(tokens_of(), signed(payload))


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": None},
        {"exp": "2026"},
        {"exp": True},
        {"exp": -1},
        {"exp": 1e300},
        {"exp": 253_370_764_801},
        {"exp": []},
        {"nbf": "now"},
        {"iat": {}},
        {"sub": 7},
        {"sub": ""},
        {"sub": "x" * 257},
        {"sub": "a\u202eb"},
        {"lobby": ""},
        {"lobby": "x" * 65},
        {"lobby": "a\nb"},
        {"lobby": ["garden"]},
        {"name": "\x1b[2J"},
        {"can_publish": "true"},
        {"can_subscribe": 1},
        {"can_chat": None},
        {"is_bot": "no"},
        {"company": None},
        {"company": 1},
        {"company": "x" * 65},
    ],
)
def test_a_claim_that_is_not_as_expected_is_named(claims) -> None:
    (name,) = claims
    text = refused(tokens_of(), signed(good_claims() | claims))
    assert name in text
    assert "\x1b" not in text


def test_a_token_without_expiry_is_refused() -> None:
    assert "exp" in refused(tokens_of(), signed({"sub": "ada"}))


def test_the_last_time_there_is_is_a_time() -> None:
    grants = tokens_of(leeway_seconds=3600).verify(signed({"exp": 253_370_764_800, "nbf": 0, "iat": 0}), NOW)
    assert grants.expires_at == datetime(9999, 1, 1, 1, tzinfo=UTC)


def test_fractions_of_seconds_are_seconds_too() -> None:
    assert tokens_of().verify(
        signed({"exp": SOON.timestamp() + 0.5}), NOW
    ).expires_at == SOON + LEEWAY + timedelta(seconds=0.5)


def test_issuer_and_audience_count_when_they_are_configured() -> None:
    tokens = tokens_of(issuer="https://id.example", audience="relay")
    made = tokens.issue(Grants(expires_at=SOON), now=NOW)
    tokens.verify(made, NOW)
    tokens.verify(signed(good_claims(iss="https://id.example", aud=["other", "relay"])), NOW)
    for claims in ({}, {"iss": "https://id.example.evil"}, {"iss": None}):
        assert "iss" in refused(tokens, signed(good_claims(**claims)))
    for aud in (None, "other", [], ["other"], "relays"):
        assert "aud" in refused(tokens, signed(good_claims(iss="https://id.example", aud=aud)))
    tokens_of().verify(made, NOW)


def test_a_token_is_for_its_company_and_no_other() -> None:
    tokens = tokens_of(companies=("co-1", "co-2"))
    made = tokens.issue(Grants(company_id="co-1", expires_at=SOON), now=NOW)
    assert tokens.verify(made, NOW).company_id == "co-1"
    header, _, signature = made.split(".")
    assert "signature" in refused(tokens, f"{header}.{encoded(good_claims(company='co-2'))}.{signature}")
    assert "company" in refused(tokens_of(companies=("co-2",)), made)
    assert tokens.verify(signed(good_claims()), NOW).company_id == ""


@given(st.text())
def test_any_text_grants_something_or_is_refused(text) -> None:
    for key in KEYS.values():
        with pytest.raises(TokenError):
            tokens_of(key).verify(text, NOW)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
CLAIMS = ["exp", "nbf", "iat", "iss", "aud", "sub", "lobby", "name", "can_chat", "is_bot", "company", "other"]


@given(st.dictionaries(st.sampled_from(CLAIMS), json_values), st.booleans())
def test_any_signed_claims_grant_something_or_are_refused(claims, lasting) -> None:
    claims |= {"exp": int(SOON.timestamp())} if lasting else {}
    try:
        grants = tokens_of().verify(signed(claims), NOW)
    except TokenError as error:
        assert error.code in {"token_invalid", "token_expired"}  # noqa: PT017 - one of two outcomes
    else:
        assert grants.expires_at is not None
        assert grants.company_id in {"", "co-1"}


@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=60))
def test_any_three_parts_are_refused(header, payload, signature) -> None:
    with pytest.raises(TokenError):
        tokens_of().verify(f"{encoded(header)}.{encoded(payload)}.{encoded(signature)}", NOW)
