"""The interface described for programs (OpenAPI) and for people (``/docs``), all of it from our own origin.

What can go wrong with an operation follows from what it is: it asks for a credential, has an id in its path, takes a
body. The errors are added here, so that no route can forget them.
"""

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from signaling.api.entry import CORRELATION_HEADER, UNLIMITED
from signaling.problem_codes import PROBLEM_CODES, ProblemCode
from signaling.problems import MEDIA_TYPE
from signaling.version import SERVER_NAME, server_version

PAGES = Path(__file__).parent / "pages"
#: The package that has Swagger UI's files; none of its code is used.
SWAGGER_UI = "fastapi_offline"

TAGS: tuple[dict[str, str], ...] = (
    {"name": "system", "description": "How the server is. Open to everybody."},
    {"name": "sessions", "description": "A session is one client's state; it outlives its connection."},
    {"name": "lobbies", "description": "A lobby is a room: people and bots meet there."},
    {
        "name": "moderation",
        "description": "What is done to participants by who is responsible for the lobby.",
    },
    {"name": "bots", "description": "Bots are participants run by bot providers."},
    {"name": "tokens", "description": "Join tokens let one client enter a lobby, with certain permissions."},
    {
        "name": "companies",
        "description": "Companies (tenants) have lobbies, names and sessions of their own.",
    },
    {"name": "admin", "description": "For the administrator. All that is done goes to the audit log."},
)

DESCRIPTION = """\
The interface for programs of a WebRTC media relay. Clients that take part in a call use the WebSocket at `/ws`.

**Who asks.** A company sends its API key, `Authorization: Bearer tr_...`, and sees what is its own; the administrator sends
the administrator's token the same way, or as the password of user `admin`.

**Errors** are problem documents (RFC 9457) with a stable `code`, a `detail` for people, `field` where a part of the request is at
fault, and a `correlation_id`, which finds in the server's log what happened.

**Limits.** `X-RateLimit-Limit`, `-Remaining` and `-Reset` (seconds) say how many requests a minute are left.
"""

_PROBLEM_SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "description": "RFC 9457.",
    "type": "object",
    "required": ["type", "title", "status", "code"],
    "properties": {
        "type": {"type": "string", "const": "about:blank"},
        "title": {"type": "string", "description": "what the HTTP status means"},
        "status": {"type": "integer"},
        "code": {"type": "string", "enum": [code.value for code in ProblemCode]},
        "detail": {
            "type": "string",
            "description": "for people: what was wrong, what is expected, what to do",
        },
        "field": {
            "type": "string",
            "description": "the part of the request at fault, such as `limits.max_bots`",
        },
        "instance": {"type": "string", "description": "the path that was asked for"},
        "correlation_id": {"type": "string", "description": "finds in the server's log what happened"},
    },
}
_CREDENTIAL = (
    ProblemCode.UNAUTHORIZED,
    ProblemCode.FORBIDDEN,
    ProblemCode.ADMIN_CLOSED,
    ProblemCode.CROSS_SITE,
)
_BODY = (
    ProblemCode.INVALID_JSON,
    ProblemCode.REQUEST_TIMEOUT,
    ProblemCode.TOO_LARGE,
    ProblemCode.UNSUPPORTED_MEDIA_TYPE,
    ProblemCode.INVALID_MESSAGE,
)
_ALWAYS = (ProblemCode.RATE_LIMITED, ProblemCode.INTERNAL, ProblemCode.STORAGE_UNAVAILABLE)
#: header -> type and meaning. Those of limits are not on what is not limited.
_HEADERS = {
    CORRELATION_HEADER: ("string", "finds in the server's log what happened"),
    "X-RateLimit-Limit": ("integer", "requests a minute"),
    "X-RateLimit-Remaining": ("integer", "those left now"),
    "X-RateLimit-Reset": ("integer", "seconds until all are available again"),
}
#: What only some operations answer, by method and path.
SPECIAL: dict[tuple[str, str], tuple[ProblemCode, ...]] = {
    ("post", "/api/sessions"): (
        ProblemCode.DRAINING,
        ProblemCode.COMPANY_LIMIT,
        ProblemCode.AT_CAPACITY,
    ),
    ("post", "/api/lobbies"): (
        ProblemCode.DRAINING,
        ProblemCode.COMPANY_LIMIT,
        ProblemCode.COMPANY_UNKNOWN,
        ProblemCode.LOBBY_EXISTS,
        ProblemCode.AT_CAPACITY,
    ),
    ("patch", "/api/lobbies/{lobby_id}"): (ProblemCode.AT_CAPACITY,),
    ("post", "/api/lobbies/{lobby_id}/bots"): (
        ProblemCode.UNKNOWN_LOBBY,
        ProblemCode.INVALID_CONFIG,
        ProblemCode.IDEMPOTENCY_CONFLICT,
        ProblemCode.COMPANY_LIMIT,
        ProblemCode.AT_CAPACITY,
        ProblemCode.DRAINING,
    ),
    ("delete", "/api/bots/{bot_id}"): (ProblemCode.UNKNOWN_BOT,),
    ("post", "/api/providers/{provider_id}/drain"): (ProblemCode.UNKNOWN_PROVIDER,),
    ("post", "/api/tokens"): (ProblemCode.TOKENS_UNAVAILABLE, ProblemCode.COMPANY_UNKNOWN),
    ("post", "/api/companies"): (ProblemCode.COMPANY_EXISTS, ProblemCode.AT_CAPACITY),
    ("post", "/api/companies/{company_id}/keys"): (ProblemCode.COMPANY_UNKNOWN, ProblemCode.AT_CAPACITY),
    ("put", "/api/admin/names"): (ProblemCode.COMPANY_UNKNOWN, ProblemCode.AT_CAPACITY),
    ("delete", "/api/admin/names"): (ProblemCode.NOT_FOUND,),
    ("post", "/api/admin/webhooks/dead-letters/{delivery_id}/redeliver"): (
        ProblemCode.DELIVERY_CONFLICT,
        ProblemCode.DELIVERY_FAILED,
    ),
}
#: Operations whose credential may be left out.
OPTIONAL_CREDENTIAL = frozenset({("post", "/api/sessions"), ("get", "/api/lobbies")})


def add_documentation(app: FastAPI) -> None:
    """Give an application its description, and the page that shows it."""
    described: dict[str, Any] = {}

    def describe() -> dict[str, Any]:
        if not described:
            described.update(openapi(app))
        return described

    app.openapi = describe  # type: ignore[method-assign] # as FastAPI documents it
    for path, file in _files().items():
        app.add_route(path, partial(_serve_file, file), include_in_schema=False)


def openapi(app: FastAPI) -> dict[str, Any]:
    """Return the description."""
    document = get_openapi(
        title=SERVER_NAME,
        version=server_version(),
        summary="Sessions, lobbies, bots and administration of a WebRTC media relay",
        description=DESCRIPTION,
        routes=app.routes,
        tags=list(TAGS),
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    components = document["components"]
    components["schemas"]["Problem"] = _PROBLEM_SCHEMA
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)
    components["headers"] = {
        name: {"description": description, "schema": {"type": kind}}
        for name, (kind, description) in _HEADERS.items()
    }
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _complete(operation, method, path)
    return document


def _complete(operation: dict[str, Any], method: str, path: str) -> None:
    """Add to an operation what goes for all of its kind."""
    limited = path not in UNLIMITED
    if (method, path) in OPTIONAL_CREDENTIAL:
        operation["security"] = [{}, *_all_credentials()]
    responses = operation["responses"]
    responses.pop("422", None)
    for response in responses.values():
        response["headers"] = response.get("headers", {}) | _headers(limited=limited)
    if not limited:
        return
    by_status: dict[int, list[ProblemCode]] = {}
    for code in dict.fromkeys(_problems(operation, method, path)):
        by_status.setdefault(PROBLEM_CODES[code][0], []).append(code)
    for status, codes in sorted(by_status.items()):
        responses[str(status)] = {
            "description": "\n".join(f"- `{code}`: {PROBLEM_CODES[code][1]}" for code in codes),
            "headers": _headers(limited=True),
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "example": {
                        "type": "about:blank",
                        "title": PROBLEM_CODES[codes[0]][0].phrase,
                        "status": status,
                        "code": codes[0].value,
                        "detail": PROBLEM_CODES[codes[0]][1],
                        "correlation_id": "c-1f2e3d4c",
                    },
                }
            },
        }


def _problems(operation: dict[str, Any], method: str, path: str) -> tuple[ProblemCode, ...]:
    parameters = operation.get("parameters", [])
    found: tuple[ProblemCode, ...] = ()
    if operation.get("security"):
        found += _CREDENTIAL
    if any(parameter["in"] == "path" for parameter in parameters):
        found += (ProblemCode.NOT_FOUND,)
    if any(parameter["in"] == "query" for parameter in parameters):
        found += (ProblemCode.INVALID_MESSAGE,)
    if method in {"post", "put", "patch"}:
        found += _BODY
    return (*found, *SPECIAL.get((method, path), ()), *_ALWAYS)


def _all_credentials() -> list[dict[str, list[str]]]:
    return [{"companyKey": []}, {"adminToken": []}, {"adminPassword": []}]


def _headers(*, limited: bool) -> dict[str, Any]:
    """Return references to the headers of an answer."""
    return {
        name: {"$ref": f"#/components/headers/{name}"}
        for name in _HEADERS
        if limited or name == CORRELATION_HEADER
    }


def _files() -> dict[str, Path]:
    """Return path -> file of the page."""
    spec = find_spec(SWAGGER_UI)
    assert spec is not None, f"{SWAGGER_UI} is a dependency"
    assert spec.submodule_search_locations is not None
    bundle = Path(spec.submodule_search_locations[0]) / "static"
    return {
        "/docs": PAGES / "docs.html",
        "/docs/start.js": PAGES / "start.js",
        "/docs/swagger-ui-bundle.js": bundle / "swagger-ui-bundle.js",
        "/docs/swagger-ui.css": bundle / "swagger-ui.css",
    }


async def _serve_file(file: Path, _request: Request) -> Response:
    return FileResponse(file)
