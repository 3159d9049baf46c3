"""What messages are made of: field types with their limits, and the nouns participant, track and chat message."""

import unicodedata
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StrictBool,
    StrictInt,
    computed_field,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

MAX_NAME_LENGTH = 64
MAX_LOBBY_LENGTH = 64
MAX_CHAT_LENGTH = 2000
MAX_LINE_LENGTH = 300
#: As the relay reads SDP; browsers use one or two digits.
MAX_MID_LENGTH = 64
MAX_ID_LENGTH = 64
#: A browser's offer with 300 sections is about 200 KB.
MAX_SDP_LENGTH = 400_000
MAX_CANDIDATE_LENGTH = 1024
#: Request ids and event numbers are counters a JavaScript number holds exactly.
MAX_REQUEST_ID = 2**53 - 1
#: As ``signaling.auth`` takes them.
MAX_PASSWORD_LENGTH = 256
#: A join token with every claim is some 500 characters.
MAX_TICKET_LENGTH = 4096

#: Override and isolate controls: with one of these a name can rewrite the text shown after it (Unicode TR 36,
#: 3.6).
_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable_text(text: str, *, allowed: str = "") -> str:
    """Return the text if it has no control characters but those allowed.

    Raises: ValueError.
    """
    for character in text:
        control = unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} and character not in allowed
        if control or character in _BIDI_CONTROLS:
            raise ValueError(f"must not contain the control character U+{ord(character):04X}")
    return text


def _name(text: str) -> str:
    stripped = printable_text(text).strip()
    if not stripped:
        raise ValueError("must not be empty")
    return stripped


def _chat_text(text: str) -> str:
    stripped = printable_text(text, allowed="\n\t").strip()
    if not stripped:
        raise ValueError("must not be empty")
    return stripped


class Described:
    """Says in a JSON schema which texts a validator takes; where a pattern is an approximation, it takes fewer."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """See pydantic."""
        return handler(core_schema) | {"pattern": self._pattern}


def _whole(value: Any) -> Any:
    # JSON knows one kind of number: 5.0 is the integer 5 (JSON Schema, 6.1.1). True and "5" are not.
    return int(value) if isinstance(value, float) and value.is_integer() else value


#: What ``printable_text`` refuses, but for halves of surrogate pairs, which no UTF-8 has.
_CONTROLS = r"\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069"
PRINTABLE = Described(f"^[^{_CONTROLS}]*$")
#: And there must be something to see.
_VISIBLE = Described(f"^[^{_CONTROLS}]*[^{_CONTROLS}\\s][^{_CONTROLS}]*$")

#: For a ``StrictInt`` of the HTTP interface; to stand after its bounds, so that a schema has those.
WHOLE = BeforeValidator(_whole)
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH), AfterValidator(_name), _VISIBLE]
LobbyName = Annotated[str, Field(min_length=1, max_length=MAX_LOBBY_LENGTH), AfterValidator(_name), _VISIBLE]
ChatText = Annotated[str, Field(min_length=1, max_length=MAX_CHAT_LENGTH), AfterValidator(_chat_text)]
#: Something said to people in one line.
Line = Annotated[str, Field(max_length=MAX_LINE_LENGTH), AfterValidator(printable_text)]
Mid = Annotated[str, Field(min_length=1, max_length=MAX_MID_LENGTH)]
Identifier = Annotated[str, Field(min_length=1, max_length=MAX_ID_LENGTH)]
#: What a track shows. Known to every client: microphone, camera, screen, screen_audio, bot.
Source = Annotated[str, Field(max_length=32, pattern=r"^[a-z][a-z0-9_]*$")]
RequestId = Annotated[StrictInt, Field(ge=0, le=MAX_REQUEST_ID)]
#: The number of an event within its lobby.
Sequence = Annotated[StrictInt, Field(ge=0, le=MAX_REQUEST_ID)]
Password = Annotated[str, Field(min_length=1, max_length=MAX_PASSWORD_LENGTH)]
#: A signed token, or another secret that was made by a program.
Ticket = Annotated[str, Field(min_length=1, max_length=MAX_TICKET_LENGTH)]
Kind = Literal["audio", "video"]
MediaStateName = Literal["new", "connecting", "connected", "closed"]


class Part(BaseModel):
    """A piece of a message: frozen; unknown fields are ignored, for either side may be the newer one."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Message(Part):
    """The ``data`` of one frame; ``type`` is the frame's ``type``."""

    type: ClassVar[str]


class Track(Part):
    """One published audio or video. ``muted_by_server``: its publisher cannot unmute it."""

    track_id: str
    kind: Kind
    source: Source
    muted: StrictBool
    in_slots: StrictBool = False
    muted_by_server: StrictBool = False


#: What a screen plays is heard, but nobody speaks.
SILENT_SOURCES = frozenset({"screen_audio"})


def is_voice(track: Track) -> bool:
    """Tell whether a participant can be heard through this track."""
    return track.kind == "audio" and not track.muted and track.source not in SILENT_SOURCES


class Participant(Part):
    """A session in a lobby. ``participant_id`` is new at every join."""

    participant_id: str
    name: str
    is_bot: StrictBool
    joined_at: AwareDatetime
    tracks: tuple[Track, ...]
    speaking: StrictBool = False

    @computed_field  # type: ignore[prop-decorator] # as pydantic documents it
    @property
    def muted(self) -> bool:
        """Whether no voice of theirs can be heard: no such track, or all muted."""
        return not any(is_voice(track) for track in self.tracks)


class ChatMessage(Part):
    """One line of a lobby's chat; ``seq`` grows by one a line within the lobby."""

    seq: StrictInt
    participant_id: str
    name: str
    text: str
    sent_at: AwareDatetime


class LobbySnapshot(Part):
    """A lobby as one participant sees it at one moment; ``participants`` includes the reader.

    ``seq`` is the number of the last event that is in it already.
    """

    lobby: str
    lobby_id: str = ""
    participant_id: str
    participants: tuple[Participant, ...]
    audio_slots: StrictInt = 0
    chat: tuple[ChatMessage, ...]
    seq: StrictInt = 0
