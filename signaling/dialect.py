"""How a client is told what the WebSocket itself has to say: that it closes and why, and what was wrong with a frame."""

from collections.abc import Callable
from dataclasses import dataclass

from signaling.messages import Closing, ErrorCode, ErrorReply, encode_server


@dataclass(frozen=True, slots=True)
class Dialect:
    """Text frames of one protocol; an empty text is not sent, for some have no words for such things."""

    #: reason -> the last words before the close frame.
    closing: Callable[[str], str]
    #: code, text for people -> an error.
    error: Callable[[ErrorCode, str], str]


#: The protocol of PROTOCOL.md.
ENVELOPES = Dialect(
    closing=lambda reason: encode_server(Closing(reason=reason)),
    error=lambda code, text: encode_server(ErrorReply(code=code, error=text)),
)

#: Of a protocol in which only the close frame says what was wrong.
SILENT = Dialect(closing=lambda _: "", error=lambda _code, _text: "")
