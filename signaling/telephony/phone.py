"""A phone's media stream, whatever the provider: what it can say, and what a dialect of it must be able to do.

Dialects (``twilio.py``, ``exotel.py``) read text and give these, and make text of what is to be said. None has a clock, a
socket or a task inside.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from signaling.telephony.line import Samples


@dataclass(frozen=True, slots=True)
class Call:
    """What a stream says of its call when it starts. Nothing in it has been checked but its types."""

    provider: str
    stream_id: str
    call_id: str
    account_id: str
    #: Hz, both ways.
    rate: int
    #: The numbers as the provider writes them; empty where it tells them otherwise.
    calling: str = ""
    called: str = ""
    #: What was given to the stream where it was asked for; may hold a ticket.
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Started:
    """The stream begins."""

    call: Call


@dataclass(frozen=True, slots=True)
class Spoken:
    """The caller was heard."""

    samples: Samples


@dataclass(frozen=True, slots=True)
class Pressed:
    """The caller pressed a key: 0 to 9, A to D, * or #."""

    digit: str


@dataclass(frozen=True, slots=True)
class Marked:
    """All that was sent before this mark of ours has been played, or dropped."""

    name: str


@dataclass(frozen=True, slots=True)
class Cleared:
    """What the caller said and nobody heard yet is void."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The stream is over."""

    reason: str


PhoneEvent = Started | Spoken | Pressed | Marked | Cleared | Stopped


class PhoneFaultError(Exception):
    """A message that is none, or not now: it is passed over. The text says what was expected; it may be sent back."""


class CallRefusedError(Exception):
    """The call cannot go on; the text says why, in what fits into a close frame."""


class PhoneDialect(Protocol):
    """One stream's dialect."""

    name: str

    @property
    def gaps(self) -> int:
        """How many messages were lost on the way, as their numbers tell."""

    def receive(self, text_untrusted: str) -> PhoneEvent | None:
        """Return what a message says; None for one that matters to nobody here.

        Raises: PhoneFaultError, CallRefusedError.
        """

    def audio(self, samples: Samples) -> Sequence[str]:
        """Return the messages that are due when 20 ms more are to be played; what is left is kept for the next."""

    def mark(self, name: str) -> str:
        """Return the message that asks for ``Marked`` when all audio before it has been played."""

    def clear(self) -> str:
        """Return the message that drops what was sent and has not been played; drop what is kept, too."""
