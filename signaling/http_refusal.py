"""An HTTP answer of the front door's own: a problem document (RFC 9457) instead of an upgrade, and the end."""

from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus

import trio

from signaling.peeked_stream import PeekedStream
from signaling.problems import problem

#: How long a client may take to read a few hundred bytes.
REFUSAL_SECONDS = 5.0


async def refuse_http(
    stream: PeekedStream, status: int, detail: str, *, headers: Mapping[str, str] | None = None
) -> None:
    """Answer and say that no more will come; whether the client hears it is its affair."""
    response = problem(status, detail, headers=dict(headers or {}))
    lines = [
        b"HTTP/1.1 %d %s" % (status, HTTPStatus(status).phrase.encode()),
        b"connection: close",
        b"cache-control: no-store",
        b"x-content-type-options: nosniff",
        *(name + b": " + value for name, value in response.raw_headers),
    ]
    with trio.move_on_after(REFUSAL_SECONDS), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await stream.send_all(b"\r\n".join(lines) + b"\r\n\r\n" + bytes(response.body))
        await stream.send_eof()
