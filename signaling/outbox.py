"""What waits to be written to one client: frames, bounded in number and bytes, taken in pieces.

``put`` is synchronous and never waits, so that telling a lobby something costs the same whoever listens.
Overflow policy: the queue is emptied and the owner is told once that this client is too slow; it closes the
connection. Frames are not dropped one by one, for a client that missed an event would show something wrong.

A piece is whole frames put together, or a part of one that is large; it stays the next piece until all of it
has been written. So frames never mix, however little the system takes at a time.
"""

from collections.abc import Callable

#: A join to a lobby of 1,000 while the client's radio sleeps: about this many events.
MAX_FRAMES = 1024
#: What one write is given: enough to make its own cost small, little enough that a client that reads at all
#: is seen to, and that last words need not wait long behind it.
PIECE_BYTES = 64 * 1024


def _tell_nobody() -> None:
    """Stand in for the owner's callback once there can be no overflow."""


class Outbox:
    """See the module. One at a time takes; anybody puts."""

    __slots__ = ("_bytes", "_ended", "_frames", "_max_bytes", "_max_frames", "_on_overflow", "_piece")

    def __init__(
        self, *, max_bytes: int, on_overflow: Callable[[], None], max_frames: int = MAX_FRAMES
    ) -> None:
        # A list, not a deque: it is nearly always empty, and then ten times smaller.
        self._frames: list[bytes] = []
        self._piece: bytes | memoryview = b""
        self._bytes = 0
        self._max_bytes = max_bytes
        self._max_frames = max_frames
        self._on_overflow = on_overflow
        self._ended = False

    @property
    def queued_bytes(self) -> int:
        """What waits, the piece that is being written included."""
        return self._bytes

    def put(self, frame: bytes) -> None:
        """Queue a frame; nothing happens after ``end``."""
        if self._ended:
            return
        # A single frame larger than the whole queue (the snapshot of a huge lobby) may pass through an empty
        # one.
        full = self._bytes and self._bytes + len(frame) > self._max_bytes
        if full or len(self._frames) >= self._max_frames:
            tell_owner = self._on_overflow
            self.end(discard=True)
            tell_owner()
            return
        self._frames.append(frame)
        self._bytes += len(frame)

    def end(self, *last_words: bytes, discard: bool = False) -> None:
        """Take nothing more; ``last_words`` are still sent, and ``discard`` drops what waits before them.

        A piece that is being written is never dropped: it may have been cut inside a frame.
        """
        if discard:
            self._frames.clear()
            self._bytes = len(self._piece)
        for frame in last_words:
            self._frames.append(frame)
            self._bytes += len(frame)
        self._ended = True
        self._on_overflow = _tell_nobody  # the owner holds this: a cycle would wait for the garbage collector

    def next_piece(self) -> bytes | memoryview:
        """Return what to write next; the same until it has been ``written``, and nothing when nothing waits."""
        if not self._piece and self._frames:
            self._piece = self._assemble()
        if len(self._piece) <= PIECE_BYTES:
            return self._piece
        return memoryview(self._piece)[:PIECE_BYTES]

    def written(self, size: int) -> None:
        """Note that so many bytes of the piece have been written."""
        self._bytes -= size
        self._piece = b"" if size == len(self._piece) else memoryview(self._piece)[size:]

    def _assemble(self) -> bytes:
        frames = self._frames
        if len(frames) == 1:
            return frames.pop()
        count = size = 0
        for frame in frames:
            size += len(frame)
            if count and size > PIECE_BYTES:
                break
            count += 1
        piece = b"".join(frames[:count])
        del frames[:count]
        return piece
