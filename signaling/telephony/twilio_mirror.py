"""Twilio Media Streams, as we speak it to a bot that was written for Twilio: here we are Twilio.

The bot sees what a bidirectional stream shows it: ``connected``, ``start`` with its parameters, 20 ms of the inbound track in
each ``media``, its marks back, keys, ``stop``. It may send ``media`` of any length, ``mark`` and ``clear``.
https://www.twilio.com/docs/voice/media-streams/websocket-messages
"""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from json import dumps

from signaling.telephony import fields
from signaling.telephony.g711 import decode_mulaw, encode_mulaw
from signaling.telephony.line import FRAME_MS, Samples
from signaling.telephony.phone import PhoneFaultError
from signaling.telephony.twilio import ENCODING, RATE

#: Of one message: what the line holds, five minutes.
MAX_AUDIO_BYTES = 300 * RATE


@dataclass(frozen=True, slots=True)
class BotAudio:
    """To be played after all that came before."""

    samples: Samples


@dataclass(frozen=True, slots=True)
class BotMark:
    """To be sent back when all that came before has been played or cleared."""

    name: str


@dataclass(frozen=True, slots=True)
class BotClear:
    """What has not been played is not to be."""


BotEvent = BotAudio | BotMark | BotClear


@dataclass(frozen=True, slots=True)
class StreamIds:
    """What a stream is called: MZ, CA, AC and 32 hexadecimal digits each."""

    stream: str
    call: str
    account: str


class MirroredStream:
    """One stream: text for the bot, and what the bot's text says."""

    def __init__(self, ids: StreamIds, parameters: Mapping[str, str]) -> None:
        self._ids = ids
        self._parameters = dict(parameters)
        self._messages = 0
        self._frames = 0

    def connected(self) -> str:
        """Return the first message."""
        return dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"})

    def start(self) -> str:
        """Return the second message."""
        return self._message(
            "start",
            start={
                "accountSid": self._ids.account,
                "streamSid": self._ids.stream,
                "callSid": self._ids.call,
                "tracks": ["inbound"],
                "mediaFormat": {"encoding": ENCODING, "sampleRate": RATE, "channels": 1},
                "customParameters": self._parameters,
            },
        )

    def media(self, samples: Samples) -> str:
        """Return the message for the next 20 ms heard."""
        timestamp_ms = self._frames * FRAME_MS
        self._frames += 1
        return self._message(
            "media",
            media={
                "track": "inbound",
                "chunk": str(self._frames),
                "timestamp": str(timestamp_ms),
                "payload": b64encode(encode_mulaw(samples)).decode(),
            },
        )

    def mark(self, name: str) -> str:
        """Return the message for a mark that has been reached."""
        return self._message("mark", mark={"name": name})

    def dtmf(self, digit: str) -> str:
        """Return the message for a key that was pressed."""
        return self._message("dtmf", dtmf={"track": "inbound_track", "digit": digit})

    def stop(self) -> str:
        """Return the last message."""
        return self._message("stop", stop={"accountSid": self._ids.account, "callSid": self._ids.call})

    def receive(self, text_untrusted: str) -> BotEvent:
        """Return what the bot says.

        Raises: PhoneFaultError.
        """
        message = fields.read_object(text_untrusted)
        event = fields.text(message, "event")
        if event not in {"media", "mark", "clear"}:
            raise PhoneFaultError("there is no such `event`: expected media, mark or clear")
        if fields.text(message, "streamSid") != self._ids.stream:
            raise PhoneFaultError("`streamSid` is not the one that `start` told")
        if event == "media":
            payload = fields.audio(fields.inner(message, "media"), max_bytes=MAX_AUDIO_BYTES)
            return BotAudio(decode_mulaw(payload))
        if event == "mark":
            return BotMark(fields.text(fields.inner(message, "mark"), "name"))
        return BotClear()

    def _message(self, event: str, **more: object) -> str:
        # Numbers are texts, and the first message after `connected` is number 1.
        self._messages += 1
        return dumps(
            {"event": event, "sequenceNumber": str(self._messages), "streamSid": self._ids.stream, **more}
        )
