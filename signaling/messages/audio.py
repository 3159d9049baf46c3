"""Messages about sound as samples: a bot listens and speaks over its WebSocket, without WebRTC.

The samples themselves travel in binary frames (``audio_frames.py``); these messages open, close and account for the
streams that those frames belong to. Numbers of streams are given by the server, are the session's own, and are not
given again for as long as a session can count (to 65,535). See "Sound as samples" in PROTOCOL.md.
"""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StrictInt, model_validator

from signaling.messages.client import ClientMessage
from signaling.messages.model import Identifier
from signaling.messages.server import ServerMessage

#: In samples a second.
Rate = Literal[8000, 16000, 24000, 32000, 48000]
#: How long the frames are that a listener gets, in ms.
FrameMs = Literal[20, 40, 60, 100]
#: The number of a stream is 16 bits of a binary frame's header; 0 is none.
MAX_STREAM = 0xFFFF
Stream = Annotated[StrictInt, Field(ge=1, le=MAX_STREAM)]
#: A key of a telephone (RFC 4733 section 3.2).
Digit = Annotated[str, Field(pattern=r"^[0-9A-D*#]$")]
#: Far below hearing; and louder than is any use, for the mix is limited.
Gain = Annotated[float, Field(ge=-60, le=12)]
#: Since the stream began; exact: samples are not rounded to whole ms.
Milliseconds = Annotated[float, Field(ge=0)]


# Requests.


class AudioListen(ClientMessage):
    """Hear the lobby as samples. Reply: ``audio_listening``; binary frames of that stream follow.

    ``mixed``: everybody but oneself, in one stream. ``participant``: the one of ``participant_id``, alone.
    ``speakers``: everybody but oneself, each in a stream of their own, which begins (``audio_stream_started``) when they
    are first heard; the reply's number is then the subscription's, and no frames have it.
    """

    type: ClassVar[str] = "audio_listen"
    what: Literal["mixed", "participant", "speakers"]
    participant_id: Identifier | None = None
    rate: Rate
    frame_ms: FrameMs = 20

    @model_validator(mode="after")
    def _names_whom(self) -> Self:
        if (self.what == "participant") != (self.participant_id is not None):
            raise ValueError("expected participant_id with `participant`, and with nothing else")
        return self


class AudioUnlisten(ClientMessage):
    """End a stream or a subscription one listens to. Reply: ``ok``; for each stream there is ``audio_stream_ended``.

    Of a stream that a subscription has brought: its participant is not heard by that any more.
    """

    type: ClassVar[str] = "audio_unlisten"
    stream: Stream


class PlayOpen(ClientMessage):
    """Begin to speak: what the binary frames of the reply's stream hold is heard, after what was begun before.

    ``to``: by this participant alone; None: by all. Reply: ``play_opened``.
    """

    type: ClassVar[str] = "play_open"
    rate: Rate
    to: Identifier | None = None


class PlayClear(ClientMessage):
    """Be silent at once: all that is begun is over, wherever it stands. Reply: ``play_cleared``."""

    type: ClassVar[str] = "play_clear"


class PlayGain(ClientMessage):
    """Make all one plays, now and later, louder or quieter by so much, within a tick of the mixer. Reply: ``ok``."""

    type: ClassVar[str] = "play_gain"
    gain_db: Gain


class Press(ClientMessage):
    """Press a key of a telephone; the lobby gets the event ``dtmf``. Reply: ``ok``."""

    type: ClassVar[str] = "press"
    digit: Digit


# Replies.


class AudioListening(ServerMessage):
    """Reply to ``audio_listen``: the number of the stream, or of the subscription."""

    type: ClassVar[str] = "audio_listening"
    stream: Stream


class PlayOpened(ServerMessage):
    """Reply to ``play_open``: the number for the binary frames."""

    type: ClassVar[str] = "play_opened"
    stream: Stream


class PlayCleared(ServerMessage):
    """Reply to ``play_clear``: how much of what was cut off has been heard, by stream."""

    type: ClassVar[str] = "play_cleared"
    #: Keys in JSON are text.
    played_ms: dict[Annotated[int, Field(ge=1, le=MAX_STREAM)], Milliseconds]


# Events, for this client alone but for the last.


class AudioStreamStarted(ServerMessage):
    """Somebody is heard for the first time by a subscription to ``speakers``; their frames follow."""

    type: ClassVar[str] = "audio_stream_started"
    subscription: Stream
    stream: Stream
    participant_id: str


class AudioStreamEnded(ServerMessage):
    """No frames of this stream follow any more: its participant ``left``, was ``silent`` for long, it was ``closed`` or ``failed``."""

    type: ClassVar[str] = "audio_stream_ended"
    stream: Stream
    reason: str


class PlayProgress(ServerMessage):
    """How much of a playout has been heard.

    ``done``: all of it. ``cleared``: no more will be, and ``reason`` says why: ``cleared`` (as asked for),
    ``play_overflow``, ``left`` (the lobby, or whom it was meant for), ``muted`` (by an administrator), ``closed`` or ``failed``.
    """

    type: ClassVar[str] = "play_progress"
    stream: Stream
    played_ms: Milliseconds
    state: Literal["playing", "done", "cleared"]
    reason: str | None = None


class Dtmf(ServerMessage):
    """A participant pressed a key of a telephone; to everybody in the lobby including itself."""

    type: ClassVar[str] = "dtmf"
    participant_id: str
    digit: str


AUDIO_CLIENT_MESSAGES: tuple[type[ClientMessage], ...] = (
    AudioListen,
    AudioUnlisten,
    PlayOpen,
    PlayClear,
    PlayGain,
    Press,
)
AUDIO_SERVER_MESSAGES: tuple[type[ServerMessage], ...] = (
    AudioListening,
    PlayOpened,
    PlayCleared,
    AudioStreamStarted,
    AudioStreamEnded,
    PlayProgress,
    Dtmf,
)
