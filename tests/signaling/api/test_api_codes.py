"""Every code that an error may have is what some test expects, here or elsewhere."""

from enum import Enum
from pathlib import Path

import pytest
from http_requests import Response, fetch, send, upgrade
from running_server import running_server

from signaling.api.errors import problem_of, translate
from signaling.bots import UnknownBotError, UnknownLobbyError, UnknownProviderError
from signaling.messages import CloseCode, ErrorCode
from signaling.peer_path.codes import PeerCloseCode, PeerErrorCode
from signaling.problem_codes import ProblemCode

TESTS = Path(__file__).parents[2]


@pytest.mark.parametrize("codes", [ErrorCode, CloseCode, ProblemCode, PeerErrorCode, PeerCloseCode])
def test_every_code_is_expected_by_a_test(codes: type[Enum]) -> None:
    written = "".join(path.read_text(encoding="utf-8") for path in TESTS.rglob("*.py"))
    for code in codes:
        value = str(code.value) if isinstance(code.value, int) else f'"{code.value}"'
        assert f"{codes.__name__}.{code.name}" in written or value in written, code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnknownLobbyError("gone"), ProblemCode.UNKNOWN_LOBBY),
        (UnknownBotError("gone"), ProblemCode.UNKNOWN_BOT),
        (UnknownProviderError("gone"), ProblemCode.UNKNOWN_PROVIDER),
    ],
)
def test_what_went_while_it_was_asked_for_is_not_found(error: Exception, code: ProblemCode) -> None:
    answer = problem_of(translate(error))
    assert answer.status_code == 404
    assert f'"code":"{code.value}"'.encode() in bytes(answer.body).replace(b": ", b":")


async def test_a_request_that_should_be_an_upgrade_and_an_upgrade_that_is_none_say_so() -> None:
    async with running_server() as server:
        plain = await fetch(server.url, "/ws")
        assert (plain.status, plain.json["code"]) == (426, ProblemCode.UPGRADE_REQUIRED)
        smuggling = Response(await send(server.url, upgrade("/ws", "Content-Length: 5"), end=True))
        assert (smuggling.status, smuggling.json["code"]) == (400, ProblemCode.BAD_REQUEST)
