"""Metrics of the threads that mix; for ``metrics.Metrics`` to add to its own."""

from collections.abc import Iterable, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

import relay


def mixer_metrics(mixers: Sequence[relay.MixerStatistics]) -> Iterable[Metric]:
    """Yield the metrics as they are now."""
    tallies = CounterMetricFamily(
        "relay_mixer",
        "What a mixer has done: ticks, frames, packets, limited samples",
        labels=["mixer", "what"],
    )
    rows = GaugeMetricFamily("relay_mixer_rows", "Table rows in use", labels=["mixer", "table"])
    busy = CounterMetricFamily("relay_mixer_busy_seconds", "Time a mixer spent awake", labels=["mixer"])
    lost = CounterMetricFamily(
        "relay_mixer_packets_lost", "Packets a worker had no room for", labels=["mixer"]
    )
    late = HistogramMetricFamily(
        "relay_mixer_lateness_seconds", "How late ticks of 20 ms began", labels=["mixer"]
    )
    for index, mixer in enumerate(mixers):
        name = str(index)
        for what, count in mixer.tallies.items():
            tallies.add_metric([name, what], count)
        for table, count in mixer.rows.items():
            rows.add_metric([name, table], count)
        busy.add_metric([name], mixer.busy_s)
        lost.add_metric([name], mixer.packets_lost_to_workers)
        late.add_metric([name], *_histogram(mixer))
    yield from (tallies, rows, busy, lost, late)


def _histogram(mixer: relay.MixerStatistics) -> tuple[list[tuple[str, float]], float]:
    """Return cumulative buckets, and a sum that takes each tick to have been as late as its bucket goes."""
    buckets: list[tuple[str, float]] = []
    total, seconds = 0, 0.0
    for bound_us, count in mixer.lateness_us.items():
        total += count
        seconds += count * bound_us / 1e6
        buckets.append((str(bound_us / 1e6), total))
    return [*buckets, ("+Inf", total)], seconds
