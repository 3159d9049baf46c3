"""Passwords: argon2id hashes made and compared in threads of their own, and never more than a few at once.

A hash is slow and large on purpose (about 20 ms and 19 MiB here), so who can ask for one can ask for too many: at
most ``threads`` run at a time, at most ``waiting`` wait, and what comes on top is refused with ``at_capacity``.
Callers limit who may guess how often (``guarded_passwords.py``).
"""

import secrets
import unicodedata
from base64 import b64encode
from dataclasses import dataclass

import argon2
import trio
from argon2.exceptions import HashingError, InvalidHashError, VerificationError, VerifyMismatchError

from signaling.auth.errors import PasswordFormatError, PasswordsBusyError
from signaling.logs import get_logger

#: Characters, as given and as compared. Long enough for any sentence, and no work for a flood of megabytes.
MAX_PASSWORD_LENGTH = 256
#: A compare takes about 20 ms of one core; the relay needs the others.
THREADS = 2
#: About a second's worth.
WAITING = 64
_SALT_BYTES = 16
_HASH_BYTES = 32

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PasswordParameters:
    """Cost of a hash; the defaults are OWASP's (Password Storage Cheat Sheet, argon2id, second line)."""

    memory_kib: int = 19_456
    iterations: int = 2
    parallelism: int = 1


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether a password was right; if so and if the hash was made with other parameters, the hash to keep instead."""

    right: bool
    renewed_hash: str | None = None


@dataclass(frozen=True, slots=True)
class PasswordStatistics:
    """Figures for metrics; they only grow, but for ``pending``."""

    hashed: int
    verified: int
    #: Not even tried, for too many waited.
    refused: int
    #: Running or waiting now.
    pending: int


class Passwords:
    """See the module."""

    def __init__(
        self,
        parameters: PasswordParameters | None = None,
        *,
        threads: int = THREADS,
        waiting: int = WAITING,
    ) -> None:
        cost = parameters or PasswordParameters()
        self._hasher = argon2.PasswordHasher(
            time_cost=cost.iterations,
            memory_cost=cost.memory_kib,
            parallelism=cost.parallelism,
            hash_len=_HASH_BYTES,
            salt_len=_SALT_BYTES,
            type=argon2.Type.ID,
        )
        self._nobodys_hash = _nobodys_hash(cost)
        self._limiter = trio.CapacityLimiter(threads)
        self._most_pending = threads + waiting
        self._pending = 0
        self._hashed = 0
        self._verified = 0
        self._refused = 0

    async def hash(self, password_untrusted: str) -> str:
        """Return the hash to keep of a new password.

        Raises: PasswordFormatError, PasswordsBusyError.
        """
        secret = prepare_password(password_untrusted)
        self._enter()
        try:
            made = await trio.to_thread.run_sync(self._hasher.hash, secret, limiter=self._limiter)
        except HashingError as error:
            raise PasswordsBusyError(f"the password could not be hashed ({error}): try again later") from None
        finally:
            self._pending -= 1
        self._hashed += 1
        return made

    async def verify(self, password_hash: str | None, password_untrusted: str) -> Verification:
        """Compare a password with a hash. Without one (nothing known by that name) the work is the same, and it is wrong.

        Raises: PasswordFormatError, PasswordsBusyError.
        """
        secret = prepare_password(password_untrusted)
        self._enter()
        try:
            verification = await trio.to_thread.run_sync(
                self._verify,
                self._nobodys_hash if password_hash is None else password_hash,
                secret,
                limiter=self._limiter,
            )
        finally:
            self._pending -= 1
        self._verified += 1
        return verification

    def statistics(self) -> PasswordStatistics:
        """Return figures for metrics."""
        return PasswordStatistics(
            hashed=self._hashed, verified=self._verified, refused=self._refused, pending=self._pending
        )

    def _enter(self) -> None:
        if self._pending >= self._most_pending:
            self._refused += 1
            raise PasswordsBusyError(
                "too many passwords are being checked at the moment: try again in a few seconds"
            )
        self._pending += 1

    def _verify(self, password_hash: str, secret: bytes) -> Verification:
        """Run in a thread."""
        try:
            self._hasher.verify(password_hash, secret)
        except VerifyMismatchError:
            return Verification(right=False)
        except InvalidHashError:
            _log.error("a stored password hash is damaged: no password will match it until it is set anew")
            return Verification(right=False)
        except VerificationError as error:
            raise PasswordsBusyError(
                f"the password could not be checked ({error}): try again later"
            ) from None
        if not self._hasher.check_needs_rehash(password_hash):
            return Verification(right=True)
        try:
            return Verification(right=True, renewed_hash=self._hasher.hash(secret))
        except HashingError:
            return Verification(right=True)


def prepare_password(password_untrusted: str) -> bytes:
    """Return the bytes to hash: NFKC, so that it does not matter which keyboard composed an accent.

    Raises: PasswordFormatError when it is empty, longer than ``MAX_PASSWORD_LENGTH``, or not text.
    """
    if not 1 <= len(password_untrusted) <= MAX_PASSWORD_LENGTH:
        raise PasswordFormatError(
            f"the password has {len(password_untrusted)} characters; expected 1 to {MAX_PASSWORD_LENGTH}"
        )
    normalised = unicodedata.normalize("NFKC", password_untrusted)
    if len(normalised) > MAX_PASSWORD_LENGTH:
        raise PasswordFormatError(
            f"the password has {len(normalised)} characters when its ligatures are written out; "
            f"expected at most {MAX_PASSWORD_LENGTH}"
        )
    try:
        return normalised.encode()
    except UnicodeEncodeError:
        raise PasswordFormatError(
            "the password has half a surrogate pair in it, which is not a character"
        ) from None


def _nobodys_hash(cost: PasswordParameters) -> str:
    """Return a hash that no password matches, and that costs as much to compare as any other."""
    salt, digest = (
        b64encode(secrets.token_bytes(size)).rstrip(b"=").decode() for size in (_SALT_BYTES, _HASH_BYTES)
    )
    return f"$argon2id$v=19$m={cost.memory_kib},t={cost.iterations},p={cost.parallelism}${salt}${digest}"
