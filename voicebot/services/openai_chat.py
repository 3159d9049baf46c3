"""Text from any HTTP API that is compatible with OpenAI's chat completions, streamed as it is written.

    async with ChatClient(settings, breaker=breaker) as client:
        async with client.stream([ChatMessage("user", "Hello")]) as pieces:
            async for piece in pieces: ...
        completion = await client.complete([...])      # the same, collected; tried again when nothing has come yet

The environment is not looked at (no proxies, no netrc). Redirects are not followed: they would take the key elsewhere.
"""

import json
import random
import ssl
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from types import TracebackType
from typing import Any, Literal, Self

import httpx
import trio

from signaling.outbound.circuit_breaker import CircuitBreaker
from voicebot.backoff import Backoff
from voicebot.services.api_key import ApiKey
from voicebot.services.errors import (
    CircuitOpenError,
    ServiceError,
    ServiceFormatError,
    ServiceRefusedError,
    ServiceUnavailableError,
)
from voicebot.services.recovery import Trial
from voicebot.services.server_sent_events import MAX_EVENT_LENGTH, EventStreamParser
from voicebot.services.service_socket import MAX_REASON_LENGTH, RETRYABLE_STATUSES

SERVICE = "the chat service"
BASE_URL = "https://api.openai.com/v1"
MODEL = "gpt-4o-mini"
#: Of an error's body as much is read.
MAX_ERROR_BYTES = 16 * 1024
#: An answer is cut there: nobody in a chat reads more.
MAX_ANSWER_LENGTH = 8000
#: The longest that a service may make us wait by ``Retry-After``.
MAX_RETRY_AFTER_S = 60.0

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """What somebody said, or what the model is to be."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Completion:
    """What the model wrote. ``complete`` is False when it was cut: by its own limit, or by ours."""

    text: str
    complete: bool


@dataclass(frozen=True, slots=True)
class ChatTimeouts:
    """How long to wait, in seconds."""

    connect_s: float = 5.0
    #: For the first piece, and for each of the others.
    read_s: float = 15.0
    #: For a whole answer, with all attempts.
    total_s: float = 60.0


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """Where it is, and what to ask for. The key comes from the environment only."""

    key: ApiKey | None
    base_url: str = BASE_URL
    model: str = MODEL
    max_tokens: int = 500
    temperature: float | None = None
    timeouts: ChatTimeouts = field(default_factory=ChatTimeouts)
    #: Attempts after the first, when nothing has come yet.
    retries: Backoff = field(default_factory=lambda: Backoff(initial_s=0.5, maximum_s=5.0, attempts=2))

    def __post_init__(self) -> None:
        try:
            url = httpx.URL(self.base_url)
            good = url.scheme in {"http", "https"} and bool(url.host) and not url.userinfo
        except httpx.InvalidURL:
            good = False
        if not good:
            raise ValueError(f"expected a base URL like {BASE_URL}, not {self.base_url!r}")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read ``OPENAI_API_KEY`` (or ``_FILE``), ``OPENAI_BASE_URL``, ``OPENAI_CHAT_MODEL``.

        With a URL of one's own no key is needed.

        Raises: MissingKeyError; ValueError for a URL that is none.
        """
        url = environment.get("OPENAI_BASE_URL", "")
        needed = not url or "OPENAI_API_KEY" in environment or "OPENAI_API_KEY_FILE" in environment
        return cls(
            key=ApiKey.from_environment("OPENAI_API_KEY", environment) if needed else None,
            base_url=url or BASE_URL,
            model=environment.get("OPENAI_CHAT_MODEL", "") or MODEL,
        )


class ChatClient:
    """See the module. Used by many tasks at once; closed by leaving its scope, or by ``aclose``."""

    def __init__(
        self,
        settings: ChatSettings,
        *,
        breaker: CircuitBreaker,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._breaker = breaker
        self._dice = dice
        timeouts = settings.timeouts
        self._http = httpx.AsyncClient(
            headers={} if settings.key is None else {"authorization": f"Bearer {settings.key.reveal()}"},
            timeout=httpx.Timeout(timeouts.read_s, connect=timeouts.connect_s),
            trust_env=False,
            verify=_certificates() if settings.base_url.startswith("https") else False,
        )
        self._url = f"{settings.base_url.rstrip('/')}/chat/completions"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close its connections."""
        with trio.CancelScope(shield=True):
            await self._http.aclose()

    async def complete(self, messages: Sequence[ChatMessage]) -> Completion:
        """Return a whole answer.

        Raises: ServiceRefusedError, ServiceUnavailableError (after the last attempt), ServiceFormatError.
        """
        with trio.move_on_after(self._settings.timeouts.total_s):
            attempt = 0
            while True:
                try:
                    return await self._collect(messages)
                except ServiceUnavailableError as error:
                    if isinstance(error, CircuitOpenError) or not self._settings.retries.allows(attempt):
                        raise
                    delay_s = self._settings.retries.delay_s(attempt, self._dice())
                    attempt += 1
                    await trio.sleep(max(delay_s, error.retry_after_s or 0.0))
        raise ServiceUnavailableError(
            SERVICE, f"did not answer in full within {self._settings.timeouts.total_s:g} s"
        )

    @asynccontextmanager
    async def stream(self, messages: Sequence[ChatMessage]) -> AsyncGenerator["Pieces", None]:
        """Ask once; the answer is read piece by piece within the scope.

        Raises: ServiceRefusedError, ServiceUnavailableError, ServiceFormatError, also from the iterator.
        """
        trial = Trial(self._breaker)
        try:
            async with self._http.stream("POST", self._url, json=self._request(messages)) as response:
                if response.status_code != httpx.codes.OK:
                    raise await self._refusal(response)
                pieces = Pieces(response, trial)
                try:
                    yield pieces
                finally:
                    await pieces.aclose()
        except httpx.TransportError as error:
            trial.fail()
            raise ServiceUnavailableError(SERVICE, _explain(error)) from None
        except (ServiceUnavailableError, ServiceFormatError):
            trial.fail()
            raise
        finally:
            trial.abandon()  # cancelled, or refused: that tells nothing of its health

    async def _collect(self, messages: Sequence[ChatMessage]) -> Completion:
        parts: list[str] = []
        length = 0
        async with self.stream(messages) as pieces:
            async for piece in pieces:
                parts.append(piece)
                length += len(piece)
                if length > MAX_ANSWER_LENGTH:
                    return Completion("".join(parts)[:MAX_ANSWER_LENGTH], complete=False)
        return Completion("".join(parts), complete=pieces.finish_reason in {"stop", ""})

    def _request(self, messages: Sequence[ChatMessage]) -> dict[str, Any]:
        settings = self._settings
        request: dict[str, Any] = {
            "model": settings.model,
            "messages": [{"role": each.role, "content": each.text} for each in messages],
            # OpenAI's newer models know the newer name only, the others mostly the older one.
            "max_completion_tokens" if settings.base_url == BASE_URL else "max_tokens": settings.max_tokens,
            "stream": True,
        }
        if settings.temperature is not None:
            request["temperature"] = settings.temperature
        return request

    async def _refusal(self, response: httpx.Response) -> ServiceError:
        body = b""
        received = response.aiter_bytes()
        try:
            async for more in received:
                body += more
                if len(body) > MAX_ERROR_BYTES:
                    break
        finally:
            await _discard(received)
        said = _error_text(body)
        if self._settings.key is not None:
            said = self._settings.key.redact(said)
        text = f"answered HTTP {response.status_code}" + (f": {said[:MAX_REASON_LENGTH]}" if said else "")
        if response.status_code in RETRYABLE_STATUSES:
            return ServiceUnavailableError(
                SERVICE, text, code=response.status_code, retry_after_s=_retry_after_s(response)
            )
        return ServiceRefusedError(SERVICE, text, status=response.status_code)


class Pieces:
    """The answer as it is written; an async iterator of text."""

    def __init__(self, response: httpx.Response, trial: Trial) -> None:
        self._received = response.aiter_bytes()
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        #: None for a service that does not stream.
        self._parser = None if kind == "application/json" else EventStreamParser(SERVICE)
        self._trial = trial
        self._waiting: deque[str] = deque()
        self._done = False
        #: Why it ended, in the service's words; empty before that.
        self.finish_reason = ""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        while not self._waiting and not self._done:
            await self._read()
        self._trial.succeed()
        if not self._waiting:
            raise StopAsyncIteration
        return self._waiting.popleft()

    async def aclose(self) -> None:
        """Read no more."""
        self._done = True
        self._waiting.clear()
        await _discard(self._received)

    async def _read(self) -> None:
        if self._parser is None:
            self._take(await self._read_whole(), "message")
            self._done = True
            return
        try:
            received = await anext(self._received)
        except StopAsyncIteration:
            raise ServiceUnavailableError(SERVICE, "broke off in the middle of its answer") from None
        for event in self._parser.feed(received):
            if event.data.strip() == "[DONE]":
                self._done = True
                return
            self._take(event.data, "delta")

    async def _read_whole(self) -> str:
        body = b""
        async for more in self._received:
            body += more
            if len(body) > MAX_EVENT_LENGTH:
                raise ServiceFormatError(SERVICE, "sent an answer of more than a megabyte")
        return body.decode(errors="replace")

    def _take(self, text_untrusted: str, where: str) -> None:
        text, reason = _piece(text_untrusted, where)
        self.finish_reason = reason or self.finish_reason
        if text:
            self._waiting.append(text)


async def _discard(received: AsyncIterator[bytes]) -> None:
    """End the reading of a body. httpx has generators within generators: left alone, the inner ones are never closed."""
    with trio.CancelScope() as scope:
        scope.cancel()
        with suppress(httpx.HTTPError, httpx.StreamError):
            async for _ in received:
                pass


def _piece(text_untrusted: str, where: str) -> tuple[str, str]:
    try:
        said = json.loads(text_untrusted)
    except (ValueError, RecursionError):
        raise ServiceFormatError(SERVICE, "sent what is no JSON") from None
    if not isinstance(said, dict):
        raise ServiceFormatError(SERVICE, "sent a piece that is no object")
    if said.get("error"):
        raise ServiceUnavailableError(SERVICE, f"broke off: {_error_text(text_untrusted.encode())}"[:400])
    choices = said.get("choices")
    if not isinstance(choices, list) or not choices:
        return "", ""  # figures of its use come like this
    first = choices[0] if isinstance(choices[0], dict) else {}
    written = first.get(where)
    text = written.get("content") if isinstance(written, dict) else None
    reason = first.get("finish_reason")
    return text if isinstance(text, str) else "", reason if isinstance(reason, str) else ""


def _error_text(body_untrusted: bytes) -> str:
    """Return what an error says: ``{"error": {"message": ...}}`` with most, anything with others."""
    text = body_untrusted.decode(errors="replace").strip()
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    error = said.get("error") if isinstance(said, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return " ".join((message if isinstance(message, str) else text).split())


def _explain(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.ConnectTimeout):
        return "cannot be reached in time"
    if isinstance(error, httpx.TimeoutException):
        return "did not answer in time"
    if isinstance(error, httpx.ConnectError):
        return f"cannot be reached: {error}"
    return f"broke off: {error or type(error).__name__}"


def _retry_after_s(response: httpx.Response) -> float | None:
    value = response.headers.get("retry-after", "")
    return min(float(value), MAX_RETRY_AFTER_S) if value.isascii() and value.isdigit() else None


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    """Loading them takes tens of milliseconds, which bots need not spend each."""
    return httpx.create_ssl_context(trust_env=False)
