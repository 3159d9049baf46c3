"""Numbers of a session's streams: given in order, so that one that is over is not mistaken for another.

Frames of a stream that has just ended are still under way when the client is told; they are told from nonsense by this.
"""

from collections.abc import Container

from signaling.messages.audio import MAX_STREAM


class StreamNumbers:
    """See the module. They go round after 65,535; those in use are left out then."""

    __slots__ = ("_given",)

    def __init__(self) -> None:
        self._given = 0

    def give(self, in_use: Container[int]) -> int:
        """Return the next number. Far fewer are in use than there are."""
        while True:
            number = self._given % MAX_STREAM + 1
            self._given += 1
            if number not in in_use:
                return number

    def was_given(self, number: int) -> bool:
        """Tell whether there is, or has been, a stream of this number."""
        return 0 < number <= self._given
