"""Codes of the HTTP interface's errors: the table a program may rely on. A code never changes its meaning.

They are a superset of those with which ``signaling.auth`` and the bots refuse: what they raise is answered under its own
name. ``docs/rest.md`` lists them, and a test compares.
"""

from enum import StrEnum
from http import HTTPStatus


class ProblemCode(StrEnum):
    """``code`` in a problem document."""

    INVALID_JSON = "invalid_json"
    BAD_REQUEST = "bad_request"
    UNAUTHORIZED = "unauthorized"
    TOKEN_INVALID = "token_invalid"  # noqa: S105 - a code
    TOKEN_EXPIRED = "token_expired"  # noqa: S105
    FORBIDDEN = "forbidden"
    ADMIN_CLOSED = "admin_closed"
    CROSS_SITE = "cross_site"
    NOT_FOUND = "not_found"
    COMPANY_UNKNOWN = "company_unknown"
    UNKNOWN_LOBBY = "unknown_lobby"
    UNKNOWN_BOT = "unknown_bot"
    UNKNOWN_PROVIDER = "unknown_provider"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    REQUEST_TIMEOUT = "request_timeout"
    LOBBY_EXISTS = "lobby_exists"
    COMPANY_EXISTS = "company_exists"
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"
    DELIVERY_CONFLICT = "delivery_conflict"
    TOO_LARGE = "too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    INVALID_MESSAGE = "invalid_message"
    INVALID_CONFIG = "invalid_config"
    UPGRADE_REQUIRED = "upgrade_required"
    RATE_LIMITED = "rate_limited"
    COMPANY_LIMIT = "company_limit"
    INTERNAL = "internal"
    TOKENS_UNAVAILABLE = "tokens_unavailable"
    DELIVERY_FAILED = "delivery_failed"
    AT_CAPACITY = "at_capacity"
    DRAINING = "draining"
    STORAGE_UNAVAILABLE = "storage_unavailable"


#: code -> the HTTP status it comes with, and what it means and what to do.
PROBLEM_CODES: dict[ProblemCode, tuple[HTTPStatus, str]] = {
    ProblemCode.INVALID_JSON: (
        HTTPStatus.BAD_REQUEST,
        "The body is not JSON in UTF-8, or is nested too deeply.",
    ),
    ProblemCode.BAD_REQUEST: (HTTPStatus.BAD_REQUEST, "The request is not what HTTP expects."),
    ProblemCode.UNAUTHORIZED: (
        HTTPStatus.UNAUTHORIZED,
        "This needs a company's API key or the administrator's token; none was given, or a wrong one.",
    ),
    ProblemCode.TOKEN_INVALID: (HTTPStatus.UNAUTHORIZED, "The join token is not one of this server's."),
    ProblemCode.TOKEN_EXPIRED: (HTTPStatus.UNAUTHORIZED, "The join token has expired: get a new one."),
    ProblemCode.FORBIDDEN: (HTTPStatus.FORBIDDEN, "Not allowed with this credential."),
    ProblemCode.ADMIN_CLOSED: (
        HTTPStatus.FORBIDDEN,
        "The admin interface is closed: the server has no administrator's token, or is open to its own machine only.",
    ),
    ProblemCode.CROSS_SITE: (
        HTTPStatus.FORBIDDEN,
        "A page of another site may not use a browser's own credentials: send a bearer token.",
    ),
    ProblemCode.NOT_FOUND: (
        HTTPStatus.NOT_FOUND,
        "There is no such thing, or it belongs to somebody else, or is gone.",
    ),
    ProblemCode.COMPANY_UNKNOWN: (
        HTTPStatus.NOT_FOUND,
        "There is no such company, or it is disabled.",
    ),
    ProblemCode.UNKNOWN_LOBBY: (HTTPStatus.NOT_FOUND, "There is no such lobby for a bot to come to."),
    ProblemCode.UNKNOWN_BOT: (HTTPStatus.NOT_FOUND, "There is no such bot, or it was forgotten."),
    ProblemCode.UNKNOWN_PROVIDER: (HTTPStatus.NOT_FOUND, "There is no such provider of bots."),
    ProblemCode.METHOD_NOT_ALLOWED: (
        HTTPStatus.METHOD_NOT_ALLOWED,
        "Not with this method; `Allow` lists those there are.",
    ),
    ProblemCode.REQUEST_TIMEOUT: (
        HTTPStatus.REQUEST_TIMEOUT,
        "The body did not arrive in time; the connection is closed.",
    ),
    ProblemCode.LOBBY_EXISTS: (HTTPStatus.CONFLICT, "There is a lobby of this name already."),
    ProblemCode.COMPANY_EXISTS: (HTTPStatus.CONFLICT, "There is a company of this name already."),
    ProblemCode.IDEMPOTENCY_CONFLICT: (
        HTTPStatus.CONFLICT,
        "The `Idempotency-Key` was used for something else.",
    ),
    ProblemCode.DELIVERY_CONFLICT: (
        HTTPStatus.CONFLICT,
        "The dead letter is being delivered right now, or its webhook is not in the settings any more.",
    ),
    ProblemCode.TOO_LARGE: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is larger than 64 KiB."),
    ProblemCode.UNSUPPORTED_MEDIA_TYPE: (
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "The body must be `application/json`, not compressed.",
    ),
    ProblemCode.INVALID_MESSAGE: (
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "A field is missing or has the wrong type, length or value; `field` names it.",
    ),
    ProblemCode.INVALID_CONFIG: (
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The bot's provider does not take this `config`; `field` names what is wrong in it.",
    ),
    ProblemCode.UPGRADE_REQUIRED: (HTTPStatus.UPGRADE_REQUIRED, "This address speaks WebSocket."),
    ProblemCode.RATE_LIMITED: (
        HTTPStatus.TOO_MANY_REQUESTS,
        "Too many requests, or too many wrong credentials, from here: wait for `Retry-After` seconds.",
    ),
    ProblemCode.COMPANY_LIMIT: (
        HTTPStatus.TOO_MANY_REQUESTS,
        "The company has as much of something as it may have; the text names the limit.",
    ),
    ProblemCode.INTERNAL: (
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "The server failed; its log has the details under the `correlation_id`.",
    ),
    ProblemCode.TOKENS_UNAVAILABLE: (
        HTTPStatus.NOT_IMPLEMENTED,
        "This server has no key with which it could sign join tokens.",
    ),
    ProblemCode.DELIVERY_FAILED: (
        HTTPStatus.BAD_GATEWAY,
        "The receiver of the webhook did not take it, once more; the text says why.",
    ),
    ProblemCode.AT_CAPACITY: (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "There is no room for more; the text says of what. Try later.",
    ),
    ProblemCode.DRAINING: (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The server is being emptied and takes nobody new: use another one, or try later.",
    ),
    ProblemCode.STORAGE_UNAVAILABLE: (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The database does not answer. What was asked for may hold already, and may not be kept: ask again.",
    ),
}

#: What an error is called that has a status and no code of its own.
_BY_STATUS: dict[int, ProblemCode] = {
    400: ProblemCode.BAD_REQUEST,
    401: ProblemCode.UNAUTHORIZED,
    403: ProblemCode.FORBIDDEN,
    404: ProblemCode.NOT_FOUND,
    405: ProblemCode.METHOD_NOT_ALLOWED,
    408: ProblemCode.REQUEST_TIMEOUT,
    413: ProblemCode.TOO_LARGE,
    415: ProblemCode.UNSUPPORTED_MEDIA_TYPE,
    422: ProblemCode.INVALID_MESSAGE,
    426: ProblemCode.UPGRADE_REQUIRED,
    429: ProblemCode.RATE_LIMITED,
    503: ProblemCode.AT_CAPACITY,
}


def code_of_status(status: int) -> ProblemCode:
    """Return the code of an error of which only the status is known."""
    return _BY_STATUS.get(status, ProblemCode.BAD_REQUEST if status < 500 else ProblemCode.INTERNAL)
