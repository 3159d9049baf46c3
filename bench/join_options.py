"""What a person may ask of `relay bench join`, checked as a whole before anything starts."""

from dataclasses import dataclass, field
from typing import Any

from bench.options import RelayOptions, check_ranges
from media.srtp import SrtpProfile


@dataclass(frozen=True)
class JoinOptions:
    """The options of one call.

    Raises: BenchError, naming the option, what it was, and what is possible.
    """

    rate: float = 20.0
    joins: int = 200
    even: bool = False
    storm: int = 0
    lobbies: int = 10
    background: int = 50
    packet_rate: float = 200.0
    quiet_s: float = 3.0
    seed: int = 1
    profile: SrtpProfile = SrtpProfile.AEAD_AES_128_GCM
    relay: RelayOptions = field(default_factory=RelayOptions)

    def __post_init__(self) -> None:
        check_ranges(
            [
                ("--rate", self.rate, 0.1, 10_000),
                ("--joins", self.joins, 1, 1_000_000),
                ("--storm", self.storm, 0, 20_000),
                ("--lobbies", self.lobbies, 1, 1_000),
                ("--background", self.background, 1, 5_000),
                ("--packet-rate", self.packet_rate, 1, 100_000),
                ("--quiet", self.quiet_s, 0.1, 3_600),
            ]
        )

    @property
    def peers(self) -> int:
        """How many are connected at once, at the most."""
        return 1 + self.background + self.lobbies + max(self.storm, min(self.joins, 1_000))

    def describe(self) -> dict[str, Any]:
        """Return the options as the result file has them."""
        return {
            "rate": self.rate,
            "joins": self.joins,
            "arrivals": "even" if self.even else "poisson",
            "storm": self.storm,
            "lobbies": self.lobbies,
            "background": self.background,
            "packet_rate": self.packet_rate,
            "quiet_s": self.quiet_s,
            "seed": self.seed,
            "profile": self.profile.name,
            **self.relay.describe(),
        }
