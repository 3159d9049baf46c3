"""Twilio Media Streams, as Twilio speaks to us when a call is connected to us (``<Connect><Stream>``).

https://www.twilio.com/docs/voice/media-streams/websocket-messages. Audio is mu-law, 8000 Hz, mono. All numbers are texts.
Twilio takes ``media``, ``mark`` and ``clear`` and breaks the stream off at anything else (its error 31924).
"""

from base64 import b64encode
from collections.abc import Sequence
from json import dumps

from signaling.telephony import fields
from signaling.telephony.fields import Fields, MessageNumbers
from signaling.telephony.g711 import decode_mulaw, encode_mulaw
from signaling.telephony.line import Samples
from signaling.telephony.phone import (
    Call,
    CallRefusedError,
    Marked,
    PhoneEvent,
    PhoneFaultError,
    Pressed,
    Spoken,
    Started,
    Stopped,
)

NAME = "twilio"
RATE = 8000
ENCODING = "audio/x-mulaw"
#: Of one message; Twilio sends 160.
MAX_AUDIO_BYTES = RATE


class TwilioStream:
    """One stream. A ``PhoneDialect``."""

    name = NAME

    def __init__(self) -> None:
        self._numbers = MessageNumbers("sequenceNumber")
        self._stream_id: str | None = None

    @property
    def gaps(self) -> int:
        """See ``PhoneDialect``."""
        return self._numbers.gaps

    def receive(self, text_untrusted: str) -> PhoneEvent | None:
        """See ``PhoneDialect``."""
        message = fields.read_object(text_untrusted)
        event = fields.text(message, "event")
        if event == "connected":
            return None
        self._numbers.count(message)
        if event == "start":
            return self._started(message)
        if self._stream_id is None:
            raise PhoneFaultError(f"`{event}` came before `start`")
        if event == "media":
            return _spoken(fields.inner(message, "media"))
        if event == "dtmf":
            return Pressed(fields.digit(fields.inner(message, "dtmf")))
        if event == "mark":
            return Marked(fields.text(fields.inner(message, "mark"), "name"))
        if event == "stop":
            return Stopped("the call ended")
        raise PhoneFaultError(
            "there is no such `event`: expected connected, start, media, dtmf, mark or stop"
        )

    def audio(self, samples: Samples) -> Sequence[str]:
        """See ``PhoneDialect``; every 20 ms are one message."""
        return (self._message("media", media={"payload": b64encode(encode_mulaw(samples)).decode()}),)

    def mark(self, name: str) -> str:
        """See ``PhoneDialect``."""
        return self._message("mark", mark={"name": name})

    def clear(self) -> str:
        """See ``PhoneDialect``."""
        return self._message("clear")

    def _message(self, event: str, **more: object) -> str:
        assert self._stream_id is not None  # nothing is said before `start`
        return dumps({"event": event, "streamSid": self._stream_id, **more})

    def _started(self, message: Fields) -> Started:
        if self._stream_id is not None:
            raise PhoneFaultError("`start` came twice")
        start = fields.inner(message, "start")
        media = fields.inner(start, "mediaFormat")
        encoding = fields.text(media, "encoding").lower()
        rate, channels = fields.number(media, "sampleRate"), fields.number(media, "channels", default=1)
        if (encoding, rate, channels) != (ENCODING, RATE, 1):
            raise CallRefusedError(
                f"the audio must be {ENCODING}, {RATE} Hz, 1 channel; it is {encoding[:40]}, {rate} Hz, {channels}"
            )
        stream_id = fields.text(start, "streamSid", default="") or fields.text(message, "streamSid")
        call = Call(
            provider=NAME,
            stream_id=stream_id,
            call_id=fields.text(start, "callSid"),
            account_id=fields.text(start, "accountSid", default=""),
            rate=RATE,
            parameters=fields.parameters(start, "customParameters"),
        )
        self._stream_id = stream_id
        return Started(call)


def _spoken(media: Fields) -> PhoneEvent | None:
    if not fields.is_inbound(media):
        return None
    return Spoken(decode_mulaw(fields.audio(media, max_bytes=MAX_AUDIO_BYTES)))
