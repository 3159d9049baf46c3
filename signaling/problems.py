"""Errors of the HTTP interface as problem documents (RFC 9457), each with a stable ``code``."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse, Response

from signaling.correlation import correlation_id
from signaling.problem_codes import ProblemCode, code_of_status
from signaling.redaction import REDACTED, redact_text

MEDIA_TYPE = "application/problem+json"
#: Below this, WebSockets have an API key in their address (``peer_path``). Whoever gets it wrong ends up here.
_KEYED_PATHS = "/signal/"


def problem(
    status: int,
    detail: str | None = None,
    *,
    code: ProblemCode | None = None,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Response:
    """Return a problem document; ``more`` are members of its own."""
    content = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code or code_of_status(status),
        **more,
    }
    if detail:
        content["detail"] = detail
    if connection := correlation_id():
        content["correlation_id"] = connection
    return JSONResponse(content, status, headers, media_type=MEDIA_TYPE)


def shown_path(path_untrusted: str) -> str:
    """Return the path without the secrets that may stand in it: clients write answers to their logs."""
    if path_untrusted.lower().startswith(_KEYED_PATHS):
        return _KEYED_PATHS + REDACTED
    return redact_text(path_untrusted)
