"""What this package refuses, as exceptions: each has a stable ``code`` and a text for the person at the other end.

None of the texts holds a secret, nor anything of a secret that was given.
"""


class AuthError(Exception):
    """Base of all; ``code`` is what a client may rely on, ``field`` names the part of the request at fault."""

    def __init__(self, code: str, error: str, *, field: str | None = None) -> None:
        super().__init__(error)
        self.code = code
        self.field = field


class PermissionDeniedError(AuthError):
    """The join token does not allow this."""

    def __init__(self, error: str, *, field: str | None = None) -> None:
        super().__init__("forbidden", error, field=field)


class PasswordFormatError(AuthError):
    """A text that cannot be a password at all."""

    def __init__(self, error: str) -> None:
        super().__init__("invalid_message", error, field="password")


class PasswordsBusyError(AuthError):
    """As many passwords as may wait to be hashed or compared do so already."""

    def __init__(self, error: str) -> None:
        super().__init__("at_capacity", error)


class TooManyAttemptsError(AuthError):
    """Too many wrong guesses; nothing was compared."""

    def __init__(self, error: str, *, retry_after_seconds: float) -> None:
        super().__init__("rate_limited", error)
        self.retry_after_seconds = retry_after_seconds


class NameRefusedError(AuthError):
    """A name that cannot be protected, or too many of them."""


class TokenError(AuthError):
    """A join token that is not accepted (``token_expired``, ``token_invalid``), or cannot be made (``tokens_unavailable``)."""

    def __init__(self, code: str, error: str) -> None:
        super().__init__(code, error, field="token")


class CompanyError(AuthError):
    """A company, or a key of one, that cannot be made, found or changed."""


class CompanyLimitError(AuthError):
    """A company has as much of something as it may have."""

    def __init__(self, limit: str, allowed: int, error: str) -> None:
        super().__init__("company_limit", error)
        self.limit = limit
        self.allowed = allowed


class AdminDeniedError(AuthError):
    """Not an administrator. ``status`` is the HTTP status that says so."""

    def __init__(
        self, status: int, code: str, error: str, *, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(code, error)
        self.status = status
        self.retry_after_seconds = retry_after_seconds
