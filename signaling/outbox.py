"""What waits to be written to one client: frames, bounded in number and bytes, taken in pieces.

``put`` is synchronous and never waits, so that telling a lobby something costs the same whoever listens.
Overflow policy: the queue is emptied and the owner is told once that this client is too slow; it closes the
connection. Frames are not dropped one by one, for a client that missed an event would show something wrong.

A piece is whole frames put together, or a part of one that is large; it stays the next piece until all of it
has been written. So frames never mix, however little the system takes at a time.

Sound is not queued here: it is fetched from its source, which has its own bounds, when there is nothing else to write.
So a client that is too slow for it gets its messages all the same, and misses the sound that got too old meanwhile.
"""

from collections.abc import Callable

from signaling.frames import binary_frame

#: A join to a lobby of 1,000 while the client's radio sleeps: about this many events.
MAX_FRAMES = 1024
#: What one write is given: enough to make its own cost small, little enough that a client that reads at all
#: is seen to, and that last words need not wait long behind it.
PIECE_BYTES = 64 * 1024
#: As much of sound: half a second of what a bot hears. On a slow line, messages need not wait long behind it, and a write
#: gets done in time.
SOUND_PIECE_BYTES = 16 * 1024


def _tell_nobody() -> None:
    """Stand in for the owner's callback once there can be no overflow."""


class Outbox:
    """See the module. One at a time takes; anybody puts."""

    __slots__ = (
        "_bytes",
        "_ended",
        "_frames",
        "_max_bytes",
        "_max_frames",
        "_on_overflow",
        "_piece",
        "_piece_is_sound",
        "_sound",
    )

    def __init__(
        self, *, max_bytes: int, on_overflow: Callable[[], None], max_frames: int = MAX_FRAMES
    ) -> None:
        # A list, not a deque: it is nearly always empty, and then ten times smaller.
        self._frames: list[bytes] = []
        self._piece: bytes | memoryview = b""
        self._piece_is_sound = False
        self._bytes = 0
        self._max_bytes = max_bytes
        self._max_frames = max_frames
        self._on_overflow = on_overflow
        self._sound: Callable[[], bytes] | None = None
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
        # one. Sound does not count: no client is closed for it.
        waiting = self._bytes - len(self._piece) if self._piece_is_sound else self._bytes
        full = waiting and waiting + len(frame) > self._max_bytes
        if full or len(self._frames) >= self._max_frames:
            tell_owner = self._on_overflow
            self.end(discard=True)
            tell_owner()
            return
        self._frames.append(frame)
        self._bytes += len(frame)

    def fetch_sound_from(self, source: Callable[[], bytes]) -> None:
        """Write the binary messages that ``source`` returns, one a call, until it returns none (``b""``).

        Nothing happens after ``end``.
        """
        if not self._ended:
            self._sound = source

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
        self._sound = None
        self._on_overflow = _tell_nobody  # the owner holds this: a cycle would wait for the garbage collector

    def next_piece(self) -> bytes | memoryview:
        """Return what to write next; the same until it has been ``written``, and nothing when nothing waits."""
        if not self._piece:
            self._piece_is_sound = not self._frames
            if self._frames:
                self._piece = self._assemble()
            elif self._sound is not None:
                self._piece = self._fetch_sound(self._sound)
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

    def _fetch_sound(self, source: Callable[[], bytes]) -> bytes:
        fetched: list[bytes] = []
        size = 0
        while size < SOUND_PIECE_BYTES:
            payload = source()
            if not payload:
                self._sound = None
                break
            fetched.append(binary_frame(payload))
            size += len(fetched[-1])
        self._bytes += size
        return b"".join(fetched)
