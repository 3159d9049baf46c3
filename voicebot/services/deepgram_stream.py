"""One stream of speech to Deepgram that survives outages: audio goes in without waiting, turns come out.

    stream = DeepgramStream(settings, rate=16000, breaker=breaker)
    nursery.start_soon(stream.run)
    stream.feed(frame.pcm, frame.timestamp)
    async for heard in stream: ...

What is spoken while the service is away is lost and counted: at most ``BACKLOG_MS`` wait for it.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

import trio

from signaling.outbound.circuit_breaker import CircuitBreaker
from voicebot.backoff import Backoff
from voicebot.nursery import open_bare_nursery
from voicebot.services.audio_feed import BACKLOG_MS, AudioFeed
from voicebot.services.bounded_queue import BoundedQueue
from voicebot.services.deepgram import (
    CLOSE_STREAM,
    FINALIZE,
    KEEP_ALIVE,
    KEEP_ALIVE_S,
    SERVICE,
    DeepgramSettings,
    EndedBy,
    Fault,
    Results,
    SpeechStarted,
    Turn,
    TurnAssembler,
    parse_message,
)
from voicebot.services.errors import ServiceError, ServiceFormatError, ServiceUnavailableError
from voicebot.services.recovery import SERVICE_BACKOFF, Trial, keep_served
from voicebot.services.service_socket import ServiceSocket, open_service_socket
from voicebot.services.timeline import Timeline
from voicebot.stream import OpenStream

#: Things heard that wait for their reader. Overflow policy: the oldest goes, counted.
QUEUE_LENGTH = 256
#: A connection is good when something came over it, or when it has lasted this long: an unspoken-to Deepgram says nothing.
PROVEN_S = 2.0
#: It sends results for every second of audio, if only empty ones. After this much without any it is asleep.
ASLEEP_S = 20.0
#: How long the last results may take after the end of the audio.
FINISH_S = 5.0


@dataclass(frozen=True, slots=True)
class HeardTurn:
    """What somebody said until they paused. Times are ms of the source of the audio, counted like its timestamps."""

    text: str
    start_ms: float
    end_ms: float
    confidence: float
    ended_by: EndedBy


@dataclass(frozen=True, slots=True)
class HeardSoFar:
    """The turn so far, with a guess at its end; the next one replaces it."""

    text: str


@dataclass(frozen=True, slots=True)
class HeardSpeech:
    """Somebody began to speak."""

    start_ms: float


@dataclass(frozen=True, slots=True)
class Outage:
    """The service is away, and why; audio is being lost until ``Back``. ``final``: it will not be tried again."""

    error: ServiceError
    final: bool = False


@dataclass(frozen=True, slots=True)
class Back:
    """The service is there, after an outage in which so much audio was lost."""

    lost_ms: float


Heard = HeardTurn | HeardSoFar | HeardSpeech | Outage | Back


@dataclass(frozen=True, slots=True)
class StreamStatistics:
    """Counters of a stream; all only grow."""

    connections: int
    failures: int
    dropped_audio_ms: float
    dropped_results: int
    unreadable_messages: int


class DeepgramStream:
    """See the module. An async iterator of what is heard; it ends when ``run`` does."""

    def __init__(
        self,
        settings: DeepgramSettings,
        *,
        rate: int,
        breaker: CircuitBreaker,
        backoff: Backoff = SERVICE_BACKOFF,
        open_stream: OpenStream | None = None,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._rate = rate
        self._breaker = breaker
        self._backoff = backoff
        self._open_stream = open_stream
        self._dice = dice
        self._feed = AudioFeed(rate)
        self._heard: BoundedQueue[Heard] = BoundedQueue(QUEUE_LENGTH)
        self._finishing = trio.Event()
        self._flush = trio.Event()
        self._spoke_at_s = 0.0
        self._unanswered_from_s = 0.0
        self._away_since_ms: float | None = None
        self._connected = False
        self._connections = 0
        self._failures = 0
        self._unreadable = 0

    def feed(self, pcm: bytes, timestamp: int) -> None:
        """Give it audio (s16le mono), whose first sample has this timestamp; never waits."""
        self._feed.put_nowait(pcm, timestamp)

    def finalize(self) -> None:
        """Ask for a result of what was heard so far, instead of waiting for a pause."""
        self._flush.set()

    def finish(self) -> None:
        """Nothing more is said: ``run`` and the iterator end when the last result has come, within ``FINISH_S``."""
        self._feed.finish()
        self._finishing.set()

    def statistics(self) -> StreamStatistics:
        """Return the counters as they are now."""
        return StreamStatistics(
            connections=self._connections,
            failures=self._failures,
            dropped_audio_ms=self._feed.dropped_ms,
            dropped_results=self._heard.dropped,
            unreadable_messages=self._unreadable,
        )

    def __aiter__(self) -> BoundedQueue[Heard]:
        return self._heard

    async def run(self) -> None:
        """Transcribe until finished or cancelled. A refusal ends it as well: the last thing heard is a final ``Outage``."""
        try:
            async with open_bare_nursery() as nursery:
                nursery.start_soon(self._end_in_time, nursery.cancel_scope)
                await keep_served(
                    self._serve,
                    breaker=self._breaker,
                    backoff=self._backoff,
                    report=self._note_outage,
                    dice=self._dice,
                )
        except ServiceError as error:
            self._heard.put_nowait(Outage(error, final=True))
        finally:
            self._heard.close()

    async def _end_in_time(self, scope: trio.CancelScope) -> None:
        await self._finishing.wait()
        if self._connected:
            await trio.sleep(FINISH_S)
        scope.cancel()

    async def _serve(self, trial: Trial) -> None:
        connection = _Connection(self._rate)
        try:
            async with open_service_socket(
                SERVICE,
                self._settings.url(self._rate),
                key=self._settings.key,
                scheme="Token",
                timeouts=self._settings.timeouts,
                open_stream=self._open_stream,
            ) as socket:
                self._begin()
                async with open_bare_nursery() as nursery:
                    nursery.start_soon(self._send, socket, connection)
                    nursery.start_soon(self._keep_alive, socket)
                    nursery.start_soon(self._finalize, socket)
                    nursery.start_soon(_prove, trial)
                    await self._read(socket, connection, trial)
        finally:
            self._connected = False
            # Whatever comes next: the words that are final were said.
            self._emit(connection.turns.flush("closed"), connection)

    def _begin(self) -> None:
        self._connected = True
        self._connections += 1
        self._spoke_at_s = trio.current_time()
        self._unanswered_from_s = 0.0
        if self._away_since_ms is not None:
            self._heard.put_nowait(Back(self._feed.dropped_ms - self._away_since_ms))
            self._away_since_ms = None

    async def _read(self, socket: ServiceSocket, connection: "_Connection", trial: Trial) -> None:
        while True:
            try:
                frame = await socket.receive()
            except ServiceUnavailableError:
                if connection.closing:
                    return
                raise
            try:
                message = parse_message(frame)
            except ServiceFormatError:
                self._unreadable += 1
                continue
            self._unanswered_from_s = connection.timeline.sent_s
            if isinstance(message, Fault):
                raise ServiceUnavailableError(SERVICE, f"reports: {message.text[:300]}")
            if message is None:
                continue
            trial.succeed()
            if isinstance(message, SpeechStarted):
                self._heard.put_nowait(HeardSpeech(connection.timeline.source_ms(message.timestamp)))
            elif isinstance(message, Results) and not message.is_final and message.best.transcript:
                self._heard.put_nowait(
                    HeardSoFar(f"{connection.turns.text} {message.best.transcript}".strip())
                )
            self._emit(connection.turns.apply(message), connection)

    def _emit(self, turn: Turn | None, connection: "_Connection") -> None:
        if turn is not None:
            when = connection.timeline.source_ms
            self._heard.put_nowait(
                HeardTurn(turn.text, when(turn.start_s), when(turn.end_s), turn.confidence, turn.ended_by)
            )

    # The tasks that send do not raise when the connection is lost: who reads it does.

    async def _send(self, socket: ServiceSocket, connection: "_Connection") -> None:
        while True:
            chunk = await self._feed.get()
            try:
                if chunk is None:
                    connection.closing = True
                    await socket.send(CLOSE_STREAM)
                    return
                if connection.timeline.sent_s - self._unanswered_from_s > ASLEEP_S:
                    await socket.abort(f"said nothing to {ASLEEP_S:g} s of audio")
                    return
                await socket.send(chunk.pcm)
            except ServiceUnavailableError:
                if chunk is not None:
                    self._feed.dropped_samples += chunk.samples
                return
            if self._feed.waiting_ms <= BACKLOG_MS:
                self._feed.tighten()  # what was said while the first connection was opened has gone out
            connection.timeline.add(chunk.timestamp, chunk.samples)
            self._spoke_at_s = trio.current_time()

    async def _keep_alive(self, socket: ServiceSocket) -> None:
        while True:
            await trio.sleep_until(self._spoke_at_s + KEEP_ALIVE_S)
            if trio.current_time() < self._spoke_at_s + KEEP_ALIVE_S:
                continue
            self._spoke_at_s = trio.current_time()
            try:
                await socket.send(KEEP_ALIVE)
            except ServiceUnavailableError:
                return

    async def _finalize(self, socket: ServiceSocket) -> None:
        while True:
            await self._flush.wait()
            self._flush = trio.Event()
            try:
                await socket.send(FINALIZE)
            except ServiceUnavailableError:
                return

    def _note_outage(self, error: ServiceUnavailableError) -> None:
        self._failures += 1
        self._feed.tighten()
        if self._away_since_ms is None:
            self._away_since_ms = self._feed.dropped_ms
            self._heard.put_nowait(Outage(error))


class _Connection:
    """What belongs to one connection, and ends with it."""

    def __init__(self, rate: int) -> None:
        self.timeline = Timeline(rate)
        self.turns = TurnAssembler()
        #: We have asked it to close.
        self.closing = False


async def _prove(trial: Trial) -> None:
    await trio.sleep(PROVEN_S)
    trial.succeed()
