"""What a person may ask of `relay bench churn` and `soak`, checked as a whole before anything starts."""

from dataclasses import dataclass, field
from typing import Any

from bench.options import RelayOptions, check_ranges
from media.srtp import SrtpProfile


@dataclass(frozen=True)
class ChurnOptions:
    """The options of one call.

    Raises: BenchError, naming the option, what it was, and what is possible.
    """

    duration_s: float = 60.0
    rate: float = 10.0
    stay_s: float = 2.0
    lobbies: int = 4
    background: int = 10
    packet_rate: float = 50.0
    seed: int = 1
    profile: SrtpProfile = SrtpProfile.AEAD_AES_128_GCM
    relay: RelayOptions = field(default_factory=RelayOptions)

    def __post_init__(self) -> None:
        check_ranges(
            [
                ("--duration", self.duration_s, 0.5, 7 * 86_400),
                ("--rate", self.rate, 0.1, 1_000),
                ("--stay", self.stay_s, 0.01, 600),
                ("--lobbies", self.lobbies, 1, 1_000),
                ("--background", self.background, 1, 5_000),
                ("--packet-rate", self.packet_rate, 1, 100_000),
            ]
        )

    @property
    def peers(self) -> int:
        """How many are connected at once, with a margin for those whose end the relay has yet to notice."""
        return 1 + self.background + self.lobbies + round(self.rate * (self.stay_s + 30)) + 20

    def describe(self) -> dict[str, Any]:
        """Return the options as the result file has them."""
        return {
            "duration_s": self.duration_s,
            "rate": self.rate,
            "stay_s": self.stay_s,
            "lobbies": self.lobbies,
            "background": self.background,
            "packet_rate": self.packet_rate,
            "seed": self.seed,
            "profile": self.profile.name,
            **self.relay.describe(),
        }
