"""A TCP stream whose first bytes have been read already, and whose writes need not block.

The front door reads a request's head to see who should serve it; the server it picks gets this stream and
reads the head again.
"""

import math
import os

import trio


class PeekedStream(trio.abc.HalfCloseableStream):
    """``head`` first, then ``stream``. Owns the stream."""

    def __init__(
        self, stream: trio.SocketStream, head: bytes, *, send_timeout_seconds: float = math.inf
    ) -> None:
        self._stream = stream
        self._head = head
        self._send_timeout_seconds = send_timeout_seconds

    @property
    def socket(self) -> trio.socket.SocketType:
        """The socket below, whose addresses Hypercorn reads."""
        return self._stream.socket

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Return the peeked bytes first."""
        if not self._head:
            return await self._stream.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        size = len(self._head) if max_bytes is None else max_bytes
        piece, self._head = self._head[:size], self._head[size:]
        return piece

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write all of it.

        Raises: trio.BrokenResourceError when the client does not read for ``send_timeout_seconds``; the
        stream is closed then.
        """
        with trio.move_on_after(self._send_timeout_seconds) as scope:
            await self._stream.send_all(data)
        if scope.cancelled_caught:
            self._stream.socket.close()
            raise trio.BrokenResourceError("the client did not read in time")

    def send_nowait(self, data: bytes | memoryview) -> int:
        """Write as much as the system takes without waiting; return how much that was.

        Nobody else may be writing.
        Raises: trio.BrokenResourceError.
        """
        try:
            return os.write(self._stream.socket.fileno(), data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise trio.BrokenResourceError from error

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until a write would make progress."""
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """Say that nothing more will be written."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()
