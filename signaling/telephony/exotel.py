"""Exotel's Voicebot applet: Twilio's messages in snake_case, audio as 16-bit samples, little-endian, mono, in base64.

https://developer.exotel.com/docs/agentstream/stream-voicebot-applet. What Exotel plays must come in pieces of 3,200 to
100,000 bytes, multiples of 320: smaller ones distort, odd ones leave gaps. So at 8000 Hz 200 ms are collected. Its pages do
not agree on whether mu-law may be the default: what ``media_format`` says is believed, and nothing else.
"""

from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from signaling.telephony import fields
from signaling.telephony.fields import Fields
from signaling.telephony.g711 import decode_alaw, decode_mulaw, encode_alaw, encode_mulaw
from signaling.telephony.json_stream import JsonStream
from signaling.telephony.line import Samples
from signaling.telephony.phone import (
    Call,
    CallRefusedError,
    Cleared,
    PhoneEvent,
    PhoneFaultError,
    Spoken,
    Started,
)

NAME = "exotel"
RATES = (8000, 16000, 24000)
DEFAULT_RATE = 8000
CHUNK_BYTES = 320
MIN_CHUNK_BYTES = 3_200
MAX_CHUNK_BYTES = 100_000
#: Of one message that comes: what may be sent may come.
MAX_AUDIO_BYTES = MAX_CHUNK_BYTES


def _decode_linear(payload: bytes) -> Samples:
    if len(payload) % 2:
        raise PhoneFaultError("`payload` has an odd number of bytes; samples have two")
    return np.frombuffer(payload, "<i2").astype(np.int16, copy=False)


def _encode_linear(samples: Samples) -> bytes:
    return samples.astype("<i2", copy=False).tobytes()


@dataclass(frozen=True, slots=True)
class Encoding:
    """One way to write samples as bytes."""

    decode: Callable[[bytes], Samples]
    encode: Callable[[Samples], bytes]
    rates: tuple[int, ...]


LINEAR = Encoding(_decode_linear, _encode_linear, RATES)
MULAW = Encoding(decode_mulaw, encode_mulaw, (8000,))
ALAW = Encoding(decode_alaw, encode_alaw, (8000,))
#: What ``media_format.encoding`` has been seen as, without ``audio/`` before it and parameters after it.
ENCODINGS = {
    "": LINEAR,
    "base64": LINEAR,
    "raw": LINEAR,
    "slin": LINEAR,
    "raw/slin": LINEAR,
    "l16": LINEAR,
    "pcm": LINEAR,
    "linear16": LINEAR,
    "x-l16": LINEAR,
    "x-raw": LINEAR,
    "mulaw": MULAW,
    "x-mulaw": MULAW,
    "ulaw": MULAW,
    "pcmu": MULAW,
    "alaw": ALAW,
    "x-alaw": ALAW,
    "pcma": ALAW,
}


class Chunks:
    """Collects bytes and gives them in pieces that Exotel plays without gaps."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def add(self, payload: bytes) -> Iterator[bytes]:
        """Add bytes; give the pieces that are due, largest first. What is left is kept."""
        self._waiting += payload
        while len(self._waiting) >= MIN_CHUNK_BYTES:
            size = min(len(self._waiting), MAX_CHUNK_BYTES) // CHUNK_BYTES * CHUNK_BYTES
            piece = bytes(self._waiting[:size])
            del self._waiting[:size]
            yield piece

    def drop(self) -> None:
        """Forget what is kept."""
        self._waiting.clear()


class ExotelStream(JsonStream):
    """One stream. A ``PhoneDialect``."""

    name = NAME
    number_key = "sequence_number"
    stream_key = "stream_sid"
    events = "media, dtmf, mark, clear or stop"

    def __init__(self) -> None:
        super().__init__()
        self._encoding = LINEAR
        self._chunks = Chunks()

    def audio(self, samples: Samples) -> Sequence[str]:
        """See ``PhoneDialect``."""
        pieces = self._chunks.add(self._encoding.encode(samples))
        return [self._message("media", media={"payload": b64encode(piece).decode()}) for piece in pieces]

    def clear(self) -> str:
        """See ``PhoneDialect``."""
        self._chunks.drop()
        return super().clear()

    def _started(self, message: Fields) -> Started:
        start = fields.inner(message, "start")
        media = start.get("media_format") or {}
        if not isinstance(media, dict):
            raise PhoneFaultError("`media_format` must be an object")
        said = fields.text(media, "encoding", default="")
        encoding = ENCODINGS.get(said.lower().partition(";")[0].strip().removeprefix("audio/"))
        rate = fields.number(media, "sample_rate", default=DEFAULT_RATE)
        if encoding is None or rate not in encoding.rates:
            raise CallRefusedError(
                "the audio must be 16-bit samples of 8000, 16000 or 24000 Hz, or mu-law or A-law of 8000 Hz; "
                f"it is {said[:20]}, {rate} Hz"
            )
        stream_id = fields.text(start, "stream_sid", default="") or fields.text(message, "stream_sid")
        call = Call(
            provider=NAME,
            stream_id=stream_id,
            call_id=fields.text(start, "call_sid"),
            account_id=fields.text(start, "account_sid", default=""),
            rate=rate,
            calling=fields.text(start, "from", default=""),
            called=fields.text(start, "to", default=""),
            parameters=fields.parameters(start, "custom_parameters"),
        )
        self._encoding = encoding
        return Started(call)

    def _spoken(self, media: Fields) -> PhoneEvent:
        return Spoken(self._encoding.decode(fields.audio(media, max_bytes=MAX_AUDIO_BYTES)))

    def _why_stopped(self, message: Fields) -> str:
        reason = message.get("stop")
        return fields.text(reason, "reason", default="") if isinstance(reason, dict) else ""

    def _other(self, event: str) -> PhoneEvent:
        return Cleared() if event == "clear" else super()._other(event)
