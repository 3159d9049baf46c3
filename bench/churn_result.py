"""What `relay bench churn` found, and how it is told."""

from dataclasses import dataclass
from typing import Any

from bench.background import Window
from bench.occupancy import Occupancy, grown_between
from bench.report import ms
from bench.scenario import Better, Reading, ResultTable


@dataclass(frozen=True)
class ChurnResult:
    """Everything about one call."""

    options: dict[str, Any]
    left: dict[str, int]  # visits, by how they ended
    failures: dict[str, int]
    before: Occupancy
    after: Occupancy
    background: Window
    background_lost: int
    background_expected: int
    scenario: str = "churn"

    @property
    def grown(self) -> dict[str, tuple[int, int]]:
        """What the relay holds more of than before."""
        return grown_between(self.before, self.after)

    def failure(self) -> str | None:
        """Say what has grown, and whether the background lost packets or a visit failed."""
        faults = [f"{name} grew from {was:,} to {now:,}" for name, (was, now) in self.grown.items()]
        if self.background_lost:
            faults.append(
                f"the background lost {self.background_lost:,} of {self.background_expected:,} packets"
            )
        faults += [f"{count:,} visits failed: {why}" for why, count in self.failures.items()]
        return "; ".join(faults) or None

    def readings(self) -> list[Reading]:
        """Visits, growth and loss."""
        grown = self.after.resident_bytes - self.before.resident_bytes
        return [
            Reading("visits", sum(self.left.values()), "", Better.HIGHER),
            Reading("visits failed", sum(self.failures.values()), "", Better.LOWER, 0),
            Reading("kinds of things that grew", len(self.grown), "", Better.LOWER, 0),
            Reading("memory grown", grown / 2**20, "MiB", Better.LOWER),
            Reading("background: lost", self.background_lost, "packets", Better.LOWER, 0),
            Reading("background: p99", self.background.latency.p99_ns / 1e6, "ms", Better.LOWER),
        ]

    def table(self) -> ResultTable:
        """What the relay held before and after."""
        before, after = self.before, self.after
        rows = [
            ("peers", f"{before.peers:,}", f"{after.peers:,}"),
            ("tracks", f"{before.tracks:,}", f"{after.tracks:,}"),
            *(
                (f"{table} rows", f"{before.rows.get(table, 0):,}", f"{count:,}")
                for table, count in after.rows.items()
            ),
            ("descriptors", f"{before.descriptors:,}", f"{after.descriptors:,}"),
            ("threads", f"{before.threads:,}", f"{after.threads:,}"),
            ("memory, MiB", _mib(before.resident_bytes), _mib(after.resident_bytes)),
        ]
        options = self.options
        title = (
            f"churn: {options['rate']:g} visitors/s for {options['duration_s']:g} s, who stay "
            f"{options['stay_s']:g} s; the relay without them"
        )
        return ResultTable(title, ("", "before", "after"), rows)

    def notes(self) -> list[str]:
        """How they left, and what the background noticed."""
        ways = ", ".join(f"{count:,} {how}" for how, count in sorted(self.left.items()))
        latency = self.background.latency
        lost = f"{self.background_lost:,} of {self.background_expected:,} packets lost"
        late = f"p50 {ms(latency.p50_ns)}, p99 {ms(latency.p99_ns)}, p99.9 {ms(latency.p999_ns)} ms"
        notes = [
            f"{sum(self.left.values()):,} visits: {ways or 'none'}.",
            f"Background: {lost}; latency {late}.",
        ]
        if not self.grown:
            notes.append("Nothing has grown.")
        return notes


def _mib(count: int) -> str:
    return f"{count / 2**20:,.1f}"
