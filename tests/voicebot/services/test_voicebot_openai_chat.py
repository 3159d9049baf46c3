"""Text by the chat completions API: a service of our own at the far end, over real sockets."""

from collections import deque
from dataclasses import replace

import pytest
import trio
from chat_server import (
    KEY,
    Answer,
    ChatServer,
    cut,
    endless,
    hang,
    open_chat_server,
    raw,
    refuse,
    reply,
    stall,
)

from signaling.outbound.circuit_breaker import BreakerState, CircuitBreaker
from voicebot.backoff import Backoff
from voicebot.services.api_key import ApiKey
from voicebot.services.errors import (
    CircuitOpenError,
    MissingKeyError,
    ServiceFormatError,
    ServiceRefusedError,
    ServiceUnavailableError,
)
from voicebot.services.openai_chat import (
    MAX_ANSWER_LENGTH,
    ChatClient,
    ChatMessage,
    ChatSettings,
    ChatTimeouts,
    Completion,
)

QUESTION = [ChatMessage("system", "Be brief."), ChatMessage("user", "Hello")]
ONCE = Backoff(initial_s=0.01, maximum_s=0.01, attempts=1)


def client(server: ChatServer, *answers: Answer, breaker: CircuitBreaker | None = None, **more) -> ChatClient:
    if answers:
        server.answers = deque(answers)
    settings = ChatSettings(
        key=ApiKey(KEY),
        base_url=server.url,
        model="test-1",
        retries=ONCE,
        timeouts=ChatTimeouts(connect_s=1, read_s=0.3, total_s=2),
    )
    return ChatClient(replace(settings, **more), breaker=breaker or CircuitBreaker("chat", failures=3))


async def test_answer_comes_piece_by_piece() -> None:
    async with open_chat_server() as server, client(server, reply("Hel", "lo ", "there.")) as chat:
        async with chat.stream(QUESTION) as pieces:
            assert [piece async for piece in pieces] == ["Hel", "lo ", "there."]
            assert pieces.finish_reason == "stop"
        assert server.requests == [
            {
                "model": "test-1",
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": "Hello"},
                ],
                "max_tokens": 500,
                "stream": True,
            }
        ]


async def test_answer_that_the_service_cut_is_told_as_such() -> None:
    async with open_chat_server() as server, client(server, reply("Once upon", reason="length")) as chat:
        assert await chat.complete(QUESTION) == Completion("Once upon", complete=False)


async def test_service_that_does_not_stream_is_understood() -> None:
    body = b'{"choices": [{"message": {"role": "assistant", "content": "All at once."}, "finish_reason": "stop"}]}'
    async with (
        open_chat_server() as server,
        client(server, raw(body, "application/json; charset=utf-8")) as chat,
    ):
        assert await chat.complete(QUESTION) == Completion("All at once.", complete=True)


async def test_answer_without_an_end_is_cut() -> None:
    async with open_chat_server() as server, client(server, endless) as chat:
        completion = await chat.complete(QUESTION)
        assert len(completion.text) == MAX_ANSWER_LENGTH
        assert not completion.complete


async def test_reader_may_leave_in_the_middle() -> None:
    async with open_chat_server() as server, client(server, endless) as chat:
        for _ in range(3):
            async with chat.stream(QUESTION) as pieces:
                assert await anext(pieces) == "and so on "


async def test_refused_key_is_not_tried_again_and_not_told() -> None:
    async with open_chat_server() as server, client(server, key=ApiKey("sk-wrong")) as chat:
        with pytest.raises(ServiceRefusedError, match="HTTP 401: Incorrect API key provided") as raised:
            await chat.complete(QUESTION)
        assert "sk-wrong" not in str(raised.value)
        assert raised.value.status == 401
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (refuse(429, "slow down", retry_after="0"), "HTTP 429: slow down"),
        (refuse(500), "HTTP 500"),
        (hang, "did not answer in time"),
        (stall, "did not answer in time"),
        (cut, "broke off"),
        (raw(b'data: {"error": {"message": "overloaded"}}\n\n'), "broke off: overloaded"),
        (raw(b'data: {"choices": []}\n\n'), "broke off in the middle of its answer"),
    ],
)
async def test_failure_is_tried_again_and_then_told(fault: Answer, text: str) -> None:
    async with open_chat_server() as server:
        async with client(server, fault, reply("Now.")) as chat:
            assert (await chat.complete(QUESTION)).text == "Now."
        async with client(server, fault) as chat:
            with pytest.raises(ServiceUnavailableError, match=text):
                await chat.complete(QUESTION)
        assert len(server.requests) == 4


@pytest.mark.parametrize(
    "garbage",
    [
        raw(b"data: {\n\n"),
        raw(b"data: 7\n\n"),
        raw(b"data: " + b"x" * (1 << 21)),
        raw(b"{", "application/json"),
        raw(b" " * (1 << 21), "application/json"),
        raw(b"data: " + b"[" * 100_000 + b"\n\n"),
    ],
)
async def test_garbage_is_told_as_such(garbage: Answer) -> None:
    async with open_chat_server() as server, client(server, garbage) as chat:
        with pytest.raises(ServiceFormatError, match="the chat service sent"):
            await chat.complete(QUESTION)


async def test_odd_pieces_are_passed_over() -> None:
    odd = b'data: {"choices": [7]}\n\ndata: {"choices": [{"delta": {"content": null}}]}\n\nevent: ping\ndata: {}\n\ndata: [DONE]\n\n'
    async with open_chat_server() as server, client(server, raw(odd)) as chat:
        assert await chat.complete(QUESTION) == Completion("", complete=True)


async def test_answer_that_takes_too_long_in_all_is_given_up() -> None:
    async def drip(exchange) -> None:
        await exchange.begin()
        while True:
            await exchange.say(".")
            await trio.sleep(0.05)

    timeouts = ChatTimeouts(connect_s=1, read_s=1, total_s=0.3)
    async with open_chat_server() as server, client(server, drip, timeouts=timeouts) as chat:
        with pytest.raises(ServiceUnavailableError, match=r"did not answer in full within 0\.3 s"):
            await chat.complete(QUESTION)


async def test_service_that_keeps_failing_is_left_alone() -> None:
    breaker = CircuitBreaker("the chat service", failures=2, open_seconds=0.2)
    async with open_chat_server() as server, client(server, refuse(503), breaker=breaker) as chat:
        with pytest.raises(ServiceUnavailableError, match="HTTP 503"):
            await chat.complete(QUESTION)
        assert breaker.state is BreakerState.OPEN
        asked = len(server.requests)
        with pytest.raises(CircuitOpenError):
            await chat.complete(QUESTION)
        assert len(server.requests) == asked
        server.answers = deque([reply("Back.")])
        while breaker.state is not BreakerState.CLOSED:
            try:
                assert (await chat.complete(QUESTION)).text == "Back."
            except CircuitOpenError as error:
                await trio.sleep(min(error.retry_after_s or 0, 0.05))
        assert len(server.requests) == asked + 1


async def test_nobody_there_is_told() -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    settings = ChatSettings(key=None, base_url=f"http://127.0.0.1:{port}/v1", retries=ONCE)
    async with ChatClient(settings, breaker=CircuitBreaker("chat")) as chat:
        with pytest.raises(ServiceUnavailableError, match="cannot be reached"):
            await chat.complete(QUESTION)


async def test_cancelled_question_tells_nothing_of_the_service() -> None:
    breaker = CircuitBreaker("chat", failures=1)
    async with open_chat_server() as server, client(server, hang, breaker=breaker) as chat:
        with trio.move_on_after(0.1) as patience:
            await chat.complete(QUESTION)
        assert patience.cancelled_caught
        assert breaker.state is BreakerState.CLOSED


def test_settings_come_from_the_environment() -> None:
    settings = ChatSettings.from_environment({"OPENAI_API_KEY": "sk-1", "OPENAI_CHAT_MODEL": "m"})
    assert settings.key is not None
    assert (settings.key.reveal(), settings.model) == ("sk-1", "m")
    assert "sk-1" not in repr(settings)
    assert ChatSettings.from_environment({"OPENAI_BASE_URL": "http://127.0.0.1:8000/v1"}).key is None
    with pytest.raises(MissingKeyError):
        ChatSettings.from_environment({})
    with pytest.raises(ValueError, match="expected a base URL"):
        ChatSettings(key=None, base_url="ftp://x")
