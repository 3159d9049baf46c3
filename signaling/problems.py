"""Errors of the HTTP interface as problem documents (RFC 9457)."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from signaling.redaction import REDACTED, redact_text

MEDIA_TYPE = "application/problem+json"
#: Below this, WebSockets have an API key in their address (``peer_path``). Whoever gets it wrong ends up here.
_KEYED_PATHS = "/signal/"


def problem(
    status: int, detail: str | None = None, *, headers: dict[str, str] | None = None, **more: Any
) -> Response:
    """Return a problem document; ``more`` are members of its own."""
    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, **more}
    if detail:
        content["detail"] = detail
    return JSONResponse(content, status, headers, media_type=MEDIA_TYPE)


def answer_with_problems(app: FastAPI) -> None:
    """Let every error of this application be a problem document."""

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        detail = error.detail if error.detail != HTTPStatus(error.status_code).phrase else None
        headers = dict(error.headers) if error.headers else None
        return problem(error.status_code, detail, headers=headers, instance=_shown(request.url.path))


def _shown(path_untrusted: str) -> str:
    """Return the path without the secrets that may stand in it: clients write answers to their logs."""
    if path_untrusted.lower().startswith(_KEYED_PATHS):
        return _KEYED_PATHS + REDACTED
    return redact_text(path_untrusted)
