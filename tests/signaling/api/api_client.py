"""A program that uses the HTTP interface of a real server, and the one way errors are looked at."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from running_server import running_server

from signaling.problem_codes import PROBLEM_CODES, ProblemCode
from signaling.server import RunningServer

ADMIN_TOKEN = "a-token-for-tests-only"
TOKEN_SECRET = "a-secret-for-tests-only-0123456789"
PATIENCE_SECONDS = 20


@dataclass
class Api:
    server: RunningServer
    http: httpx.AsyncClient

    async def ask(
        self, method: str, path: str, body: Any = None, *, key: str | None = ADMIN_TOKEN, **more: Any
    ) -> httpx.Response:
        headers = dict(more.pop("headers", {}))
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        if body is not None:
            more["json"] = body
        answer = await self.http.request(method, path, headers=headers, **more)
        assert answer.headers["x-correlation-id"].startswith("c-")
        return answer

    async def get(self, path: str, *, key: str | None = ADMIN_TOKEN, status: int = 200, **params: Any) -> Any:
        answer = await self.ask("GET", path, key=key, params=params)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def do(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = ADMIN_TOKEN,
        status: int = 200,
        **more: Any,
    ) -> Any:
        answer = await self.ask(method, path, body, key=key, **more)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def refused(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        code: ProblemCode,
        key: str | None = ADMIN_TOKEN,
        **more: Any,
    ) -> dict[str, Any]:
        """Ask for what is refused with this code; return the problem document."""
        answer = await self.ask(method, path, body, key=key, **more)
        assert_problem(answer, code)
        return answer.json()

    async def company(self, name: str = "Example", **limits: int) -> tuple[str, str]:
        """Make a company; return its id and its key."""
        made = await self.do("POST", "/api/companies", {"name": name, "limits": limits}, status=201)
        return made["company_id"], made["api_key"]

    async def audited(self) -> list[dict[str, Any]]:
        """Return the entries of the audit log, the newest first."""
        return (await self.get("/api/admin/audit", limit=200))["entries"]


def assert_problem(answer: httpx.Response, code: ProblemCode) -> None:
    """Assert that this is a problem document with this code, and all that goes with it."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    content = answer.json()
    assert content["code"] == code, content
    status = PROBLEM_CODES[code][0]
    assert (answer.status_code, content["status"]) == (status, status)
    assert content["correlation_id"] == answer.headers["x-correlation-id"]
    assert content.get("detail")
    if status in {429, 503}:
        assert int(answer.headers["retry-after"]) >= 1
    if status == 401:
        assert "Bearer" in answer.headers["www-authenticate"]


@asynccontextmanager
async def open_api(**settings: Any) -> AsyncIterator[Api]:
    """Run a server with an administrator's token and a key for join tokens, unless told otherwise."""
    settings = {"admin_token": ADMIN_TOKEN, "token_secret": TOKEN_SECRET} | settings
    async with (
        running_server(**settings) as server,
        httpx.AsyncClient(base_url=server.url, timeout=PATIENCE_SECONDS) as http,
    ):
        yield Api(server, http)
