"""What a person may ask of `relay bench forward`, checked as a whole before anything starts."""

from dataclasses import dataclass, field
from typing import Any, Final

from bench.errors import BenchError
from bench.generator import Traffic
from bench.options import RelayOptions, check_ranges
from bench.payload import MAX_PACKET_BYTES, PayloadKind
from media.srtp import SrtpProfile

PROFILES: Final = {"gcm": SrtpProfile.AEAD_AES_128_GCM, "cm": SrtpProfile.AES128_CM_SHA1_80}
KINDS: Final = {kind.media: kind for kind in PayloadKind}
MAX_PUBLISHERS: Final = 500  # sections of one offer: the relay takes 512
MAX_OFFERED_PER_S: Final = 20_000_000


@dataclass(frozen=True)
class ForwardOptions:
    """The options of one call.

    Raises: BenchError, naming the option, what it was, and what is possible.
    """

    publishers: int = 1
    subscribers: int = 200
    rate: float = 50.0
    size: int = 120
    kind: PayloadKind = PayloadKind.AUDIO
    profile: SrtpProfile = SrtpProfile.AEAD_AES_128_GCM
    duration_s: float = 10.0
    ramp_s: float = 2.0
    search: bool = False
    load: float = 0.5
    max_latency_ms: float = 20.0
    relay: RelayOptions = field(default_factory=RelayOptions)

    def __post_init__(self) -> None:
        check_ranges(
            [
                ("--publishers", self.publishers, 1, MAX_PUBLISHERS),
                ("--subscribers", self.subscribers, 1, 20_000),
                ("--rate", self.rate, 0.1, 1_000_000),
                ("--size", self.size, self.kind.min_packet_bytes, MAX_PACKET_BYTES),
                ("--duration", self.duration_s, 0.1, 86_400),
                ("--ramp", self.ramp_s, 0, 3_600),
                ("--load", self.load, 0.01, 1),
                ("--max-latency", self.max_latency_ms, 0.1, 10_000),
            ]
        )
        if self.offered_per_s > MAX_OFFERED_PER_S:
            raise BenchError(
                f"--publishers x --subscribers x --rate asks for {self.offered_per_s:,.0f} packets/s; "
                f"more than {MAX_OFFERED_PER_S:,} is beyond any single machine"
            )

    @property
    def offered_per_s(self) -> float:
        """Deliveries that a perfect relay would make."""
        return self.publishers * self.subscribers * self.rate

    @property
    def peers(self) -> int:
        """Publishers and subscribers."""
        return self.publishers + self.subscribers

    @property
    def traffic(self) -> Traffic:
        """The traffic at `rate`."""
        return Traffic(self.rate, self.size, self.ramp_s, self.duration_s, self.kind)

    def describe(self) -> dict[str, Any]:
        """Return the options as the result file has them."""
        return {
            "publishers": self.publishers,
            "subscribers": self.subscribers,
            "rate": self.rate,
            "size": self.size,
            "kind": self.kind.media,
            "profile": self.profile.name,
            "duration_s": self.duration_s,
            "ramp_s": self.ramp_s,
            "search": self.search,
            "load": self.load,
            "max_latency_ms": self.max_latency_ms,
            **self.relay.describe(),
        }
