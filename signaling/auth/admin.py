"""The administrator's credential: one token, in ``Authorization`` as a bearer token or as the password of ``admin``.

Without a token the admin interface is closed, with one exception: when the server is told that it runs in development,
it is open to clients on this machine. Such a client is one whose connection comes from a loopback address, with no mark
of a proxy, asking for this machine by name: a proxy's clients only seem to be here, and so do web pages that resolve
their own name to 127.0.0.1. To listen on a loopback address is not enough: that is what servers behind a proxy do, and
nginx as it comes leaves no mark and asks for 127.0.0.1.

Browsers add a password they once were given, and open doors need none: a request that one makes for another site's page
is refused, unless it carries a bearer token, which no browser adds by itself.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

import trio

from signaling.auth.allowances import Allowances, Rate
from signaling.auth.client_address import attempts_key, came_through_proxy, is_loopback
from signaling.auth.errors import AdminDeniedError

#: Wrong credentials that one address may give.
ATTEMPTS = Rate(burst=10, per_second=1 / 30)
#: 16 letters of base64 are 96 bits.
MIN_TOKEN_LENGTH = 16
MAX_HEADER_LENGTH = 1024
#: Goes with every 401.
CHALLENGE = 'Bearer realm="relay admin", Basic realm="relay admin", charset="UTF-8"'

_USER = "admin"
_SETTING = "RELAY_ADMIN_TOKEN"


class AdminTokenError(Exception):
    """A token that cannot be used; the text is one line for the operator."""


@dataclass(frozen=True, slots=True)
class Administrator:
    """Who passed; ``actor`` is what the audit log calls them."""

    actor: str


class AdminGate:
    """See the module."""

    def __init__(
        self, *, token: str | None, listens_on: str, development: bool = False, attempts: Rate = ATTEMPTS
    ) -> None:
        """``listens_on`` is the address of the server's own socket, for the notice.

        Raises: AdminTokenError for a token that is too short.
        """
        if token is not None and len(token) < MIN_TOKEN_LENGTH:
            raise AdminTokenError(
                f"{_SETTING} has {len(token)} characters; expected at least {MIN_TOKEN_LENGTH}, "
                "such as the output of: openssl rand -base64 24"
            )
        #: Wrong credentials, and requests that were not looked at because of them.
        self.denied = 0
        self.refused = 0
        self._digest = None if token is None else hashlib.sha256(token.encode()).digest()
        self._listens_on = listens_on
        self._open_on_loopback = token is None and development
        self._attempts = attempts
        self._allowances = Allowances()

    @property
    def is_open(self) -> bool:
        """Whether clients on this machine need no credential."""
        return self._open_on_loopback

    def startup_notice(self) -> tuple[str, ...]:
        """Return lines for start-up to say loudly; none when a token is set."""
        if self._digest is not None:
            return ()
        if self._open_on_loopback:
            return (
                f"the admin interface is OPEN, without a password, to everybody on this machine (listening on {self._listens_on})",
                f"this is for development only: set {_SETTING} to close it",
            )
        return (
            f"the admin interface is CLOSED: set {_SETTING} to a secret of at least {MIN_TOKEN_LENGTH} characters to use it",
        )

    def admit(self, headers: Mapping[str, str], peer: str | None) -> Administrator:
        """Return the administrator that a request comes from.

        ``headers`` are the request's, names in lower case; ``peer`` is the address of its connection.

        Raises: AdminDeniedError.
        """
        if self._digest is None:
            return self._admit_here(headers, peer)
        authorization = headers.get("authorization")
        if authorization is None:
            raise AdminDeniedError(
                HTTPStatus.UNAUTHORIZED,
                "unauthorized",
                "this needs the administrator's token, and none was given",
            )
        scheme, _, rest = authorization.partition(" ")
        bearer = scheme.lower() == "bearer"
        if not bearer and _is_cross_site(headers):
            raise _cross_site()
        key = attempts_key(peer or "")
        # Charged first and given back if it was right: many at once are to get no more than many in turn.
        allowance = self._allowances.take(key, self._attempts, trio.current_time())
        if not allowance.allowed:
            self.refused += 1
            seconds = allowance.retry_after_seconds
            raise AdminDeniedError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "rate_limited",
                f"too many wrong credentials from this address: try again in {max(1, round(seconds))} s",
                retry_after_seconds=seconds,
            )
        given = rest.strip() if bearer else _basic_password(scheme, rest)
        if len(authorization) > MAX_HEADER_LENGTH or not self._is_token(given):
            self.denied += 1
            raise AdminDeniedError(
                HTTPStatus.UNAUTHORIZED,
                "unauthorized",
                "the administrator's token is wrong, or is not given as one",
            )
        self._allowances.give_back(key, self._attempts, trio.current_time())
        return Administrator(f"{_USER}@{peer}")

    def _admit_here(self, headers: Mapping[str, str], peer: str | None) -> Administrator:
        if not self._open_on_loopback:
            raise AdminDeniedError(
                HTTPStatus.FORBIDDEN,
                "admin_closed",
                f"the admin interface is closed: the operator of this server has not set {_SETTING}",
            )
        if not is_loopback(peer) or came_through_proxy(headers) or not _asks_for_this_machine(headers):
            self.denied += 1
            raise AdminDeniedError(
                HTTPStatus.FORBIDDEN,
                "admin_closed",
                f"the admin interface is open to clients on the server's own machine only; for others, set {_SETTING}",
            )
        if _is_cross_site(headers):
            raise _cross_site()
        return Administrator(f"{_USER}@{peer} (no token set)")

    def _is_token(self, given_untrusted: str | None) -> bool:
        # Header values are bytes read as Latin-1; what is not can come from no request.
        encoded = (given_untrusted or "").encode("latin-1", errors="backslashreplace")
        return self._digest is not None and hmac.compare_digest(
            hashlib.sha256(encoded).digest(), self._digest
        )


def _basic_password(scheme: str, rest_untrusted: str) -> str | None:
    """Return the password of Basic credentials for ``admin``, bytes read as Latin-1 (RFC 7617)."""
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(rest_untrusted.strip().encode("ascii"), validate=True).decode("latin-1")
    except (binascii.Error, UnicodeEncodeError):
        return None
    user, separator, password = decoded.partition(":")
    return password if separator and user == _USER else None


def _asks_for_this_machine(headers: Mapping[str, str]) -> bool:
    name = _host_name(f"//{headers.get('host', '')}")
    return name == "localhost" or is_loopback(name)


def _is_cross_site(headers: Mapping[str, str]) -> bool:
    """Tell whether a browser made the request for a page from somewhere else."""
    if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
        return True
    origin = headers.get("origin")
    return origin is not None and _host_and_port(origin) != headers.get("host", "").lower()


def _host_and_port(origin_untrusted: str) -> str | None:
    """Return host and port of an origin as a browser writes it."""
    try:
        return urlsplit(origin_untrusted).netloc.lower() or None
    except ValueError:
        return None


def _host_name(url_untrusted: str) -> str | None:
    try:
        return urlsplit(url_untrusted).hostname
    except ValueError:
        return None


def _cross_site() -> AdminDeniedError:
    return AdminDeniedError(
        HTTPStatus.FORBIDDEN,
        "cross_site",
        "pages of other sites may not use the admin interface with a browser's own credentials: send a bearer token",
    )
