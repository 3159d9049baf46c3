"""Frames as a server sends them (RFC 6455 section 5.2): never masked, never in fragments.

So the same text makes the same bytes for every client, compressed (RFC 7692) or not, and a lobby's event is framed once.
The frames that belong to the protocol's states, answers and closes, are wsproto's.
"""

from functools import lru_cache

from signaling.deflate import MIN_DEFLATED_BYTES, deflate

#: Any answer will do as a sign of life, so that it needs no payload to be told by.
PING = b"\x89\x00"

_FINAL_TEXT = 0x81
_FINAL_BINARY = 0x82
_COMPRESSED = 0x40


@lru_cache(maxsize=1)
def text_frame(text: str) -> bytes:
    """Return the whole frame; asked again for the same text, the same bytes."""
    return _frame(_FINAL_TEXT, text.encode())


@lru_cache(maxsize=1)
def compressed_text_frame(text: str) -> bytes:
    """Return the frame for a client that takes compressed ones: compressed if that is worth it."""
    if len(text) < MIN_DEFLATED_BYTES // 4:  # in UTF-8 a character has four bytes at most
        return text_frame(text)
    payload = text.encode()
    if len(payload) >= MIN_DEFLATED_BYTES:
        compressed = deflate(payload)
        if len(compressed) < len(payload):
            return _frame(_FINAL_TEXT | _COMPRESSED, compressed)
    return text_frame(text)


def binary_frame(payload: bytes) -> bytes:
    """Return the whole frame; never compressed, for samples hardly shrink."""
    return _frame(_FINAL_BINARY, payload)


def _frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        header = bytes((first, size))
    elif size < 1 << 16:
        header = bytes((first, 126)) + size.to_bytes(2)
    else:
        header = bytes((first, 127)) + size.to_bytes(8)
    return header + payload
