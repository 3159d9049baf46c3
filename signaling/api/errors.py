"""Whatever is raised, as a problem document: the one place where errors of the parts become answers."""

from collections.abc import Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Match

from signaling.auth import CHALLENGE, AdminDeniedError, AuthError, TooManyAttemptsError
from signaling.bots.errors import BotError
from signaling.lobbies import LobbyExistsError
from signaling.moderation import NotFoundError
from signaling.outbound.errors import OutboundError
from signaling.outbound.retry import RetryableError
from signaling.printable import one_line
from signaling.problem_codes import PROBLEM_CODES, ProblemCode, code_of_status
from signaling.problems import problem, shown_path
from signaling.storage import StoreUnavailableError
from signaling.webhooks.deliveries import DeliveryUnderWayError, EndpointGoneError, UnknownDeliveryError

#: When to come again, in seconds, where nothing better is known.
RETRY_AFTER: dict[ProblemCode, int] = {
    ProblemCode.STORAGE_UNAVAILABLE: 5,
    ProblemCode.AT_CAPACITY: 5,
    ProblemCode.DRAINING: 30,
    ProblemCode.COMPANY_LIMIT: 10,
    ProblemCode.RATE_LIMITED: 1,
}
_MAX_FIELD = 200


class ApiError(Exception):
    """A request that is not carried out; the text says what was wrong, what is expected and what to do."""

    def __init__(
        self,
        code: ProblemCode,
        error: str,
        *,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(error)
        self.code = code
        self.field = field
        self.headers = dict(headers or {})


def not_found(what: str) -> ApiError:
    """Return the error for what is not there, or not for the caller to know of."""
    return ApiError(ProblemCode.NOT_FOUND, f"there is no such {what} (any more)")


def problem_of(error: ApiError) -> Response:
    """Return the answer."""
    status = PROBLEM_CODES[error.code][0]
    headers = dict(error.headers)
    if error.code in RETRY_AFTER:
        headers.setdefault("Retry-After", str(RETRY_AFTER[error.code]))
    if status is HTTPStatus.UNAUTHORIZED:
        headers.setdefault("WWW-Authenticate", CHALLENGE)
    more = {} if error.field is None else {"field": error.field[:_MAX_FIELD]}
    return problem(status, str(error), code=error.code, headers=headers, **more)


def answer_with_problems(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Let every error of this application be a problem document; ``routes`` are those whose methods are told."""
    app.add_exception_handler(HTTPException, partial(_http, routes))
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(Exception, _internal)
    for kind in _TRANSLATED:
        app.add_exception_handler(kind, _translated)


def translate(error: Exception) -> ApiError:
    """Return what an error of a part is called here; for ``_TRANSLATED`` only."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, AuthError):
        return _of_auth(error)
    if isinstance(error, BotError) and error.code in set(ProblemCode):
        return ApiError(ProblemCode(error.code), str(error), field=error.field)
    for kind, code in _BY_KIND.items():
        if isinstance(error, kind):
            return ApiError(code, str(error))
    raise error


def _of_auth(error: AuthError) -> ApiError:
    try:
        code = ProblemCode(error.code)
    except ValueError:
        code = ProblemCode.FORBIDDEN
    headers = {}
    if isinstance(error, AdminDeniedError | TooManyAttemptsError) and error.retry_after_seconds is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after_seconds)))
    return ApiError(code, str(error), field=error.field, headers=headers)


_BY_KIND: dict[type[Exception], ProblemCode] = {
    StoreUnavailableError: ProblemCode.STORAGE_UNAVAILABLE,
    NotFoundError: ProblemCode.NOT_FOUND,
    LobbyExistsError: ProblemCode.LOBBY_EXISTS,
    UnknownDeliveryError: ProblemCode.NOT_FOUND,
    EndpointGoneError: ProblemCode.DELIVERY_CONFLICT,
    DeliveryUnderWayError: ProblemCode.DELIVERY_CONFLICT,
    OutboundError: ProblemCode.DELIVERY_FAILED,
    RetryableError: ProblemCode.DELIVERY_FAILED,
}
_TRANSLATED: tuple[type[Exception], ...] = (ApiError, AuthError, BotError, *_BY_KIND)


async def _translated(_: Request, error: Exception) -> Response:
    return problem_of(translate(error))


async def _internal(_: Request, __: Exception) -> Response:
    # It goes on to be logged and counted by `entry.py`; to strangers it is not shown.
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "the server failed; its log has the details under the correlation id",
    )


async def _http(routes: Sequence[BaseRoute], request: Request, error: Exception) -> Response:
    raised = cast("HTTPException", error)
    status, headers, detail = raised.status_code, dict(raised.headers or {}), raised.detail
    if status in {HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_FOUND} and (
        methods := _methods(routes, request)
    ):
        # Starlette names the methods of the first route of a path only, and looks for a file for GET.
        status, headers["Allow"] = HTTPStatus.METHOD_NOT_ALLOWED, ", ".join(sorted(methods))
        detail = f"not with this method here; there are {headers['Allow']}"
    elif status == HTTPStatus.NOT_FOUND:
        detail = "there is nothing at this path; /docs lists what there is"
    return problem(
        status,
        detail if detail != HTTPStatus(status).phrase else None,
        code=code_of_status(status),
        headers=headers,
        instance=shown_path(request.url.path),
    )


def _methods(routes: Sequence[BaseRoute], request: Request) -> set[str]:
    """Return the methods there are for the path that was asked for."""
    return {
        method
        for route in routes
        if route.matches(request.scope)[0] is Match.PARTIAL
        for method in getattr(route, "methods", None) or ()
    }


async def _validation(_: Request, error: Exception) -> Response:
    faults = cast("RequestValidationError", error).errors()
    places = [_place(fault) for fault in faults]
    if any(place[0] == "path" for place in places):
        # An id there cannot be is one there is not.
        return problem_of(not_found("thing"))
    text = "; ".join(
        f"{'.'.join(place[1:]) or 'the body'}: {fault['msg']}"[:_MAX_FIELD]
        for place, fault in list(zip(places, faults, strict=True))[:5]
    )
    return problem_of(
        ApiError(ProblemCode.INVALID_MESSAGE, text, field=".".join(places[0][1:]) or places[0][0])
    )


def _place(fault: Mapping[str, Any]) -> tuple[str, ...]:
    """Return where a fault is: ``body``, ``query`` or ``path``, and the way to the field."""
    # Strangers choose the names of what must not be there.
    return tuple(one_line(str(part)[:64]) for part in fault["loc"])
