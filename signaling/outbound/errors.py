"""How an outbound call can fail, and which failures are worth another attempt (those that are ``RetryableError``)."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from signaling.outbound.retry import RetryableError

#: Answers that ask to come again, beside all of 500 and above.
_COME_AGAIN = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.MISDIRECTED_REQUEST,
    }
)


class OutboundError(Exception):
    """An outbound call failed; the text names the host, never the path, for that may be a secret."""


class TargetRefusedError(OutboundError):
    """This URL may not be called, or its host has no address that may be; nothing was sent."""


class RedirectRefusedError(OutboundError):
    """The answer sends us somewhere else, and we do not go."""

    def __init__(self, where: str, status: int) -> None:
        super().__init__(
            f"{where} answered {status} {_phrase(status)}; redirects are not followed: use the final URL"
        )


class UnreachableError(OutboundError, RetryableError):
    """No answer: no name, no connection, no TLS, no HTTP, or not in time."""


class StatusError(OutboundError):
    """The answer is no success."""

    def __init__(self, where: str, status: int) -> None:
        super().__init__(f"{where} answered {status} {_phrase(status)}".rstrip())
        self.status = status


class RetryableStatusError(StatusError, RetryableError):
    """The answer is no success now."""

    def __init__(self, where: str, status: int, retry_after: float | None) -> None:
        super().__init__(where, status)
        self.retry_after = retry_after


def status_error(where: str, status: int, retry_after_untrusted: str | None, now: datetime) -> StatusError:
    """Return the error for an answer that is neither success nor redirect."""
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _COME_AGAIN:
        return RetryableStatusError(where, status, retry_after_seconds(retry_after_untrusted, now))
    return StatusError(where, status)


def retry_after_seconds(value_untrusted: str | None, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks to wait (RFC 9110 section 10.2.3), or None for nonsense."""
    if value_untrusted is None:
        return None
    text = value_untrusted.strip()
    if text.isascii() and text.isdigit():
        return float(text[:15])
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:  # "-0000": in UTC, the sender does not know his zone
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def host_failed(error: Exception) -> bool | None:
    """Tell the circuit breaker whether the host failed (True), worked (False), or was not asked (None)."""
    if isinstance(error, UnreachableError):
        return True
    if isinstance(error, StatusError):
        return error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return None if isinstance(error, TargetRefusedError) else False


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
