"""Compression of messages (RFC 7692, permessage-deflate): each for itself, in bounds.

Neither side keeps a window between messages (``no_context_takeover``). So a message for many is compressed once, an idle
connection costs nothing, and what is secret in one message does not show in the length of another. What comes in is
inflated up to the message size limit and not a byte further. wsproto has this extension too, but inflates
without bound, compresses whatever is sent, and forgets a compressed message when a ping falls into it.
"""

import zlib
from collections.abc import Iterator

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

#: Below this a frame fits into one packet anyway.
MIN_DEFLATED_BYTES = 1024
#: The fastest: it leaves 16 % of the snapshot of a lobby of 1,000 and takes half as long as to write its JSON. The best
#: leaves 14 % and takes nine times as long, while which nobody else is served.
LEVEL = 1
_WINDOW_BITS = 15
#: What a sender leaves out at the end (RFC 7692, 7.2.1).
_TAIL = b"\x00\x00\xff\xff"
#: So that a text over the limit is seen to be: up to three bytes of it may wait for the rest of their character.
_SLACK_BYTES = 4


def deflate(payload: bytes) -> bytes:
    """Return the payload of a compressed message.

    Cost: 12 us for 1.5 KB, which become 0.4; 0.6 ms for the 171 KB of a lobby of 1,000, which become 27.
    """
    compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, -_WINDOW_BITS)
    compressed = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return compressed[: -len(_TAIL)]


class MessageDeflate(Extension):
    """The server's side of the extension on one connection. Frames to send are made by ``frames.py``."""

    __slots__ = ("_control", "_enabled", "_inflater", "_left", "_left_compressed", "_max_message_bytes")

    name = "permessage-deflate"

    def __init__(self, max_message_bytes: int) -> None:
        self._max_message_bytes = max_message_bytes
        self._enabled = False
        # Whether the frame at hand is a control frame, which may fall between those of a message.
        self._control = False
        # Of the message at hand, while that is a compressed one.
        self._inflater: zlib._Decompress | None = None
        self._left = 0
        self._left_compressed = 0

    def enabled(self) -> bool:
        """Tell whether client and server have agreed on it."""
        return self._enabled

    def offer(self) -> bool:
        """Offer nothing: a server is offered."""
        return False

    def accept(self, offer: str) -> str | None:
        """Return the parameters agreed on, or None for an offer that cannot be met; the first that can is taken."""
        if self._enabled:
            return None
        answer = ["server_no_context_takeover", "client_no_context_takeover"]
        seen: set[str] = set()
        for name, value in _parameters(offer):
            if name in seen:
                return None
            seen.add(name)
            if name in {"server_no_context_takeover", "client_no_context_takeover"} and value is None:
                continue
            if name == "client_max_window_bits" and (value is None or _is_window(value)):
                continue  # any window of the client's fits into ours
            if name == "server_max_window_bits" and value == str(_WINDOW_BITS):
                answer.append(f"{name}={value}")
                continue
            # Unknown, malformed, or a smaller window: every client gets the same bytes.
            return None
        self._enabled = True
        return "; ".join(answer)

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        """See wsproto: a frame begins. It says so again of the same frame when the header came in pieces."""
        del proto, payload_length
        self._control = opcode.iscontrol()
        if rsv.rsv1:
            if opcode not in {Opcode.TEXT, Opcode.BINARY}:
                return CloseReason.PROTOCOL_ERROR
            self._inflater = zlib.decompressobj(-_WINDOW_BITS)
            self._left = self._max_message_bytes + _SLACK_BYTES
            # What cannot be compressed grows a little.
            self._left_compressed = self._max_message_bytes + self._max_message_bytes // 64 + 64
        return RsvBits(rsv1=True, rsv2=False, rsv3=False)

    def frame_inbound_payload_data(
        self, proto: FrameDecoder | FrameProtocol, data: bytes
    ) -> bytes | CloseReason:
        """See wsproto: a piece of a frame has come."""
        del proto
        if self._inflater is None or self._control:
            return data
        inflated = self._inflate(data)
        self._left_compressed -= len(data)
        # Too large as a message it is the connection that says so. Here is what would go on for ever and inflate to nothing.
        return CloseReason.MESSAGE_TOO_BIG if self._left and self._left_compressed < 0 else inflated

    def frame_inbound_complete(
        self, proto: FrameDecoder | FrameProtocol, fin: bool
    ) -> bytes | CloseReason | None:
        """See wsproto: a frame is complete."""
        del proto
        if self._inflater is None or self._control or not fin:
            return None
        rest = self._inflate(_TAIL)
        self._inflater = None
        return rest

    def _inflate(self, data: bytes) -> bytes | CloseReason:
        """Return what it inflates to, up to one message; the connection refuses the message as too large then."""
        assert self._inflater is not None
        if not self._left or self._inflater.eof:
            return b""
        try:
            inflated = self._inflater.decompress(data, self._left)
        except zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        self._left -= len(inflated)
        return inflated


def _parameters(offer: str) -> Iterator[tuple[str, str | None]]:
    for part in offer.split(";")[1:]:
        name, separator, value = part.partition("=")
        yield name.strip().lower(), value.strip().strip('"') if separator else None


def _is_window(value: str) -> bool:
    return value in {"8", "9", "10", "11", "12", "13", "14", "15"}
