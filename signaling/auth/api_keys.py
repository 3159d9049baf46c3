"""API keys of companies: shown once, kept as digests.

A key is 256 random bits, so a fast digest is enough: there is nothing to guess, and nothing to slow down.
"""

import hashlib
import hmac
import secrets

#: Tells people, and scanners for leaked secrets, what it is.
PREFIX = "tr_"
_KEY_BYTES = 32
#: A key has 46 characters.
MAX_KEY_LENGTH = 128
_ID_DIGITS = 12


def new_api_key() -> str:
    """Return a new key."""
    return PREFIX + secrets.token_urlsafe(_KEY_BYTES)


def digest_of(api_key_untrusted: str) -> bytes:
    """Return what is kept of a key; text that is no key has a digest as well, which is nobody's."""
    return hashlib.sha256(api_key_untrusted[:MAX_KEY_LENGTH].encode(errors="surrogatepass")).digest()


def key_id(digest: bytes) -> str:
    """Return what a key is called where it must not be shown."""
    return digest.hex()[:_ID_DIGITS]


def same_digest(left: bytes, right: bytes) -> bool:
    """Compare in a time that does not depend on where they differ."""
    return hmac.compare_digest(left, right)
