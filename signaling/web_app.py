"""The HTTP side put together: the interface for programs (``signaling.api``), the page for people, and what all answers have.

Everything here is ``async def`` and quick; only the static files are read from disk, by threads of
Starlette's.
"""

from pathlib import Path

import trio
from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from signaling.api import Entry, add_api
from signaling.problems import MEDIA_TYPE, problem
from signaling.report import Service
from signaling.request_head import WEBSOCKET_PATH
from signaling.telephony.routes import telephony_router
from signaling.version import SERVER_NAME, server_version

STATIC_FILES = Path(__file__).parent / "web" / "static"

#: The page is served whole from here and talks to nobody else.
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "media-src 'self' blob:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "Permissions-Policy": "camera=(self), microphone=(self), display-capture=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def make_web_app(service: Service) -> ASGIApp:
    """Return the ASGI application of one service."""
    app = FastAPI(
        title=SERVER_NAME,
        version=server_version(),
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    add_api(app, service)
    app.include_router(telephony_router(service.settings, service.drain))

    @app.get(WEBSOCKET_PATH.decode(), include_in_schema=False)
    async def not_an_upgrade() -> Response:
        headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        return problem(426, "this address speaks WebSocket version 13; see PROTOCOL.md", headers=headers)

    app.mount("/", StaticFiles(directory=STATIC_FILES, html=True), name="page")
    return _with_whole_sends(_with_security_headers(_refusing_websockets(Entry(app, service))))


def _with_security_headers(app: ASGIApp) -> ASGIApp:
    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] in {"http.response.start", "websocket.http.response.start"}:
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                # A browser may keep the page and asks each time whether it is still the newest (ETag).
                headers.setdefault("Cache-Control", "no-cache" if "etag" in headers else "no-store")
            await send(message)

        await app(scope, receive, send_with_headers)

    return wrapped


def _with_whole_sends(app: ASGIApp) -> ASGIApp:
    """Let no ``send`` be cancelled half-way.

    Starlette's file responses cancel themselves when they hear that the client has gone; Hypercorn tells them
    so from within the ``send`` of the last piece, before it has readied the connection for the next request,
    which would then never be answered. Writes are bounded by the stream's own timeout.
    """

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_whole(message: Message) -> None:
            with trio.CancelScope(shield=True):
                await send(message)

        await app(scope, receive, send_whole)

    return wrapped


def _refusing_websockets(app: ASGIApp) -> ASGIApp:
    """Answer the upgrades that the front door did not take: of a foreign origin, or not to ``/ws``."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await app(scope, receive, send)
            return
        if scope["path"] == WEBSOCKET_PATH.decode():
            response = problem(403, "pages of this origin may not connect; see the setting allowed_origins")
        else:
            response = problem(404, f"there is no WebSocket here; it is at {WEBSOCKET_PATH.decode()}")
        body = bytes(response.body)
        headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
        await send(
            {"type": "websocket.http.response.start", "status": response.status_code, "headers": headers}
        )
        await send({"type": "websocket.http.response.body", "body": body})

    return wrapped
