"""docs/rest.md, the description of the interface, and the code say the same; and what the page shows works."""

import json
import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

from api_client import ADMIN_TOKEN, TOKEN_SECRET, open_api
from fastapi import FastAPI

import signaling
from signaling.api import bodies
from signaling.api.application import ROUTERS
from signaling.api.documentation import SPECIAL, TAGS, openapi
from signaling.api.entry import CORRELATION_HEADER, UNLIMITED
from signaling.api.paging import DEFAULT_LIMIT, MAX_LIMIT
from signaling.auth import errors as auth_errors
from signaling.bots import errors as bot_errors
from signaling.problem_codes import PROBLEM_CODES, ProblemCode

ROOT = Path(signaling.__file__).parents[1]
PAGE = (ROOT / "docs" / "rest.md").read_text(encoding="utf-8")


def described() -> dict[str, Any]:
    app = FastAPI()
    for router in ROUTERS:
        app.include_router(router)
    return openapi(app)


DOCUMENT = described()
OPERATIONS: dict[tuple[str, str], dict[str, Any]] = {
    (method, path): operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}


def who_may(operation: dict[str, Any]) -> str:
    security = operation.get("security", [])
    if not security:
        return "anybody"
    if {} in security:
        return "anybody, company"
    names = {name for each in security for name in each}
    return "company, admin" if "companyKey" in names else "admin"


def test_the_page_lists_every_route_and_who_may_use_it() -> None:
    rows = re.findall(r"^\| `([A-Z]+) (/api/\S+)` \| ([^|]+) \|", PAGE, re.MULTILINE)
    listed = {(method.lower(), path): who.strip() for method, path, who in rows}
    assert listed == {key: who_may(operation) for key, operation in OPERATIONS.items()}


def test_every_route_of_the_code_is_described() -> None:
    routes = {
        (method.lower(), route.path)  # type: ignore[attr-defined]
        for router in ROUTERS
        for route in router.routes
        for method in route.methods  # type: ignore[attr-defined]
    }
    assert routes == set(OPERATIONS)
    assert set(SPECIAL) <= routes


def test_the_page_lists_every_code_with_its_status_and_meaning() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \| (.+) \|$", PAGE, re.MULTILINE)
    listed = {code: (int(status), meaning) for code, status, meaning in rows}
    assert listed == {code.value: (int(status), meaning) for code, (status, meaning) in PROBLEM_CODES.items()}


def test_every_code_that_the_parts_refuse_with_is_known_here() -> None:
    raised: set[str] = set()
    for file in (ROOT / "signaling" / "auth").glob("*.py"):
        text = file.read_text(encoding="utf-8")
        raised |= set(re.findall(r"(?:Error|__init__)\(\s*\"([a-z_]+)\",", text))
        raised |= set(re.findall(r"HTTPStatus\.\w+,\s*\"([a-z_]+)\"", text))
    assert {"at_capacity", "company_exists", "unauthorized", "token_expired", "rate_limited"} <= raised
    assert raised <= {code.value for code in ProblemCode}
    told = {
        kind.code
        for kind in vars(bot_errors).values()
        if isinstance(kind, type) and issubclass(kind, bot_errors.BotError)
    }
    # These are told to providers, or are our own faults.
    assert told - {code.value for code in ProblemCode} <= {
        "bot_error", "illegal_step", "invalid_schema", "stale_offer"
    }  # fmt: skip
    assert auth_errors.AuthError("forbidden", "x").code in set(ProblemCode)


def test_everything_is_described_with_what_can_go_wrong() -> None:
    tags = {tag["name"] for tag in TAGS}
    for (method, path), operation in OPERATIONS.items():
        assert set(operation["tags"]) <= tags, path
        assert operation["summary"], path
        assert operation["description"], path
        problems = {
            status
            for status, answer in operation["responses"].items()
            if "application/problem+json" in answer.get("content", {})
        }
        assert {status for status in operation["responses"] if int(status) >= 400} - problems <= {"503"}, path
        if path in UNLIMITED:
            assert not problems
            continue
        assert {"429", "500", "503"} <= problems, path
        if operation.get("security"):
            assert {"401", "403"} <= problems, path
        if "{" in path:
            assert "404" in problems, path
        if method in {"post", "put", "patch"}:
            assert {"400", "408", "413", "415", "422"} <= problems, path
    assert "HTTPValidationError" not in json.dumps(DOCUMENT)
    enumerated = DOCUMENT["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]
    assert enumerated == [code.value for code in ProblemCode]
    for name in ("companyKey", "adminToken", "adminPassword"):
        assert DOCUMENT["components"]["securitySchemes"][name]["type"] == "http"


def test_the_page_says_the_figures_of_the_code() -> None:
    assert f"up to {bodies.MAX_BODY_BYTES // 1024} KiB" in PAGE
    assert f"within {bodies.BODY_SECONDS:g} s" in PAGE
    assert f"`limit` ({DEFAULT_LIMIT}, at most {MAX_LIMIT})" in PAGE
    assert f"`{CORRELATION_HEADER}`" in PAGE
    for example in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL):
        shown = json.loads(example)
        assert PROBLEM_CODES[ProblemCode(shown["code"])][0] == shown["status"]


async def test_the_examples_of_the_page_work() -> None:
    commands = [
        shlex.split(command)
        for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
        for command in block.replace("\\\n", " ").strip().split("\n")
    ]
    assert len(commands) == 3
    async with open_api(token_secret=TOKEN_SECRET) as api:
        values = {"$RELAY_ADMIN_TOKEN": ADMIN_TOKEN}
        for command in commands:
            assert command[:2] == ["curl", "-X"]
            headers = {}
            for flag, value in pairwise(command):
                if flag == "-H":
                    name, _, text = value.partition(": ")
                    for variable, meant in values.items():
                        text = text.replace(variable, meant)
                    headers[name] = text
            path = command[-1].removeprefix("http://localhost:8080")
            data = command[command.index("-d") + 1]
            answer = await api.http.request(command[2], path, headers=headers, content=data)
            assert answer.status_code == 201, answer.text
            values["$API_KEY"] = answer.json().get("api_key", values.get("$API_KEY"))
