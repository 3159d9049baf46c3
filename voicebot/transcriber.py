"""A bot that writes down what is said: one stream to Deepgram for each speaker, so that people who talk at once are told apart.

What they said until they paused becomes a line of chat, a line of a file, or both. A service that is slow or away costs the words that
are spoken meanwhile, and nobody anything else; the chat and the file tell how much is missing.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import trio

from signaling.messages import MAX_CHAT_LENGTH
from signaling.outbound.circuit_breaker import CircuitBreaker
from voicebot.audio.stream import AudioStream
from voicebot.bot import Assignment, Bot
from voicebot.connection import Connection
from voicebot.errors import ConnectionLostError, VoicebotError
from voicebot.nursery import open_bare_nursery
from voicebot.services.bounded_queue import BoundedQueue
from voicebot.services.deepgram import SERVICE, DeepgramSettings
from voicebot.services.deepgram_stream import Back, DeepgramStream, HeardTurn, Outage, StreamStatistics
from voicebot.stream import OpenStream
from voicebot.transcript_file import TranscriptFile, at, transcript_path
from voicebot.voice_gate import VoiceGate

#: What Deepgram's models were made for.
RATE = 16000
FRAME_MS = 40
#: Lines of chat that wait to be written. Overflow policy: the oldest goes, counted.
QUEUE_LENGTH = 64
#: An outage that is shorter than this is nobody's concern but the file's.
OUTAGE_S = 5.0
NOTICE = "What is said here is written down."
#: Less than this missing is not worth a line.
MISSING_MS = 500.0


@dataclass(frozen=True, slots=True)
class TranscriberSettings:
    """What an operator decides."""

    deepgram: DeepgramSettings
    #: Where transcripts are kept; None: nowhere, and bots that are asked to are refused.
    directory: Path | None = None
    #: Streams at a time in one lobby; who speaks beyond that is not written down.
    max_speakers: int = 20

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "TranscriberSettings":
        """Read the settings of Deepgram, and ``RELAY_TRANSCRIPTS``: the directory.

        Raises: MissingKeyError.
        """
        directory = environment.get("RELAY_TRANSCRIPTS", "")
        return cls(DeepgramSettings.from_environment(environment), Path(directory) if directory else None)


@dataclass(slots=True, eq=False)
class _Speaker:
    """One participant's stream."""

    participant_id: str
    name: str
    deepgram: DeepgramStream
    #: The moment of timestamp 0.
    epoch: datetime
    gate: VoiceGate = field(default_factory=VoiceGate)


class Transcriber(Bot):
    """See the module.

    ``config``: ``language``, ``keyterms``, ``endpointing_ms``; ``chat`` and ``file``: where to; ``bots``: theirs, too; ``notice``: a line
    of chat by which people know; empty: none.
    """

    title: ClassVar[str] = "Transcriber"
    description: ClassVar[str] = "Writes down what is said, speaker by speaker."
    capabilities: ClassVar[tuple[str, ...]] = ("transcription",)
    config_schema: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "properties": {
            "language": {"type": "string", "minLength": 2, "maxLength": 20},
            "keyterms": {
                "type": "array",
                "maxItems": 50,
                "items": {"type": "string", "minLength": 1, "maxLength": 50},
            },
            "endpointing_ms": {"type": "integer", "minimum": 10, "maximum": 5000},
            "chat": {"type": "boolean"},
            "file": {"type": "boolean"},
            "bots": {"type": "boolean"},
            "notice": {"type": "string", "maxLength": 500},
        },
        "additionalProperties": False,
    }

    def __init__(
        self,
        assignment: Assignment,
        *,
        settings: TranscriberSettings | None = None,
        breaker: CircuitBreaker | None = None,
        open_stream: OpenStream | None = None,
        report: Callable[[str], None] = lambda _: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Take ``settings`` from the environment if left out.

        Bots of one provider should share a ``breaker``. ``report`` is told what an operator may want to know.

        Raises: MissingKeyError; ValueError for a config that cannot be had here.
        """
        super().__init__(assignment)
        config = assignment.config
        self._settings = settings or TranscriberSettings.from_environment(os.environ)
        deepgram = self._settings.deepgram
        self._deepgram = replace(
            deepgram,
            language=config.get("language") or deepgram.language,
            keyterms=(*deepgram.keyterms, *config.get("keyterms", ())),
            endpointing_ms=config.get("endpointing_ms", deepgram.endpointing_ms),
        )
        self._to_chat: bool = config.get("chat", True)
        self._notice: str = config.get("notice", NOTICE)
        self._with_bots: bool = config.get("bots", False)
        self._file: TranscriptFile | None = None
        if config.get("file", False):
            if self._settings.directory is None:
                raise ValueError("no transcripts are kept here: leave out `file`, or ask who runs the bots")
            # A bot that is asked for anew goes on in the same file; one that nobody asked for has no id.
            name = assignment.bot_id or f"{now():%Y%m%d-%H%M%S}"
            path = transcript_path(self._settings.directory, assignment.lobby_id or assignment.lobby, name)
            self._file = TranscriptFile(path)
        self._breaker = breaker or CircuitBreaker(SERVICE)
        self._open_stream = open_stream
        self._report = report
        self._now = now
        self._lines: BoundedQueue[str] = BoundedQueue(QUEUE_LENGTH)
        self._records: BoundedQueue[dict[str, Any]] = BoundedQueue(QUEUE_LENGTH)
        self._speakers: set[_Speaker] = set()
        #: Speakers whose service is away, and why.
        self._away: dict[_Speaker, str] = {}
        self._away_changed = trio.Event()
        self._is_back = False
        self._lost_ms = 0.0
        self._told_full = False
        self._connection: Connection

    @property
    def dropped_lines(self) -> int:
        """Lines that could not be written in time."""
        return self._lines.dropped + self._records.dropped

    def statistics(self) -> dict[str, StreamStatistics]:
        """Return the counters of those who speak, by participant id."""
        return {each.participant_id: each.deepgram.statistics() for each in self._speakers}

    async def run(self, connection: Connection) -> None:
        """See ``Bot``.

        Raises: ServiceRefusedError when the service does not want us; ConnectionLostError; OSError when the file cannot be written.
        """
        self._connection = connection
        async with open_bare_nursery() as nursery:
            if self._notice.strip():
                self._say(self._notice)
            nursery.start_soon(self._write_chat)
            nursery.start_soon(self._write_file)
            nursery.start_soon(self._tell_outages)
            async with connection.speakers(rate=RATE, frame_ms=FRAME_MS) as speakers:
                async for stream in speakers:
                    if self._wanted(stream):
                        nursery.start_soon(self._transcribe, stream)
                    else:
                        await stream.aclose()

    def _wanted(self, stream: AudioStream) -> bool:
        participant = self._connection.lobby.participants.get(stream.participant or "")
        if participant is not None and participant.is_bot and not self._with_bots:
            return False
        if len(self._speakers) < self._settings.max_speakers:
            return True
        if not self._told_full:
            self._told_full = True
            self._say(f"More than {self._settings.max_speakers} people speak: not all of it is written down.")
        return False

    async def _transcribe(self, stream: AudioStream) -> None:
        deepgram = DeepgramStream(
            self._deepgram, rate=RATE, breaker=self._breaker, open_stream=self._open_stream
        )
        participant_id = stream.participant or ""
        speaker = _Speaker(participant_id, self._name(participant_id), deepgram, self._now())
        self._speakers.add(speaker)
        try:
            async with open_bare_nursery() as nursery:
                nursery.start_soon(deepgram.run)
                nursery.start_soon(self._feed, stream, speaker)
                async for heard in deepgram:
                    match heard:
                        case HeardTurn():
                            self._take_turn(speaker, heard)
                        case Outage(error=error, final=True):
                            raise error
                        case Outage(error=error):
                            self._set_away(speaker, str(error))
                        case Back(lost_ms=lost_ms):
                            self._take_back(speaker, lost_ms)
        finally:
            self._speakers.discard(speaker)
            self._set_away(speaker, None)

    async def _feed(self, stream: AudioStream, speaker: _Speaker) -> None:
        first = True
        try:
            async for frame in stream:
                if first:
                    speaker.epoch, first = self._now() - timedelta(seconds=frame.time_s), False
                for each in speaker.gate.hear(frame):
                    speaker.deepgram.feed(each.pcm, each.timestamp)
        except ConnectionLostError:
            pass  # who waits for speakers is told as well
        finally:
            speaker.deepgram.finish()

    def _take_turn(self, speaker: _Speaker, turn: HeardTurn) -> None:
        speaker.name = self._name(speaker.participant_id, speaker.name)
        if self._to_chat:
            self._say(f"{speaker.name}: {turn.text}")
        self._record(
            "turn",
            speaker,
            at=at(speaker.epoch, turn.start_ms),
            until=at(speaker.epoch, turn.end_ms),
            text=turn.text,
            confidence=round(turn.confidence, 3),
            ended_by=turn.ended_by,
        )

    def _take_back(self, speaker: _Speaker, lost_ms: float) -> None:
        self._is_back = True
        self._lost_ms = max(self._lost_ms, lost_ms)
        self._set_away(speaker, None)
        if lost_ms:
            self._record("missing", speaker, at=at(self._now(), 0), lost_ms=round(lost_ms))

    def _name(self, participant_id: str, otherwise: str = "somebody") -> str:
        participant = self._connection.lobby.participants.get(participant_id)
        return otherwise if participant is None else participant.name

    def _say(self, text: str) -> None:
        self._lines.put_nowait(text[:MAX_CHAT_LENGTH])

    def _record(self, kind: str, speaker: _Speaker, **more: Any) -> None:
        if self._file is not None:
            who = {"participant_id": speaker.participant_id, "name": speaker.name}
            self._records.put_nowait({"type": kind, **who, **more})

    def _set_away(self, speaker: _Speaker, why: str | None) -> None:
        if why is None:
            self._away.pop(speaker, None)
        else:
            self._away[speaker] = why
            self._report(why)
        self._away_changed.set()
        self._away_changed = trio.Event()

    async def _tell_outages(self) -> None:
        """Tell the chat of outages that last, once at each end, however many speakers they hit."""
        while True:
            await self._wait_away(True)
            self._is_back, self._lost_ms = False, 0.0
            with trio.move_on_after(OUTAGE_S) as waiting:
                await self._wait_away(False)
            if not waiting.cancelled_caught:
                continue
            self._say(f"Nothing is written down for now: {next(iter(self._away.values()))}.")
            await self._wait_away(False)
            if not self._is_back:
                continue  # those whose words were lost have left
            missing = f"; {self._lost_ms / 1000:.0f} s are missing" if self._lost_ms > MISSING_MS else ""
            self._say(f"What is said is written down again{missing}.")

    async def _wait_away(self, away: bool) -> None:
        while bool(self._away) is not away:
            await self._away_changed.wait()

    async def _write_chat(self) -> None:
        async for line in self._lines:
            try:
                await self._connection.chat(line)
            except VoicebotError:
                continue  # if the connection is lost for good, what hears with it says so

    async def _write_file(self) -> None:
        async for record in self._records:
            assert self._file is not None
            await self._file.append(record)
