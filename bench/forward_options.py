"""What a person may ask of `relay bench forward`, checked as a whole before anything starts."""

from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from bench.errors import BenchError
from bench.generator import Traffic
from bench.options import RelayOptions, check_ranges, choose
from bench.payload import MAX_PACKET_BYTES, PayloadKind
from bench.presets import PRESETS, Preset
from media.srtp import SrtpProfile

PROFILES: Final = {"gcm": SrtpProfile.AEAD_AES_128_GCM, "cm": SrtpProfile.AES128_CM_SHA1_80}
KINDS: Final = {kind.media: kind for kind in PayloadKind}
MAX_PUBLISHERS: Final = 500  # sections of one offer: the relay takes 512
MAX_OFFERED_PER_S: Final = 20_000_000
FIT_SHARE: Final = 0.5  # of what the bare send call delivers: what a preset is scaled to


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
    burst: int = 1
    profile: SrtpProfile = SrtpProfile.AEAD_AES_128_GCM
    duration_s: float = 10.0
    ramp_s: float = 2.0
    search: bool = False
    load: float = 0.5
    max_latency_ms: float = 20.0
    preset: Preset | None = None
    gro: bool = False  # subscribers take runs of packets whole
    fit: bool = False  # take as many subscribers of the preset as FIT_SHARE of the send floor feeds
    relay: RelayOptions = field(default_factory=RelayOptions)

    def __post_init__(self) -> None:
        check_ranges(
            [
                ("--publishers", self.publishers, 1, MAX_PUBLISHERS),
                ("--subscribers", self.subscribers, 1, 20_000),
                ("--rate", self.rate, 0.1, 1_000_000),
                ("--size", self.size, self.kind.min_packet_bytes, MAX_PACKET_BYTES),
                ("--burst", self.burst, 1, 500),
                ("--duration", self.duration_s, 0.1, 86_400),
                ("--ramp", self.ramp_s, 0, 3_600),
                ("--load", self.load, 0.01, 1),
                ("--max-latency", self.max_latency_ms, 0.1, 10_000),
            ]
        )
        if self.burst > 1 and self.kind is not PayloadKind.VIDEO:
            raise BenchError(
                f"--burst is {self.burst}; only video has frames of several packets: --kind video"
            )
        if self.offered_per_s > MAX_OFFERED_PER_S:
            raise BenchError(
                f"--publishers x --subscribers x --rate asks for {self.offered_per_s:,.0f} packets/s; "
                f"more than {MAX_OFFERED_PER_S:,} is beyond any single machine"
            )
        if self.fit and self.relay.pinning.client_cpu is None:
            raise BenchError(
                "what this machine carries is measured with two cores: give --scale or --subscribers"
            )
        if self.fit and self.relay.url is not None:
            raise BenchError("what the relay at --url carries is not known: give --scale (1: as published)")

    @classmethod
    def from_preset(
        cls, name: str | None, scale: float | None, explicit: dict[str, Any], **others: Any
    ) -> Self:
        """Take what the person has not said (None in `explicit`) from a preset, or from the defaults."""
        said = {option: value for option, value in explicit.items() if value is not None}
        if name is None:
            if scale is not None:
                raise BenchError("--scale is a part of a preset's subscribers: give --preset")
            return cls(**said, **others)
        preset = choose("--preset", name, PRESETS)
        check_ranges([("--scale", 1 if scale is None else scale, 0.0001, 100)])
        kind = KINDS[preset.kind]
        taken: dict[str, Any] = {
            "publishers": preset.publishers,
            "subscribers": max(1, round(preset.subscribers * (scale or 1))),
            "rate": preset.rate,
            "size": preset.size,
            "kind": kind,
            "burst": preset.burst if said.get("kind", kind) is PayloadKind.VIDEO else 1,
        }
        return cls(**(taken | said | others), preset=preset, fit=scale is None and "subscribers" not in said)

    def fitted(self, send_floor_per_s: float) -> Self:
        """Return the options with as many subscribers as this machine can feed, at most those asked for."""
        if not self.fit:
            return self
        share = min(1.0, FIT_SHARE * send_floor_per_s / self.offered_per_s)
        return replace(self, subscribers=max(1, int(self.subscribers * share)), fit=False)

    @property
    def offered_per_s(self) -> float:
        """Deliveries that a perfect relay would make."""
        return self.publishers * self.subscribers * self.rate

    @property
    def peers(self) -> int:
        """Publishers and subscribers."""
        return self.publishers + self.subscribers

    @property
    def scale(self) -> float | None:
        """Part of the preset's subscribers; None without a preset."""
        return None if self.preset is None else self.subscribers / self.preset.subscribers

    @property
    def traffic(self) -> Traffic:
        """The traffic at `rate`."""
        return Traffic(self.rate, self.size, self.ramp_s, self.duration_s, self.kind, self.burst)

    def describe(self) -> dict[str, Any]:
        """Return the options as the result file has them."""
        return {
            "preset": None if self.preset is None else self.preset.name,
            "scale": self.scale,
            "publishers": self.publishers,
            "subscribers": self.subscribers,
            "rate": self.rate,
            "size": self.size,
            "kind": self.kind.media,
            "burst": self.burst,
            "profile": self.profile.name,
            "duration_s": self.duration_s,
            "ramp_s": self.ramp_s,
            "search": self.search,
            "load": self.load,
            "max_latency_ms": self.max_latency_ms,
            "gro": self.gro,
            **self.relay.describe(),
        }
