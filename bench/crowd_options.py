"""What a person may ask of `relay bench crowd`, checked as a whole before anything starts."""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from bench.errors import BenchError
from bench.options import RelayOptions, check_ranges
from media.srtp import SrtpProfile


@dataclass(frozen=True)
class CrowdOptions:
    """The options of one call.

    Raises: BenchError, naming the option, what it was, and what is possible.
    """

    clients: int = 1_000
    lobbies: int = 50
    slow: int = 20
    events_per_second: float = 200.0
    duration_s: float = 30.0
    join_rate: float = 200.0
    profile: SrtpProfile = SrtpProfile.AEAD_AES_128_GCM
    relay: RelayOptions = field(default_factory=RelayOptions)

    def __post_init__(self) -> None:
        check_ranges(
            [
                ("--clients", self.clients, 4, 100_000),
                # Everybody is in a lobby of two at least: who publishes a track, and somebody else.
                ("--lobbies", self.lobbies, 1, self.clients // 2),
                ("--slow", self.slow, 0, self.clients - 2 * self.lobbies),
                # A session may say two lines a second in the long run, and take a new name every two seconds.
                ("--events-per-second", self.events_per_second, 0.1, self.clients - self.slow),
                ("--duration", self.duration_s, 0.5, 86_400),
                ("--join-rate", self.join_rate, 0.1, 100_000),
            ]
        )
        if self.relay.url is not None and urlsplit(self.relay.url).scheme != "ws":
            raise BenchError(
                "--url must begin with ws:// for this scenario: its thin clients speak no TLS; "
                "aim at the port behind the TLS proxy"
            )

    def describe(self) -> dict[str, Any]:
        """Return the options as the result file has them."""
        return {
            "clients": self.clients,
            "lobbies": self.lobbies,
            "slow": self.slow,
            "events_per_second": self.events_per_second,
            "duration_s": self.duration_s,
            "join_rate": self.join_rate,
            "profile": self.profile.name,
            **self.relay.describe(),
        }
