"""What a person may ask of `relay bench mix`, checked as a whole before anything starts."""

from dataclasses import dataclass, field
from typing import Any, Final

from bench.errors import BenchError
from bench.options import RelayOptions, check_ranges

MOST_PARTICIPANTS: Final = 50_000
"""Of all lobbies: beyond it, what is measured is this machine's memory."""


@dataclass(frozen=True)
class MixOptions:
    """The options of one call. With `participants` None, the standard loads are measured and the highest are searched.

    Raises: BenchError, naming the option, what it was, and what is possible.
    """

    whole_relay: bool = False
    participants: int | None = None
    talkers: int = 3
    lobbies: int = 1
    duration_s: float = 5.0
    search: bool = True
    relay: RelayOptions = field(default_factory=RelayOptions)

    def __post_init__(self) -> None:
        participants = 1 if self.participants is None else self.participants
        check_ranges(
            [
                ("--participants", participants, 1, MOST_PARTICIPANTS),
                ("--lobbies", self.lobbies, 1, 10_000),
                ("--talkers", self.talkers, 0, MOST_PARTICIPANTS),
                ("--duration", self.duration_s, 0.2, 3_600),
            ]
        )
        if self.participants is not None and self.talkers > participants:
            raise BenchError(f"--talkers is {self.talkers}; a lobby has {participants} participants")
        if participants * self.lobbies > MOST_PARTICIPANTS:
            raise BenchError(
                f"--participants and --lobbies are {participants * self.lobbies:,} in all; "
                f"{MOST_PARTICIPANTS:,} are possible"
            )
        if self.relay.url is not None:
            raise BenchError("--url: the threads that are measured have to be those of a relay started here")

    def describe(self) -> dict[str, Any]:
        """Return the options as the result file has them."""
        return {
            "what": "relay" if self.whole_relay else "mixer",
            "participants": self.participants,
            "talkers": self.talkers,
            "lobbies": self.lobbies,
            "duration_s": self.duration_s,
            "search": self.search,
            **self.relay.describe(),
        }
