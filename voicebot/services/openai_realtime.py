"""OpenAI's Realtime API in its GA shape: what is said both ways, as data. No I/O; ``realtime_session`` speaks it over a WebSocket.

Others speak the same dialect (vLLM, Inworld, Zoom): ``base_url`` is a setting. What they say in the names of the former beta, without
``output_``, is understood as well.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from voicebot.services.api_key import ApiKey
from voicebot.services.errors import ServiceFormatError
from voicebot.services.service_socket import SocketTimeouts, socket_address

SERVICE = "OpenAI Realtime"
BASE_URL = "https://api.openai.com/v1"
MODEL = "gpt-realtime"
VOICE = "marin"
#: The only rate of its PCM; others that speak the dialect may have others.
RATE = 24000
#: Errors after which trying again is no use.
FATAL_CODES = frozenset({"invalid_api_key", "model_not_found", "invalid_model", "permission_denied"})
#: By which we know what an error is about.
SESSION_UPDATE_ID = "session-settings"


@dataclass(frozen=True, slots=True)
class RealtimeSettings:
    """Where it is, and what it is to be like. The key comes from the environment only."""

    key: ApiKey | None
    #: Of the API, such as ``http://127.0.0.1:8000/v1``; ``ws://`` and ``wss://`` are the same to us.
    base_url: str = BASE_URL
    model: str = MODEL
    voice: str = VOICE
    instructions: str = ""
    rate: int = RATE
    #: See the API: ``server_vad`` or ``semantic_vad`` with its options. It must make and interrupt the responses.
    turn_detection: Mapping[str, Any] = field(default_factory=lambda: {"type": "server_vad"})
    #: Transcribes what people say, for the memory that outlives a connection; empty: not transcribed.
    transcription_model: str = "gpt-4o-mini-transcribe"
    language: str = ""
    timeouts: SocketTimeouts = field(default_factory=SocketTimeouts)

    def __post_init__(self) -> None:
        self.url()  # now, and not when a bot is made: here somebody reads what is wrong

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read ``OPENAI_API_KEY`` (or ``_FILE``), ``OPENAI_REALTIME_URL``, ``OPENAI_REALTIME_MODEL``, ``OPENAI_REALTIME_VOICE``.

        With a URL of one's own no key is needed.

        Raises: MissingKeyError; ValueError for a URL that is none.
        """
        url = environment.get("OPENAI_REALTIME_URL", "")
        needed = not url or "OPENAI_API_KEY" in environment or "OPENAI_API_KEY_FILE" in environment
        return cls(
            key=ApiKey.from_environment("OPENAI_API_KEY", environment) if needed else None,
            base_url=url or BASE_URL,
            model=environment.get("OPENAI_REALTIME_MODEL", "") or MODEL,
            voice=environment.get("OPENAI_REALTIME_VOICE", "") or VOICE,
        )

    def url(self) -> str:
        """Return the address of the WebSocket."""
        return socket_address(self.base_url, "/realtime", [("model", self.model)])


# What we say.


def session_update(settings: RealtimeSettings) -> dict[str, Any]:
    """Return the first thing to say: audio both ways, and who it is to be."""
    audio_format = {"type": "audio/pcm", "rate": settings.rate}
    heard: dict[str, Any] = {"format": audio_format, "turn_detection": dict(settings.turn_detection)}
    if settings.transcription_model:
        heard["transcription"] = {"model": settings.transcription_model}
        if settings.language:
            heard["transcription"]["language"] = settings.language
    session: dict[str, Any] = {
        "type": "realtime",
        "model": settings.model,
        "output_modalities": ["audio"],
        "audio": {"input": heard, "output": {"format": audio_format, "voice": settings.voice}},
    }
    if settings.instructions:
        session["instructions"] = settings.instructions
    return {"type": "session.update", "event_id": SESSION_UPDATE_ID, "session": session}


def append_audio(pcm: bytes) -> dict[str, Any]:
    """Return a piece of what is heard: s16le mono at the session's rate."""
    return {"type": "input_audio_buffer.append", "audio": base64.b64encode(pcm).decode("ascii")}


def truncate_item(item_id: str, content_index: int, heard_ms: int) -> dict[str, Any]:
    """Tell how much of something spoken was really heard; the model forgets the rest."""
    return {
        "type": "conversation.item.truncate",
        "item_id": item_id,
        "content_index": content_index,
        "audio_end_ms": heard_ms,
    }


def cancel_response(response_id: str | None) -> dict[str, Any]:
    """Stop what is being made."""
    return {"type": "response.cancel"} | ({} if response_id is None else {"response_id": response_id})


def text_item(role: str, text: str) -> dict[str, Any]:
    """Put something that was said into the conversation."""
    kind = "output_text" if role == "assistant" else "input_text"
    return {
        "type": "conversation.item.create",
        "item": {"type": "message", "role": role, "content": [{"type": kind, "text": text}]},
    }


def create_response(instructions: str = "") -> dict[str, Any]:
    """Ask it to speak without having been spoken to."""
    return {"type": "response.create"} | (
        {"response": {"instructions": instructions}} if instructions else {}
    )


# What it says.


@dataclass(frozen=True, slots=True)
class SessionReady:
    """It is there (``session.created``), or has taken our settings (``updated``)."""

    updated: bool


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Somebody began to speak: who speaks for the model is to be silent."""

    item_id: str


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """They paused; a response follows."""


@dataclass(frozen=True, slots=True)
class ResponseCreated:
    """It begins to answer."""

    response_id: str


@dataclass(frozen=True, slots=True)
class ResponseDone:
    """It has said all; ``status`` is completed, cancelled, failed or incomplete."""

    response_id: str
    status: str
    reason: str


@dataclass(frozen=True, slots=True)
class AudioDelta:
    """A piece of speech. A response may have several items, an item several contents."""

    response_id: str
    item_id: str
    content_index: int
    pcm: bytes


@dataclass(frozen=True, slots=True)
class Spoken:
    """What it said, in text; it may not have been heard to the end."""

    item_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Listened:
    """What it was told, in text."""

    item_id: str
    text: str


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """Something that we said was wrong, or the session is over; the connection mostly lives on."""

    code: str
    message: str
    event_id: str


@dataclass(frozen=True, slots=True)
class OtherEvent:
    """What we need not know of, or do not know."""

    type: str


RealtimeEvent = (
    SessionReady
    | SpeechStarted
    | SpeechStopped
    | ResponseCreated
    | ResponseDone
    | AudioDelta
    | Spoken
    | Listened
    | ErrorEvent
    | OtherEvent
)

#: Names of the former beta -> names of today.
FORMER_NAMES = {
    "response.audio.delta": "response.output_audio.delta",
    "response.audio.done": "response.output_audio.done",
    "response.audio_transcript.delta": "response.output_audio_transcript.delta",
    "response.audio_transcript.done": "response.output_audio_transcript.done",
    "response.text.delta": "response.output_text.delta",
    "response.text.done": "response.output_text.done",
    "conversation.item.created": "conversation.item.added",
}


def parse_event(frame_untrusted: str | bytes) -> RealtimeEvent:
    """Return what a frame says.

    Raises: ServiceFormatError.
    """
    try:
        said = json.loads(frame_untrusted)
    except (ValueError, RecursionError):
        raise ServiceFormatError(SERVICE, "sent what is no JSON") from None
    kind = said.get("type") if isinstance(said, dict) else None
    if not isinstance(kind, str):
        raise ServiceFormatError(SERVICE, "sent an event without a type")
    fields = _Fields(said, kind)
    match FORMER_NAMES.get(kind, kind):
        case "session.created" | "session.updated":
            return SessionReady(updated=kind == "session.updated")
        case "input_audio_buffer.speech_started":
            return SpeechStarted(fields.text("item_id"))
        case "input_audio_buffer.speech_stopped":
            return SpeechStopped()
        case "response.created":
            return ResponseCreated(fields.inner("response").text("id"))
        case "response.done":
            return _response_done(fields.inner("response"))
        case "response.output_audio.delta":
            return AudioDelta(
                fields.text("response_id"),
                fields.text("item_id"),
                fields.number("content_index"),
                fields.audio("delta"),
            )
        case "response.output_audio_transcript.done":
            return Spoken(fields.text("item_id"), fields.text("transcript"))
        case "conversation.item.input_audio_transcription.completed":
            return Listened(fields.text("item_id"), fields.text("transcript"))
        case "error":
            error = fields.inner("error")
            return ErrorEvent(
                error.text("code") or error.text("type"), error.text("message"), error.text("event_id")
            )
        case other:
            return OtherEvent(other)


def _response_done(response: "_Fields") -> ResponseDone:
    details = response.inner("status_details")
    reason = details.inner("error").text("message") or details.text("reason")
    return ResponseDone(response.text("id"), response.text("status"), reason)


class _Fields:
    """The fields of an event; those that are missing or null are empty, those of a wrong type are errors."""

    def __init__(self, said: Mapping[str, Any], kind: str) -> None:
        self._said = said
        self._kind = kind

    def text(self, name: str) -> str:
        value = self._said.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self._wrong(name)
        return value

    def number(self, name: str) -> int:
        value = self._said.get(name)
        if value is None:
            return 0
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self._wrong(name)
        return value

    def audio(self, name: str) -> bytes:
        try:
            return base64.b64decode(self.text(name), validate=True)
        except (binascii.Error, ValueError):
            raise self._wrong(name) from None

    def inner(self, name: str) -> "_Fields":
        value = self._said.get(name)
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise self._wrong(name)
        return _Fields(value, self._kind)

    def _wrong(self, name: str) -> ServiceFormatError:
        return ServiceFormatError(SERVICE, f"sent a bad {self._kind[:64]}: {name}")
