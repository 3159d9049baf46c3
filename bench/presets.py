"""Traffic that mirrors what others have published, or what a call looks like. Light to import: `--help` lists it."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Preset:
    """Who sends what to how many."""

    name: str
    mirrors: str
    source: str
    publishers: int
    subscribers: int
    rate: float  # packets/s of each publisher
    size: int  # bytes of an RTP packet: 12 of header, the rest payload
    kind: str = "audio"
    burst: int = 1

    def describe(self) -> str:
        """Say in one line what it sends."""
        bursts = f" in frames of {self.burst}" if self.burst > 1 else ""
        kbps = self.rate * self.size * 8 / 1000
        return (
            f"{self.publishers} x {self.subscribers:,} {self.kind}, {self.rate:g} packets/s of {self.size} B{bursts}, "
            f"{kbps:,.0f} kbit/s each"
        )


PRESETS: Final = {
    preset.name: preset
    for preset in (
        Preset(
            "livekit-audio",
            mirrors="LiveKit's audio row: 10 talkers, 3,000 listeners, 24-byte payloads, 959,156 packets/s out",
            source="LiveKit, Benchmarks, docs.livekit.io",
            publishers=10,
            subscribers=3_000,
            rate=32,
            size=36,
        ),
        Preset(
            "realistic-audio",
            mirrors="a large call: three people talk at a time, 80 bytes of Opus (32 kbit/s) every 20 ms",
            source="Opus at its usual rate for speech, RFC 7587",
            publishers=3,
            subscribers=1_000,
            rate=50,
            size=92,
        ),
        Preset(
            "srs-video",
            mirrors="SRS's row: one stream of 600 kbit/s to 2,000 players on 94 % of one core",
            source="SRS, trunk/doc/PERFORMANCE.md",
            publishers=1,
            subscribers=2_000,
            rate=75,  # 25 frames/s of 3 packets
            size=1_000,
            kind="video",
            burst=3,
        ),
        Preset(
            "hd-video",
            mirrors="one camera of 720p to an audience, 30 frames/s",
            source="libwebrtc, 2,500 kbit/s is its highest default for 720p",
            publishers=1,
            subscribers=2_000,
            rate=270,  # 30 frames/s of 9 packets
            size=1_157,
            kind="video",
            burst=9,
        ),
    )
}
