"""A conversation by voice that survives outages: audio goes in without waiting, events are handed up in their order.

    session = RealtimeSession(settings, breaker=breaker, handle=assistant.handle)
    nursery.start_soon(session.run)
    session.feed(frame.pcm, frame.timestamp)

Each connection is a conversation of its own: OpenAI ends one after an hour at the latest. ``recall`` says what the next one
should know of the former. What is spoken while the service is away is lost and counted: at most ``BACKLOG_MS`` wait for it.
"""

import json
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import trio

from signaling.outbound.circuit_breaker import CircuitBreaker
from voicebot.backoff import Backoff
from voicebot.nursery import open_bare_nursery
from voicebot.services.audio_feed import BACKLOG_MS, AudioFeed
from voicebot.services.bounded_queue import BoundedQueue
from voicebot.services.errors import (
    ServiceError,
    ServiceFormatError,
    ServiceRefusedError,
    ServiceUnavailableError,
)
from voicebot.services.openai_realtime import (
    FATAL_CODES,
    SERVICE,
    SESSION_UPDATE_ID,
    ErrorEvent,
    RealtimeEvent,
    RealtimeSettings,
    SessionReady,
    append_audio,
    parse_event,
    session_update,
)
from voicebot.services.recovery import SERVICE_BACKOFF, Trial, keep_served
from voicebot.services.service_socket import ServiceSocket, open_service_socket
from voicebot.stream import OpenStream

#: Things to say that wait to be sent. Overflow policy: the oldest goes, counted; more than a few never wait while it listens.
QUEUE_LENGTH = 256


@dataclass(frozen=True, slots=True)
class Connected:
    """There is a conversation. ``again``: it replaces one that was lost."""

    again: bool


@dataclass(frozen=True, slots=True)
class Lost:
    """The conversation was lost, or could not begin, and why; it will be tried again."""

    error: ServiceError


Handle = Callable[[RealtimeEvent | Connected | Lost], Awaitable[None]]
"""Called with each event, in order; the next one waits for it. What it raises ends ``run``."""
Recall = Callable[[], Sequence[dict[str, Any]]]
"""Returns what to say at the beginning of a conversation, after its settings."""


@dataclass(frozen=True, slots=True)
class SessionStatistics:
    """Counters of a session; all only grow."""

    connections: int
    failures: int
    dropped_audio_ms: float
    unreadable_events: int
    errors: int


class RealtimeSession:
    """See the module."""

    def __init__(
        self,
        settings: RealtimeSettings,
        *,
        breaker: CircuitBreaker,
        handle: Handle,
        recall: Recall = lambda: (),
        backoff: Backoff = SERVICE_BACKOFF,
        open_stream: OpenStream | None = None,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._breaker = breaker
        self._handle = handle
        self._recall = recall
        self._backoff = backoff
        self._open_stream = open_stream
        self._dice = dice
        self._feed = AudioFeed(settings.rate)
        self._to_say: BoundedQueue[dict[str, Any]] = BoundedQueue(QUEUE_LENGTH)
        self._connected = False
        self._connections = 0
        self._failures = 0
        self._unreadable = 0
        self._errors = 0

    @property
    def connected(self) -> bool:
        """Whether there is a conversation."""
        return self._connected

    def feed(self, pcm: bytes, timestamp: int) -> None:
        """Give it audio (s16le mono at the session's rate); never waits."""
        self._feed.put_nowait(pcm, timestamp)

    def say(self, event: dict[str, Any]) -> bool:
        """Say something in this conversation; never waits. False, and nothing happens, when there is none."""
        if self._connected:
            self._to_say.put_nowait(event)
        return self._connected

    def statistics(self) -> SessionStatistics:
        """Return the counters as they are now."""
        return SessionStatistics(
            connections=self._connections,
            failures=self._failures,
            dropped_audio_ms=self._feed.dropped_ms,
            unreadable_events=self._unreadable,
            errors=self._errors,
        )

    async def run(self) -> None:
        """Converse until cancelled.

        Raises: ServiceRefusedError; what ``handle`` raises.
        """
        await keep_served(
            self._serve,
            breaker=self._breaker,
            backoff=self._backoff,
            report=self._note_failure,
            dice=self._dice,
        )

    async def _serve(self, trial: Trial) -> None:
        try:
            async with (
                open_service_socket(
                    SERVICE,
                    self._settings.url(),
                    key=self._settings.key,
                    timeouts=self._settings.timeouts,
                    open_stream=self._open_stream,
                ) as socket,
                open_bare_nursery() as nursery,
            ):
                await self._begin(socket)
                trial.succeed()
                nursery.start_soon(self._send_audio, socket)
                nursery.start_soon(self._send_events, socket)
                await self._handle(Connected(again=self._connections > 1))
                while True:
                    await self._receive(socket)
        except ServiceError as error:
            self._connected = False
            await self._handle(Lost(error))
            raise
        finally:
            self._connected = False
            self._to_say.clear()  # it was meant for this conversation

    async def _begin(self, socket: ServiceSocket) -> None:
        with trio.move_on_after(self._settings.timeouts.connect_s):
            await socket.send(json.dumps(session_update(self._settings)))
            for event in self._recall():
                await socket.send(json.dumps(event))
            # Some say that they are there, some only that they have taken the settings.
            while not isinstance(await self._read(socket), SessionReady):
                pass
            self._connected = True
            self._connections += 1
            return
        raise ServiceUnavailableError(
            SERVICE, f"began no session within {self._settings.timeouts.connect_s:g} s"
        )

    async def _receive(self, socket: ServiceSocket) -> None:
        event = await self._read(socket)
        if event is not None:
            await self._handle(event)

    async def _read(self, socket: ServiceSocket) -> RealtimeEvent | None:
        frame = await socket.receive()
        try:
            event = parse_event(frame)
        except ServiceFormatError:
            self._unreadable += 1
            return None
        if isinstance(event, ErrorEvent):
            self._errors += 1
            said = self._redact(event.message)[:300] or event.code
            if event.code in FATAL_CODES:
                raise ServiceRefusedError(SERVICE, f"refused: {said}")
            if event.event_id == SESSION_UPDATE_ID:
                raise ServiceRefusedError(SERVICE, f"did not take the session's settings: {said}")
        return event

    # The tasks that send do not raise when the connection is lost: who reads it does.

    async def _send_audio(self, socket: ServiceSocket) -> None:
        while True:
            chunk = await self._feed.get()
            assert chunk is not None  # never finished
            try:
                await socket.send(json.dumps(append_audio(chunk.pcm)))
            except ServiceUnavailableError:
                self._feed.dropped_samples += chunk.samples
                return
            if self._feed.waiting_ms <= BACKLOG_MS:
                self._feed.tighten()

    async def _send_events(self, socket: ServiceSocket) -> None:
        async for event in self._to_say:
            try:
                await socket.send(json.dumps(event))
            except ServiceUnavailableError:
                return

    def _redact(self, text: str) -> str:
        return text if self._settings.key is None else self._settings.key.redact(text)

    def _note_failure(self, _error: ServiceUnavailableError) -> None:
        self._failures += 1
        self._feed.tighten()
