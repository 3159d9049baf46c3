"""Frames as a server sends them (RFC 6455 section 5.2): never masked, never in fragments, without extensions.

So the same text makes the same bytes for every client, and a lobby's event is framed once. The frames that belong
to the protocol's states, answers and closes, are wsproto's.
"""

from functools import lru_cache

#: Any answer will do as a sign of life, so that it needs no payload to be told by.
PING = b"\x89\x00"

_FINAL_TEXT = 0x81


@lru_cache(maxsize=1)
def text_frame(text: str) -> bytes:
    """Return the whole frame; asked again for the same text, the same bytes."""
    payload = text.encode()
    size = len(payload)
    if size < 126:
        header = bytes((_FINAL_TEXT, size))
    elif size < 1 << 16:
        header = bytes((_FINAL_TEXT, 126)) + size.to_bytes(2)
    else:
        header = bytes((_FINAL_TEXT, 127)) + size.to_bytes(8)
    return header + payload
