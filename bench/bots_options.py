"""What a person may ask of `relay bench bots`, checked as a whole before anything starts."""

from dataclasses import dataclass, field
from typing import Any

from bench.errors import BenchError
from bench.options import RelayOptions, check_ranges
from media.srtp import SrtpProfile


@dataclass(frozen=True)
class BotsOptions:
    """The options of one call.

    Raises: BenchError, naming the option, what it was, and what is possible.
    """

    bots: int = 100
    lobby_size: int = 2
    duration_s: float = 10.0
    probes: int = 4
    rounds: int = 25
    clears: int = 8
    dispatches: int = 100
    profile: SrtpProfile = SrtpProfile.AEAD_AES_128_GCM
    relay: RelayOptions = field(default_factory=RelayOptions)

    def __post_init__(self) -> None:
        check_ranges(
            [
                ("--bots", self.bots, 0, 5_000),
                ("--lobby-size", self.lobby_size, 2, 100),
                ("--duration", self.duration_s, 0.5, 86_400),
                ("--probes", self.probes, 1, 50),
                ("--rounds", self.rounds, 1, 10_000),
                ("--clears", self.clears, 1, 10_000),
                ("--dispatches", self.dispatches, 0, 10_000),
            ]
        )
        if self.relay.url is not None:
            raise BenchError(
                "--url: bots are asked for with the administrator's token of a relay started here"
            )

    @property
    def connections(self) -> int:
        """WebSockets at once."""
        return self.bots + 2 * self.probes + 3

    def describe(self) -> dict[str, Any]:
        """Return the options as the result file has them."""
        return {
            "bots": self.bots,
            "lobby_size": self.lobby_size,
            "duration_s": self.duration_s,
            "probes": self.probes,
            "rounds": self.rounds,
            "clears": self.clears,
            "dispatches": self.dispatches,
            "profile": self.profile.name,
            **self.relay.describe(),
        }
