"""Passwords of the old server: salted SHA-256, kept as they are until their owner is here to have them hashed anew.

Such a hash cannot be turned into argon2id without the password. So it is stored as
``legacy-sha256$<salt>$<64 hexadecimal digits>``; who verifies passwords asks ``is_legacy`` first, ``verify_legacy`` then,
and when it is right hashes the password properly and stores that instead. Pure.
"""

import hashlib
import hmac
import re
from collections.abc import Iterator

PREFIX = "legacy-sha256$"
#: The rounds of PBKDF2 that versions of the old server used.
PBKDF2_ROUNDS = 100_000
MAX_SALT_LENGTH = 256

_DIGEST = re.compile(r"[0-9a-f]{64}")


def wrap_legacy(salt: str, digest: str) -> str:
    """Return what is stored for a password of the old server.

    Raises: ValueError when this is no salted SHA-256.
    """
    lowered = digest.strip().lower()
    if not _DIGEST.fullmatch(lowered):
        raise ValueError("the hash is not 64 hexadecimal digits, as SHA-256 has")
    if len(salt) > MAX_SALT_LENGTH:
        raise ValueError(f"the salt is longer than {MAX_SALT_LENGTH} characters")
    try:
        salt.encode()
    except UnicodeEncodeError:
        raise ValueError("the salt has half a surrogate pair in it, which is not a character") from None
    return f"{PREFIX}{salt}${lowered}"


def is_legacy(password_hash: str) -> bool:
    """Tell whether a stored hash is one of the old server's."""
    return password_hash.startswith(PREFIX)


def verify_legacy(password_hash: str, password: str) -> bool:
    """Tell whether the password is right; false, too, when the hash is none of the old server's.

    Versions of that server joined salt and password in different ways: all are tried, always, so that the time taken
    tells nothing. Cost: some 60 ms, of PBKDF2; call it in a thread.
    """
    salt, separator, digest = password_hash.removeprefix(PREFIX).rpartition("$")
    if not is_legacy(password_hash) or not separator or not _DIGEST.fullmatch(digest):
        return False
    try:
        secret, salt_text = password.encode(), salt.encode()
    except UnicodeEncodeError:
        return False
    expected = bytes.fromhex(digest)
    right = False
    for candidate in _digests(secret, salt_text):
        right |= hmac.compare_digest(candidate, expected)
    return right


def _digests(secret: bytes, salt_text: bytes) -> Iterator[bytes]:
    salts = [salt_text]
    try:
        salts.append(bytes.fromhex(salt_text.decode()))
    except ValueError:
        salts.append(salt_text)  # as much work as for another salt
    for salt in salts:
        yield hashlib.sha256(salt + secret).digest()
        yield hashlib.sha256(secret + salt).digest()
        yield hashlib.pbkdf2_hmac("sha256", secret, salt, PBKDF2_ROUNDS)
