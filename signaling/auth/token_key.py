"""The key that join tokens are signed with. Its own type says which algorithm is used, never a token."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

#: As long as the digest (RFC 7518 section 3.2).
MIN_SECRET_BYTES = 32

Algorithm = Literal["HS256", "EdDSA"]


class TokenKeyError(Exception):
    """A key that cannot be used; the text is one line for the operator."""


@dataclass(frozen=True, slots=True, repr=False)
class TokenKey:
    """See the module. ``signing`` is None where only the public half is known."""

    algorithm: Algorithm
    verifying: bytes | Ed25519PublicKey
    signing: bytes | Ed25519PrivateKey | None

    def __repr__(self) -> str:
        return (
            f"TokenKey({self.algorithm}, {'signs and verifies' if self.signing is not None else 'verifies'})"
        )


def key_from_secret(secret: str) -> TokenKey:
    """Return the HS256 key of a shared secret.

    Raises: TokenKeyError when it is too short, or a PEM that should be given as a file.
    """
    encoded = secret.encode()
    if b"-----BEGIN" in encoded:
        raise TokenKeyError("the token secret is a PEM key: give it as the key file instead")
    if len(encoded) < MIN_SECRET_BYTES:
        raise TokenKeyError(
            f"the token secret has {len(encoded)} bytes; expected at least {MIN_SECRET_BYTES}, "
            "such as the output of: openssl rand -base64 32"
        )
    return TokenKey("HS256", encoded, encoded)


def key_from_pem(pem: bytes) -> TokenKey:
    """Return the EdDSA key of a PEM: a private key signs and verifies, a public one verifies only.

    Raises: TokenKeyError when it is no unencrypted Ed25519 key.
    """
    try:
        if b"PRIVATE KEY-----" in pem:
            private = load_pem_private_key(pem, password=None)
            if isinstance(private, Ed25519PrivateKey):
                return TokenKey("EdDSA", private.public_key(), private)
        else:
            public = load_pem_public_key(pem)
            if isinstance(public, Ed25519PublicKey):
                return TokenKey("EdDSA", public, None)
    except TypeError:
        raise TokenKeyError("the token key is encrypted with a passphrase; expected one without") from None
    except (ValueError, UnsupportedAlgorithm):
        raise TokenKeyError(
            "the token key cannot be read; expected an Ed25519 key in PEM, "
            "such as the output of: openssl genpkey -algorithm ed25519"
        ) from None
    raise TokenKeyError("the token key is of another kind; expected Ed25519")


def load_token_key(secret: str | None, key_file: Path | None) -> TokenKey | None:
    """Return the key that the settings name; None when they name none. For start-up: it reads the file at once.

    Raises: TokenKeyError.
    """
    if secret and key_file:
        raise TokenKeyError("both a token secret and a token key file are set; expected one of them")
    if secret:
        return key_from_secret(secret)
    if key_file:
        try:
            return key_from_pem(key_file.read_bytes())
        except OSError as error:
            raise TokenKeyError(f"the token key file {key_file} cannot be read: {error.strerror}") from None
    return None
