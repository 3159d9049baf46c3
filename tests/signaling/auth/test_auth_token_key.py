"""Keys of join tokens, and what is said of those that cannot be used."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as new_ec_key
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from signaling.auth import TokenKeyError, key_from_pem, key_from_secret, load_token_key

SECRET = "0123456789abcdef0123456789abcdef"


def private_pem(key, encryption=None) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


def public_pem(key) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_a_secret_is_for_hs256() -> None:
    key = key_from_secret(SECRET)
    assert (key.algorithm, key.signing) == ("HS256", SECRET.encode())
    assert SECRET not in repr(key)
    assert key_from_secret("ä" * 16).verifying == ("ä" * 16).encode()


def test_a_private_key_signs_and_a_public_one_verifies_only() -> None:
    made = Ed25519PrivateKey.generate()
    private, public = key_from_pem(private_pem(made)), key_from_pem(public_pem(made))
    assert private.algorithm == public.algorithm == "EdDSA"
    assert private.signing is not None
    assert public.signing is None
    assert repr(public) == "TokenKey(EdDSA, verifies)"


@pytest.mark.parametrize("secret", ["short", "x" * 31, "ä" * 15])
def test_a_short_secret_is_refused_with_a_way_to_make_one(secret) -> None:
    with pytest.raises(TokenKeyError, match=r"at least 32.*openssl rand") as caught:
        key_from_secret(secret)
    assert secret not in str(caught.value)


def test_a_pem_is_no_secret() -> None:
    with pytest.raises(TokenKeyError, match="key file"):
        key_from_secret(public_pem(Ed25519PrivateKey.generate()).decode())


@pytest.mark.parametrize(
    ("pem", "expected"),
    [
        (b"", "cannot be read.*openssl genpkey"),
        (b"\xff" * 100, "cannot be read"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "cannot be read"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "cannot be read"),
        (private_pem(new_ec_key(SECP256R1())), "another kind"),
        (public_pem(new_ec_key(SECP256R1())), "another kind"),
        (private_pem(Ed448PrivateKey.generate()), "another kind"),
        (private_pem(Ed25519PrivateKey.generate(), BestAvailableEncryption(b"x")), "passphrase"),
    ],
)
def test_a_key_that_cannot_be_used_is_refused_with_what_was_expected(pem, expected) -> None:
    with pytest.raises(TokenKeyError, match=expected) as caught:
        key_from_pem(pem)
    assert "\n" not in str(caught.value)


def test_settings_name_one_key_or_none(tmp_path) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(private_pem(Ed25519PrivateKey.generate()))
    assert load_token_key(None, None) is None
    assert load_token_key("", None) is None
    assert load_token_key(SECRET, None) == key_from_secret(SECRET)
    loaded = load_token_key(None, file)
    assert loaded is not None
    assert loaded.algorithm == "EdDSA"
    with pytest.raises(TokenKeyError, match="one of them"):
        load_token_key(SECRET, file)
    with pytest.raises(TokenKeyError, match="No such file"):
        load_token_key(None, tmp_path / "nothing.pem")
