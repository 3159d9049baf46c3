"""Twilio Media Streams, as Twilio speaks to us when a call is connected to us (``<Connect><Stream>``).

https://www.twilio.com/docs/voice/media-streams/websocket-messages. Audio is mu-law, 8000 Hz, mono. All numbers are texts.
Twilio takes ``media``, ``mark`` and ``clear`` and breaks the stream off at anything else (its error 31924).
"""

from base64 import b64encode
from collections.abc import Sequence

from signaling.telephony import fields
from signaling.telephony.fields import Fields
from signaling.telephony.g711 import decode_mulaw, encode_mulaw
from signaling.telephony.json_stream import JsonStream
from signaling.telephony.line import Samples
from signaling.telephony.phone import Call, CallRefusedError, PhoneEvent, Spoken, Started

NAME = "twilio"
RATE = 8000
ENCODING = "audio/x-mulaw"
#: Of one message; Twilio sends 160.
MAX_AUDIO_BYTES = RATE


class TwilioStream(JsonStream):
    """One stream. A ``PhoneDialect``."""

    name = NAME
    number_key = "sequenceNumber"
    stream_key = "streamSid"

    def audio(self, samples: Samples) -> Sequence[str]:
        """See ``PhoneDialect``; every 20 ms are one message."""
        return (self._message("media", media={"payload": b64encode(encode_mulaw(samples)).decode()}),)

    def _started(self, message: Fields) -> Started:
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
        return Started(call)

    def _spoken(self, media: Fields) -> PhoneEvent:
        return Spoken(decode_mulaw(fields.audio(media, max_bytes=MAX_AUDIO_BYTES)))
