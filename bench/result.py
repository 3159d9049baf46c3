"""What one run over connected peers found, as plain dataclasses: tables, the JSON file and the plots read these.

Fields say their unit. NaN stands for "not measured" and becomes null in JSON.
"""

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import numpy as np

from bench.floor import SendFloor
from bench.generator import LoopResult
from bench.histogram import BUCKETS, bucket_bounds, mean_ns, percentiles_ns
from bench.process import ProcessUsage
from bench.tables import Counter, Series

LATE_SHARE: Final = 0.001  # of packets sent over 1 ms late: the schedule was not kept
BUSY_SHARE: Final = 0.97  # of the loop's time: there was none left


class Limit(Enum):
    """What kept the rate from being higher, as far as this run shows."""

    NONE = "none"  # everything arrived
    RELAY = "relay"
    GENERATOR = "generator"  # says nothing about the relay


@dataclass(frozen=True)
class Latency:
    """One-way, from just before a packet is encrypted to the return of the call that received it."""

    p50_ns: float
    p95_ns: float
    p99_ns: float
    p999_ns: float
    max_ns: float
    mean_ns: float


@dataclass(frozen=True)
class ServerCost:
    """The relay's process between the end of the ramp and the end of the sending."""

    cpu_ns_per_packet: float
    cpu_share: float  # cores' worth
    threads_share: dict[str, float]
    rss_bytes: int
    peak_rss_bytes: int
    receive_drops: int | None  # by the system, at the relay's UDP ports; None for a relay elsewhere
    verdicts: dict[str, int]  # what its data plane counted, ramp included


@dataclass(frozen=True)
class GeneratorCost:
    """The generator's own state: whether the run says anything about the relay."""

    busy_share: float  # of the compiled loop's time
    cpu_share: float  # of its process, polling included
    sent_late: int  # more than 1 ms after the deadline
    lateness_max_ns: int
    send_failed: int
    receive_drops: int  # by the system, at the peers' sockets


@dataclass(frozen=True)
class Counts:
    """Packets after the ramp; the last group also those before."""

    sent: int
    expected: int  # sent, times subscribers
    delivered: int
    lost: int
    duplicated: int
    reordered: int
    corrupt: int
    unprotect_failed: int
    rtcp: int
    stun: int
    other: int


@dataclass(frozen=True)
class RunResult:
    """One run at one rate."""

    name: str
    rate_per_publisher: float
    offered_per_s: float  # deliveries that a perfect relay would make
    delivered_per_s: float
    duration_s: float
    counts: Counts
    latency: Latency
    server: ServerCost
    generator: GeneratorCost
    limit: Limit
    limit_reason: str
    seconds: dict[str, list[float]]  # series from the start of the ramp, one entry per second
    histogram_ns: list[list[float]] = field(repr=False)  # [latency, packets], only buckets that hold any

    @property
    def lossless(self) -> bool:
        """Whether every packet came, once and unharmed."""
        counts = self.counts
        return counts.lost == 0 and counts.corrupt == 0 and counts.unprotect_failed == 0


@dataclass(frozen=True)
class Trial:
    """One step of the search for the highest rate."""

    rate_per_publisher: float
    offered_per_s: float
    delivered_per_s: float
    lost: int
    p99_ns: float
    cpu_ns_per_packet: float  # of the relay
    good: bool
    limit: Limit
    peers_lost: str = ""  # why the trial was broken off: the relay ended peers in it


@dataclass(frozen=True)
class Floor:
    """What this machine can do at best, measured in the same run without a relay."""

    send: SendFloor | None  # needs two cores
    loop_latency: Latency  # the same loop, one socket straight to another


def summarize_latency(result: LoopResult) -> Latency:
    """Return the percentiles of a loop's latencies; the maximum is exact, the rest within 0.4 %."""
    p50, p95, p99, p999 = percentiles_ns(result.latencies, (50, 95, 99, 99.9))
    maximum = float(result.counters[Counter.LATENCY_MAX_NS]) if result.delivered else math.nan
    return Latency(p50, p95, p99, p999, maximum, mean_ns(result.latencies))


def summarize_run(
    name: str,
    loop: LoopResult,
    *,
    publishers: int,
    subscribers: int,
    server: ServerCost,
    generator: GeneratorCost,
) -> RunResult:
    """Put together one run's row, and judge what limited it."""
    limit, reason = judge_limit(loop, generator)
    counters = loop.counters
    series = loop.series[: math.ceil(loop.traffic.ramp_s + loop.traffic.duration_s)]
    delivered = np.maximum(series[:, Series.DELIVERED], 1)
    lower, width = bucket_bounds()
    used = [index for index in range(BUCKETS) if loop.latencies[index]]
    return RunResult(
        name=name,
        rate_per_publisher=loop.traffic.rate,
        offered_per_s=loop.traffic.rate * publishers * subscribers,
        delivered_per_s=loop.delivered_per_s,
        duration_s=loop.traffic.duration_s,
        counts=Counts(
            sent=loop.sent,
            expected=loop.expected,
            delivered=loop.delivered,
            lost=loop.lost,
            duplicated=counters[Counter.DUPLICATED],
            reordered=counters[Counter.REORDERED],
            corrupt=counters[Counter.CORRUPT],
            unprotect_failed=counters[Counter.UNPROTECT_FAILED],
            rtcp=counters[Counter.RTCP],
            stun=counters[Counter.STUN],
            other=counters[Counter.OTHER] + counters[Counter.DTLS] + counters[Counter.STALE],
        ),
        latency=summarize_latency(loop),
        server=server,
        generator=generator,
        limit=limit,
        limit_reason=reason,
        seconds={
            "sent": [float(value) for value in series[:, Series.SENT]],
            "delivered": [float(value) for value in series[:, Series.DELIVERED]],
            "latency_mean_ns": [float(value) for value in series[:, Series.LATENCY_SUM_NS] / delivered],
            "latency_max_ns": [float(value) for value in series[:, Series.LATENCY_MAX_NS]],
        },
        histogram_ns=[[float(lower[i]) + (int(width[i]) - 1) / 2, float(loop.latencies[i])] for i in used],
    )


def judge_limit(loop: LoopResult, generator: GeneratorCost) -> tuple[Limit, str]:
    """Say who was the limit, and by which sign."""
    sent = max(loop.counters[Counter.SENT], 1)
    signs = []
    if generator.receive_drops:
        signs.append(f"its sockets overflowed ({generator.receive_drops:,} packets dropped)")
    if generator.send_failed:
        signs.append(f"its sockets refused {generator.send_failed:,} sends")
    if generator.sent_late > LATE_SHARE * sent:
        signs.append(
            f"it sent {generator.sent_late / sent:.1%} of its packets over 1 ms late (worst {generator.lateness_max_ns / 1e6:.1f} ms)"
        )
    if generator.busy_share > BUSY_SHARE:
        signs.append(f"its loop was busy {generator.busy_share:.0%} of the time")
    if signs:
        return Limit.GENERATOR, "the generator, not the relay, was the limit: " + "; ".join(signs)
    if loop.lost:
        return Limit.RELAY, f"the relay lost {loop.lost:,} of {loop.expected:,} packets"
    return Limit.NONE, "everything arrived"


def server_cost(
    usage: ProcessUsage, delivered: int, receive_drops: int | None, verdicts: dict[str, int]
) -> ServerCost:
    """Relate what the relay's process used to what was delivered in the same time."""
    return ServerCost(
        cpu_ns_per_packet=usage.cpu_ns / delivered if delivered else math.nan,
        cpu_share=usage.cpu_share,
        threads_share={
            name: spent / max(usage.elapsed_ns, 1) for name, spent in usage.threads_ns.items() if spent
        },
        rss_bytes=usage.rss_bytes,
        peak_rss_bytes=usage.peak_rss_bytes,
        receive_drops=receive_drops,
        verdicts=verdicts,
    )
