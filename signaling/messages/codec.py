"""Frames to text and back.

Total: any text gives a frame or a ``MessageError``, whose code is ``invalid_json``, ``invalid_message`` or
``unknown_type``. JSON is parsed once, with pydantic's parser (bounded nesting, no NaN, no lone surrogates).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from signaling.messages.client import ClientMessage
from signaling.messages.codes import ErrorCode
from signaling.messages.model import Message, RequestId
from signaling.messages.server import ServerMessage
from signaling.messages.tables import CLIENT_MESSAGES, SERVER_MESSAGES

#: How much of a peer's own text an error may repeat.
MAX_ECHO_LENGTH = 60

_Message = TypeVar("_Message", bound=Message)
_REQUEST_ID = TypeAdapter(RequestId)


class MessageError(Exception):
    """A frame that is not a message; ``code`` is stable, the text is for people."""

    def __init__(
        self, code: ErrorCode, error: str, *, field: str | None = None, re: int | None = None
    ) -> None:
        super().__init__(error)
        self.code = code
        self.error = error
        self.field = field
        self.re = re


@dataclass(frozen=True, slots=True)
class ClientFrame:
    """A message from a client; ``id`` is what the reply repeats as ``re``."""

    message: ClientMessage
    id: int | None = None


@dataclass(frozen=True, slots=True)
class ServerFrame:
    """A message from the server: the reply to request ``re``, or an event when that is None.

    ``seq`` is the number of an event within its lobby; events that concern this client alone have none.
    """

    message: ServerMessage
    re: int | None = None
    seq: int | None = None


def encode_client(message: ClientMessage, request_id: int | None = None) -> str:
    """Return the text frame that carries this request."""
    return _encode(message, "id", request_id)


def encode_server(message: ServerMessage, re: int | None = None, *, seq: int | None = None) -> str:
    """Return the text frame that carries this reply (``re`` given) or event (``seq``: of a lobby)."""
    return _encode(message, "re", re) if seq is None else _encode(message, "seq", seq)


def decode_client(
    text_untrusted: str | bytes, messages: Mapping[str, type[ClientMessage]] = CLIENT_MESSAGES
) -> ClientFrame:
    """Return the request in a text frame; ``messages`` is the table of the protocol that is spoken.

    Raises: MessageError, with ``re`` set when the frame's id could be read.
    """
    message, numbers = _decode(text_untrusted, messages, ("id",))
    return ClientFrame(message, *numbers)


def decode_server(
    text_untrusted: str | bytes, messages: Mapping[str, type[ServerMessage]] = SERVER_MESSAGES
) -> ServerFrame:
    """Return the reply or event in a text frame; ``messages`` is the table of the protocol that is spoken.

    Raises: MessageError; a client should skip ``unknown_type``, for the server may be newer.
    """
    message, numbers = _decode(text_untrusted, messages, ("re", "seq"))
    return ServerFrame(message, *numbers)


def _encode(message: Message, number_key: str, number: int | None) -> str:
    # The type is one of our own constants and needs no escaping; the model writes its JSON once.
    tail = "" if number is None else f',"{number_key}":{number}'
    return f'{{"type":"{message.type}","data":{message.model_dump_json()}{tail}}}'


def _decode(
    text_untrusted: str | bytes, table: Mapping[str, type[_Message]], number_keys: tuple[str, ...]
) -> tuple[_Message, tuple[int | None, ...]]:
    try:
        envelope: Any = from_json(text_untrusted, allow_inf_nan=False)
    except ValueError as error:
        raise MessageError(ErrorCode.INVALID_JSON, f"not JSON: {error}") from None
    if not isinstance(envelope, dict):
        raise MessageError(ErrorCode.INVALID_JSON, "expected a JSON object with `type` and `data`")
    numbers = tuple(_number(envelope, key) for key in number_keys)
    number = numbers[0]
    message_type = envelope.get("type")
    if not isinstance(message_type, str):
        raise MessageError(ErrorCode.INVALID_MESSAGE, "`type` must be a string", field="type", re=number)
    model = table.get(message_type)
    if model is None:
        shown = message_type[:MAX_ECHO_LENGTH]
        raise MessageError(
            ErrorCode.UNKNOWN_TYPE, f"no message has the type {shown!r}", field="type", re=number
        )
    content = envelope.get("data", {})
    if not isinstance(content, dict):
        raise MessageError(ErrorCode.INVALID_MESSAGE, "`data` must be an object", field="data", re=number)
    try:
        return model.model_validate(content), numbers
    except ValidationError as error:
        field, text = _first_fault(error)
        raise MessageError(ErrorCode.INVALID_MESSAGE, f"`{field}`: {text}", field=field, re=number) from None


def _number(envelope: Mapping[str, Any], key: str) -> int | None:
    value = envelope.get(key)
    if value is None:
        return None
    try:
        return _REQUEST_ID.validate_python(value)
    except ValidationError:
        raise MessageError(
            ErrorCode.INVALID_MESSAGE, f"`{key}` must be an integer from 0 to 2^53 - 1", field=key
        ) from None


def _first_fault(error: ValidationError) -> tuple[str, str]:
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = ".".join(str(step) for step in fault["loc"]) or "data"
    text = fault["msg"].removeprefix("Value error, ")
    return path, text[:1].lower() + text[1:]
