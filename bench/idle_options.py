"""What a person may ask of `relay bench idle`, checked as a whole before anything starts."""

from dataclasses import dataclass, field
from typing import Any

from bench.options import RelayOptions, check_ranges
from media.srtp import SrtpProfile


@dataclass(frozen=True)
class IdleOptions:
    """The options of one call.

    Raises: BenchError, naming the option, what it was, and what is possible.
    """

    peers: int = 5_000
    duration_s: float = 30.0
    lobby_size: int = 10
    consent_s: float = 2.5
    concurrency: int = 16
    profile: SrtpProfile = SrtpProfile.AEAD_AES_128_GCM
    relay: RelayOptions = field(default_factory=RelayOptions)

    def __post_init__(self) -> None:
        check_ranges(
            [
                ("--peers", self.peers, 1, 100_000),
                ("--duration", self.duration_s, 0.1, 86_400),
                ("--lobby-size", self.lobby_size, 1, 1_000),
                ("--consent", self.consent_s, 0.1, 25),
                ("--concurrency", self.concurrency, 1, 1_000),
            ]
        )

    def describe(self) -> dict[str, Any]:
        """Return the options as the result file has them."""
        return {
            "peers": self.peers,
            "duration_s": self.duration_s,
            "lobby_size": self.lobby_size,
            "consent_s": self.consent_s,
            "profile": self.profile.name,
            **self.relay.describe(),
        }
