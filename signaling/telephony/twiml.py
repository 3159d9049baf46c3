"""TwiML, what Twilio is answered when it asks what to do with a call (https://www.twilio.com/docs/voice/twiml)."""

from collections.abc import Mapping
from xml.sax.saxutils import quoteattr

MEDIA_TYPE = "application/xml"
#: Of name and value together; Twilio's limit.
MAX_PARAMETER_LENGTH = 500

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'


def connect_stream(url: str, parameters: Mapping[str, str]) -> str:
    """Return what connects the call to a WebSocket, both ways; the parameters come back in its ``start``.

    Raises: ValueError for a parameter that Twilio would not take.
    """
    inner = "".join(_parameter(name, value) for name, value in parameters.items())
    return f"{_HEAD}<Response><Connect><Stream url={_attribute(url)}>{inner}</Stream></Connect></Response>"


def _parameter(name: str, value: str) -> str:
    if len(name) + len(value) > MAX_PARAMETER_LENGTH:
        raise ValueError(f"the parameter {name[:40]!r} is longer than {MAX_PARAMETER_LENGTH} characters")
    return f"<Parameter name={_attribute(name)} value={_attribute(value)}/>"


def _attribute(text: str) -> str:
    # Line breaks as references: in an attribute XML reads them as blanks otherwise. `quoteattr` writes them so.
    return quoteattr(_plain(text))


def _plain(text: str) -> str:
    """Return the text without what no XML document may contain (XML 1.0 section 2.2)."""
    return "".join(character for character in text if _is_allowed(ord(character)))


def _is_allowed(code: int) -> bool:
    return (
        code in {0x9, 0xA, 0xD}
        or 0x20 <= code <= 0xD7FF
        or 0xE000 <= code <= 0xFFFD
        or 0x1_0000 <= code <= 0x10_FFFF
    )
