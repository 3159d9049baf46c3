"""How a client is told what the WebSocket itself has to say: that it closes and why, and what was wrong with a frame."""

from collections.abc import Callable
from dataclasses import dataclass

from signaling.messages import Closing, ErrorCode, ErrorReply, encode_server


@dataclass(frozen=True, slots=True)
class Dialect:
    """Text frames of one protocol."""

    #: reason -> the last words before the close frame.
    closing: Callable[[str], str]
    #: code, text for people -> an error.
    error: Callable[[ErrorCode, str], str]


#: The protocol of PROTOCOL.md.
ENVELOPES = Dialect(
    closing=lambda reason: encode_server(Closing(reason=reason)),
    error=lambda code, text: encode_server(ErrorReply(code=code, error=text)),
)
