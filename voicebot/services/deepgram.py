"""Deepgram's streaming speech to text, version 1: its messages, and the rule by which they become turns. No I/O.

``/v1/listen`` takes binary audio and JSON text both ways. ``deepgram_stream`` speaks it over a WebSocket.

The turn rule: what is final is appended until ``speech_final`` or, failing that, ``UtteranceEnd``. An interim result is a guess at what
comes next, and is replaced by the next one.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from voicebot.services.api_key import ApiKey
from voicebot.services.errors import ServiceFormatError
from voicebot.services.service_socket import SocketTimeouts, socket_address

SERVICE = "Deepgram"
#: Without audio or this for 10 s it closes the connection (NET-0001).
KEEP_ALIVE = json.dumps({"type": "KeepAlive"})
KEEP_ALIVE_S = 4.0
#: Flush what was heard so far; the result says ``from_finalize``.
FINALIZE = json.dumps({"type": "Finalize"})
#: Flush, send what is left, and close.
CLOSE_STREAM = json.dumps({"type": "CloseStream"})
#: A turn is ended by force beyond this: somebody reads out a book, or nothing ever is final.
MAX_TURN_LENGTH = 4000

#: Where it is, and what it is asked for, unless the environment says otherwise.
BASE_URL = "wss://api.deepgram.com"
MODEL = "nova-3"
LANGUAGE = "en"

EndedBy = Literal["speech_final", "utterance_end", "finalize", "length", "closed"]


@dataclass(frozen=True, slots=True)
class DeepgramSettings:
    """What to ask it for, and where. The key comes from the environment only."""

    key: ApiKey | None
    #: Of a self-hosted one, for instance ``ws://127.0.0.1:8080``.
    base_url: str = BASE_URL
    model: str = MODEL
    language: str = LANGUAGE
    #: Silence after which speech is final. Deepgram's own default of 10 ms cuts off whoever pauses to think.
    endpointing_ms: int = 300
    #: Silence after which an utterance is over at the latest, where noise hides the end from ``endpointing``.
    utterance_end_ms: int = 1000
    smart_format: bool = True
    keyterms: tuple[str, ...] = ()
    timeouts: SocketTimeouts = field(default_factory=SocketTimeouts)

    def __post_init__(self) -> None:
        if self.utterance_end_ms < 1000:
            raise ValueError("utterance_end_ms must be at least 1000")
        if self.endpointing_ms < 10:
            raise ValueError("endpointing_ms must be at least 10")
        self.url(16000)  # now, and not when somebody speaks

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read ``DEEPGRAM_API_KEY`` (or ``_FILE``), ``DEEPGRAM_URL``, ``DEEPGRAM_MODEL``, ``DEEPGRAM_LANGUAGE``.

        With a URL of one's own no key is needed.

        Raises: MissingKeyError; ValueError for a URL that is none.
        """
        url = environment.get("DEEPGRAM_URL", "")
        needed = not url or "DEEPGRAM_API_KEY" in environment or "DEEPGRAM_API_KEY_FILE" in environment
        return cls(
            key=ApiKey.from_environment("DEEPGRAM_API_KEY", environment) if needed else None,
            base_url=url or BASE_URL,
            model=environment.get("DEEPGRAM_MODEL", "") or MODEL,
            language=environment.get("DEEPGRAM_LANGUAGE", "") or LANGUAGE,
        )

    def url(self, rate: int) -> str:
        """Return the address for s16le mono audio at this rate."""
        query: list[tuple[str, str]] = [
            ("model", self.model),
            ("language", self.language),
            ("encoding", "linear16"),
            ("sample_rate", str(rate)),
            ("channels", "1"),
            ("interim_results", "true"),  # `utterance_end_ms` needs them
            ("endpointing", str(self.endpointing_ms)),
            ("utterance_end_ms", str(self.utterance_end_ms)),
            ("vad_events", "true"),
            ("punctuate", "true"),
            ("smart_format", "true" if self.smart_format else "false"),
            *(("keyterm", term) for term in self.keyterms),
        ]
        return socket_address(self.base_url, "/v1/listen", query)


class _Message(BaseModel):
    """Newer versions may say more: what we do not know is ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Word(_Message):
    """A word; times are seconds of audio sent."""

    word: str
    punctuated_word: str | None = None
    start: float = 0.0
    end: float = 0.0
    confidence: float = 0.0


class Alternative(_Message):
    """One reading of what was said."""

    transcript: str = ""
    confidence: float = 0.0
    words: tuple[Word, ...] = ()


class Channel(_Message):
    """What one channel said; the first alternative is the likeliest."""

    alternatives: tuple[Alternative, ...] = ()


class Results(_Message):
    """What was heard in ``duration`` seconds from ``start``."""

    channel: Channel
    start: float = 0.0
    duration: float = 0.0
    is_final: bool = False
    speech_final: bool = False
    from_finalize: bool = False

    @property
    def best(self) -> Alternative:
        """The likeliest reading."""
        return self.channel.alternatives[0] if self.channel.alternatives else Alternative()


class SpeechStarted(_Message):
    """Somebody began to speak; seconds of audio sent."""

    timestamp: float = 0.0


class UtteranceEnd(_Message):
    """Nobody has spoken since; -1 when the last word is not known."""

    last_word_end: float = -1.0


class Metadata(_Message):
    """Its last word on a connection, after ``CloseStream``."""

    request_id: str = ""
    duration: float = 0.0


class Fault(_Message):
    """An error; the connection is closed afterwards."""

    description: str = ""
    message: str = ""

    @property
    def text(self) -> str:
        """What it says."""
        return self.description or self.message or "an error without a text"


Message = Results | SpeechStarted | UtteranceEnd | Metadata | Fault

#: type -> model
MESSAGES: dict[str, type[Message]] = {
    "Results": Results,
    "SpeechStarted": SpeechStarted,
    "UtteranceEnd": UtteranceEnd,
    "Metadata": Metadata,
    "Error": Fault,
}


def parse_message(frame_untrusted: str | bytes) -> Message | None:
    """Return what a frame says; None for a type that we do not know.

    Raises: ServiceFormatError.
    """
    try:
        said = json.loads(frame_untrusted)
    except (ValueError, RecursionError):
        raise ServiceFormatError(SERVICE, "sent what is no JSON") from None
    kind = said.get("type") if isinstance(said, dict) else None
    if not isinstance(kind, str):
        raise ServiceFormatError(SERVICE, "sent a message without a type")
    model = MESSAGES.get(kind)
    if model is None:
        return None
    try:
        return model.model_validate(said)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise ServiceFormatError(SERVICE, f"sent a bad {kind}: {where}: {fault['msg']}") from None


@dataclass(frozen=True, slots=True)
class Turn:
    """What somebody said until they paused; times are seconds of audio sent."""

    text: str
    start_s: float
    end_s: float
    #: The mean over its parts, weighted by their length in words; 0 to 1.
    confidence: float
    ended_by: EndedBy


class TurnAssembler:
    """The turn rule, for one connection."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._start_s = 0.0
        self._end_s = 0.0
        self._confidence = 0.0
        self._words = 0

    @property
    def text(self) -> str:
        """What is final of the turn so far."""
        return " ".join(self._parts)

    def apply(self, message: Message) -> Turn | None:
        """Take a message; returns the turn that it ends."""
        if isinstance(message, UtteranceEnd):
            return self.flush("utterance_end")
        if not isinstance(message, Results) or not message.is_final:
            return None
        self._append(message)
        if message.speech_final:
            return self.flush("speech_final")
        if message.from_finalize:
            return self.flush("finalize")
        return self.flush("length") if self._length > MAX_TURN_LENGTH else None

    def flush(self, ended_by: EndedBy) -> Turn | None:
        """End the turn; None when nothing was said."""
        if not self._parts:
            return None
        turn = Turn(self.text, self._start_s, self._end_s, self._confidence / self._words, ended_by)
        self._parts, self._length, self._confidence, self._words = [], 0, 0.0, 0
        return turn

    def _append(self, results: Results) -> None:
        best = results.best
        text = " ".join(best.transcript.split())
        if not text:
            return
        if not self._parts:
            self._start_s = best.words[0].start if best.words else results.start
        self._end_s = best.words[-1].end if best.words else results.start + results.duration
        words = max(1, len(best.words))
        self._confidence += best.confidence * words
        self._words += words
        self._parts.append(text)
        self._length += len(text)
