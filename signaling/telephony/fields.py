"""Reading the JSON of telephone providers and of bots: objects, texts, numbers that are texts, audio in base64.

Numbers come as texts from Twilio and as either from Exotel: both are taken everywhere.
"""

import binascii
from base64 import b64decode
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from pydantic_core import from_json

from signaling.telephony.phone import PhoneFaultError

#: Of any text that is kept: ids, numbers, names of marks.
MAX_TEXT_LENGTH = 256
#: What a webhook gave to its stream; Twilio allows 500 characters each.
MAX_PARAMETERS = 32
MAX_PARAMETER_LENGTH = 1024
DIGITS = frozenset("0123456789ABCD*#")

Fields = Mapping[str, Any]


def read_object(text_untrusted: str) -> Fields:
    """Return a message's fields.

    Raises: PhoneFaultError.
    """
    try:
        found = from_json(text_untrusted, allow_inf_nan=False)
    except ValueError:  # its text tells a place, which helps nobody who hears it in a close frame
        raise PhoneFaultError("the message is no JSON") from None
    if not isinstance(found, dict):
        raise PhoneFaultError("the message is JSON, but no object")
    return found


def inner(fields: Fields, name: str) -> Fields:
    """Return the object in a field.

    Raises: PhoneFaultError.
    """
    found = fields.get(name)
    if not isinstance(found, dict):
        raise PhoneFaultError(f"`{name}` must be an object")
    return found


def text(fields: Fields, name: str, *, default: str | None = None) -> str:
    """Return a text, or a number as text; the default, if there is one, for what is missing or null.

    Raises: PhoneFaultError.
    """
    found = fields.get(name)
    if found is None and default is not None:
        return default
    if isinstance(found, int | float) and not isinstance(found, bool):
        found = str(found)
    if not isinstance(found, str) or len(found) > MAX_TEXT_LENGTH:
        raise PhoneFaultError(f"`{name}` must be a text of at most {MAX_TEXT_LENGTH} characters")
    return found


def number(fields: Fields, name: str, *, default: int | None = None) -> int:
    """Return a whole number that may be written as a text; the default, if there is one, for what is missing or null.

    Raises: PhoneFaultError.
    """
    found = text(fields, name, default=None if default is None else str(default)).strip()
    found = found.removesuffix(".0")
    if not (found.isascii() and found.isdecimal() and len(found) <= 18):
        raise PhoneFaultError(f"`{name}` must be a whole number, or a text of one")
    return int(found)


class MessageNumbers:
    """Counts what was lost on the way, as the numbers of messages tell; they begin with 1, and may be missing."""

    def __init__(self, name: str) -> None:
        self.gaps = 0
        self._name = name
        self._last = 0

    def count(self, fields: Fields) -> None:
        """Note a message. One that comes late stays among those that are missing.

        Raises: PhoneFaultError.
        """
        current = number(fields, self._name, default=self._last + 1)
        if current > self._last:
            self.gaps += current - self._last - 1
            self._last = current


def digit(fields: Fields) -> str:
    """Return the ``digit`` of a ``dtmf``.

    Raises: PhoneFaultError.
    """
    found = text(fields, "digit").upper()
    if found not in DIGITS:
        raise PhoneFaultError("`digit` must be one of 0 to 9, A to D, * and #")
    return found


def is_inbound(media: Fields) -> bool:
    """Tell whether a ``media`` is what the caller says: of both tracks, the other one is heard in the lobby anyway.

    Raises: PhoneFaultError.
    """
    return text(media, "track", default="inbound") in {"inbound", "inbound_track"}


def audio(fields: Fields, *, max_bytes: int) -> bytes:
    """Return the bytes of a ``payload``.

    Raises: PhoneFaultError.
    """
    found = fields.get("payload")
    if not isinstance(found, str):
        raise PhoneFaultError("`payload` must be audio in base64")
    if len(found) > max_bytes * 4 // 3 + 4:
        raise PhoneFaultError(f"`payload` has more than {max_bytes} bytes of audio")
    try:
        return b64decode(found, validate=True)
    except (binascii.Error, ValueError):
        raise PhoneFaultError("`payload` is no base64") from None


def parameters(fields: Fields, name: str) -> dict[str, str]:
    """Return a stream's parameters: those that are texts, or numbers, of a bounded length. A text is read as a query.

    Raises: PhoneFaultError.
    """
    found = fields.get(name)
    if isinstance(found, str):
        found = dict(parse_qsl(found[: MAX_PARAMETERS * MAX_PARAMETER_LENGTH]))
    if found is None:
        return {}
    if not isinstance(found, dict) or len(found) > MAX_PARAMETERS:
        raise PhoneFaultError(f"`{name}` must be an object of at most {MAX_PARAMETERS} texts")
    return {
        key: str(value)
        for key, value in found.items()
        if isinstance(value, str | int) and len(str(value)) <= MAX_PARAMETER_LENGTH
    }
