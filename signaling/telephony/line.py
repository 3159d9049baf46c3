"""What telephony needs of a lobby's mix: a line, which hears the lobby and is heard in it, and how one is opened.

Here is only what is asked; ``lobby_lines.py`` implements it.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import numpy as np
import numpy.typing as npt

#: What one ``receive`` gives, in milliseconds.
FRAME_MS = 20

Samples = npt.NDArray[np.int16]

#: Keys of a line's ``metadata``. What a phone call says of itself, for people who look at it:
PROVIDER = "provider"
CALL_ID = "call_id"
CALLING = "from"
CALLED = "to"
#: Of a bot that was asked for by the bots' API: whoever opens the line joins with it, and shows it to nobody.
BOT_TICKET = "bot_ticket"


class LineClosed(Exception):  # noqa: N818 - an ending, not an error
    """The line is over: its participant left, was removed, or the lobby ended. The text says which."""


class LineRefusedError(Exception):
    """No line is opened; the text says why, for whoever calls."""


class LineOverflowError(Exception):
    """More waits to be played than may; the text says how much may. What was to be queued is dropped."""


class AudioLine(Protocol):
    """One place in a lobby's mix: hears the mix without itself, and plays what is queued."""

    participant_id: str
    #: Hz, both ways (8000 for phones).
    rate: int

    async def receive(self) -> Samples:
        """Return the next 20 ms heard (``rate`` / 50 samples), as they come. Cancelled, it has taken nothing.

        Raises: LineClosed at the end.
        """

    def queue(self, samples: Samples) -> int:
        """Queue any number of samples; never blocks. Return the position (samples queued in all) after them.

        They are the line's from then on. Raises: LineClosed; LineOverflowError, unless the line is live.
        """

    async def wait_played(self, position: int) -> None:
        """Wait until everything up to this position has been played or cleared.

        Raises: LineClosed.
        """

    async def clear(self) -> int:
        """Drop what is queued but not played; return the position really played.

        Raises: LineClosed.
        """

    def press(self, digit: str) -> None:
        """Tell the lobby of a DTMF digit.

        Raises: LineClosed.
        """


class OpenLine(Protocol):
    """Opens lines, for the length of a scope each; what routes are given."""

    def __call__(
        self, *, lobby: str, name: str, rate: int, live: bool, metadata: Mapping[str, str]
    ) -> AbstractAsyncContextManager[AudioLine]:
        """Enter a lobby, by its name, as a participant of this name.

        ``live``: what comes is somebody speaking now, so that no more than 200 ms of it wait, and the oldest is dropped.
        Otherwise up to five minutes may wait.

        Raises, on entering: LineRefusedError.
        """
