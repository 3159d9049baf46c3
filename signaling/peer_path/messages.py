"""The frames of the peer path: one flat JSON object each, ``{"type": ..., field: value, ...}``. Decoding is total."""

from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import Field, ValidationError
from pydantic_core import from_json

from signaling.messages import ErrorCode, MessageError
from signaling.messages.codec import MAX_ECHO_LENGTH
from signaling.messages.model import MAX_SDP_LENGTH, ChatText, Message, Part

#: The id under which the relay is spoken to. No peer can have it.
RELAY_PEER = "relay"
MAX_PEER_ID_LENGTH = 64

_Model = TypeVar("_Model", bound=Part)

PeerId = Annotated[str, Field(min_length=1, max_length=MAX_PEER_ID_LENGTH)]


class PeerRequest(Message):
    """Base of everything a peer may send."""


class PeerReply(Message):
    """Base of everything the server may send."""


class ConfigRequest(PeerRequest):
    """Ask for what an ``RTCPeerConnection`` is made with."""

    type: ClassVar[str] = "config_request"


class SignalRequest(PeerRequest):
    """Offer to the relay, or say anything to another peer of the company."""

    type: ClassVar[str] = "signal"
    to_peer: PeerId = RELAY_PEER
    data: dict[str, Any]


class TextRequest(PeerRequest):
    """Say something to the lobby's bot."""

    type: ClassVar[str] = "message"
    message: ChatText


class PingRequest(PeerRequest):
    """Ask for a sign of life."""

    type: ClassVar[str] = "ping"


class ConnectionAck(PeerReply):
    """The first frame: who the client is here."""

    type: ClassVar[str] = "connection_ack"
    peer_id: str
    lobby: str
    relay_peer: str = RELAY_PEER
    correlation_id: str = ""


class Config(PeerReply):
    """What an ``RTCPeerConnection`` is made with; each entry is an ``RTCIceServer``."""

    type: ClassVar[str] = "config"
    ice_servers: tuple[dict[str, Any], ...]


class Signal(PeerReply):
    """The relay's answer, or what another peer said."""

    type: ClassVar[str] = "signal"
    from_peer: str
    data: dict[str, Any]


class Response(PeerReply):
    """What the lobby's bot said."""

    type: ClassVar[str] = "response"
    content: str


class PeerPong(PeerReply):
    """A sign of life."""

    type: ClassVar[str] = "pong"


class PeerError(PeerReply):
    """Something was wrong with a request, or the connection closes."""

    type: ClassVar[str] = "error"
    code: str
    error: str
    field: str | None = None
    correlation_id: str = ""


class OfferSignal(Part):
    """What ``data`` is when it is an offer to the relay."""

    sdp: Annotated[str, Field(min_length=1, max_length=MAX_SDP_LENGTH)]


PEER_REQUESTS: dict[str, type[PeerRequest]] = {
    model.type: model for model in (ConfigRequest, SignalRequest, TextRequest, PingRequest)
}
PEER_REPLIES: dict[str, type[PeerReply]] = {
    model.type: model for model in (ConnectionAck, Config, Signal, Response, PeerPong, PeerError)
}


def encode_reply(message: PeerReply) -> str:
    """Return the text frame that carries this message."""
    fields = message.model_dump_json()
    return f'{{"type":"{message.type}"{"}" if fields == "{}" else "," + fields[1:]}'


def decode_request(text_untrusted: str | bytes) -> PeerRequest:
    """Return the request in a frame.

    Raises: MessageError; a binary frame is ``unsupported``.
    """
    if isinstance(text_untrusted, bytes):
        text = "binary frames are not used: send JSON in text frames"
        raise MessageError(ErrorCode.UNSUPPORTED, text)
    try:
        frame: Any = from_json(text_untrusted, allow_inf_nan=False)
    except ValueError as error:
        raise MessageError(ErrorCode.INVALID_JSON, f"not JSON: {error}") from None
    if not isinstance(frame, dict):
        raise MessageError(ErrorCode.INVALID_JSON, "expected a JSON object with `type`")
    kind = frame.pop("type", None)
    if not isinstance(kind, str):
        raise MessageError(ErrorCode.INVALID_MESSAGE, "`type` must be a string", field="type")
    model = PEER_REQUESTS.get(kind)
    if model is None:
        text = f"no message has the type {kind[:MAX_ECHO_LENGTH]!r}; there are {', '.join(PEER_REQUESTS)}"
        raise MessageError(ErrorCode.UNKNOWN_TYPE, text, field="type")
    return validated(model, frame)


def validated(model: type[_Model], fields: dict[str, Any], *, within: str = "") -> _Model:
    """Return the model with these fields; ``within`` is what an error puts before their names.

    Raises: MessageError that names the field at fault.
    """
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = within + ".".join(str(step)[:MAX_ECHO_LENGTH] for step in fault["loc"])
        text = fault["msg"].removeprefix("Value error, ")
        text = f"`{field}`: {text[:1].lower()}{text[1:]}"
        raise MessageError(ErrorCode.INVALID_MESSAGE, text, field=field) from None
