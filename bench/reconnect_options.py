"""What a person may ask of `relay bench reconnect`, checked as a whole before anything starts."""

from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from bench.errors import BenchError
from bench.options import RelayOptions, check_ranges
from media.srtp import SrtpProfile

MAX_LOBBIES: Final = 32  # each has a thread of its own for its media
CUT_AT_SHARE: Final = 0.3  # of the duration: what comes before shows how it is without a cut


@dataclass(frozen=True)
class ReconnectOptions:
    """The options of one call.

    Raises: BenchError, naming the option, what it was, and what is possible.
    """

    clients: int = 200
    lobbies: int = 20
    away_s: float = 2.0
    duration_s: float = 12.0
    messages_per_second: float = 20.0
    packet_rate: float = 50.0
    profile: SrtpProfile = SrtpProfile.AEAD_AES_128_GCM
    relay: RelayOptions = field(default_factory=RelayOptions)

    def __post_init__(self) -> None:
        check_ranges(
            [
                ("--clients", self.clients, 2, 2_000),
                # One that sends and one that receives in each.
                ("--lobbies", self.lobbies, 1, min(MAX_LOBBIES, self.clients // 2)),
                ("--away", self.away_s, 0, 600),
                ("--duration", self.duration_s, 1, 3_600),
                # Of a lobby whose other members are away, the witness says all; two lines a second in the long run.
                ("--messages-per-second", self.messages_per_second, 0.1, 2 * self.lobbies),
                ("--packet-rate", self.packet_rate, 1, 1_000),
            ]
        )
        if self.cut_at_s + self.away_s >= self.duration_s:
            raise BenchError(
                f"--duration is {self.duration_s:g}: the cut comes after {self.cut_at_s:.1f} s and lasts "
                f"--away {self.away_s:g}; the clients must have time to be back"
            )
        if self.relay.url is not None and urlsplit(self.relay.url).scheme != "ws":
            raise BenchError(
                "--url must begin with ws:// for this scenario: its thin clients speak no TLS; "
                "aim at the port behind the TLS proxy"
            )

    @property
    def cut_at_s(self) -> float:
        """When the connections are cut."""
        return CUT_AT_SHARE * self.duration_s

    def describe(self) -> dict[str, Any]:
        """Return the options as the result file has them."""
        return {
            "clients": self.clients,
            "lobbies": self.lobbies,
            "away_s": self.away_s,
            "duration_s": self.duration_s,
            "messages_per_second": self.messages_per_second,
            "packet_rate": self.packet_rate,
            "profile": self.profile.name,
            **self.relay.describe(),
        }
