"""Metrics of how the service fares: the loop's delay, draining, traces; for ``metrics.Metrics`` to add to its own."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from signaling.drain import Drain
from signaling.loop_lag import LoopLag
from signaling.tracing.tracer import Tracer


def operation_metrics(loop_lag: LoopLag, drain: Drain, tracer: Tracer) -> Iterable[Metric]:
    """Yield the metrics as they are now."""
    lag = loop_lag.statistics()
    delays = GaugeMetricFamily(
        "signaling_loop_lag_seconds",
        "How late tasks of the Trio thread ran during the last ten seconds",
        labels=["quantile"],
    )
    for quantile, seconds in {"0.5": lag.p50_seconds, "0.99": lag.p99_seconds, "1": lag.max_seconds}.items():
        delays.add_metric([quantile], seconds)
    yield delays
    yield CounterMetricFamily(
        "signaling_loop_delayed_seconds", "All delays of the probe together", lag.total_seconds
    )
    drained = drain.statistics()
    yield GaugeMetricFamily("signaling_draining", "1 while nobody new is taken", int(drained.draining))
    yield CounterMetricFamily(
        "signaling_drain_refused", "New sessions turned away while draining", drained.refused
    )
    traces = tracer.statistics()
    yield GaugeMetricFamily("signaling_spans_queued", "Spans that wait to be exported", traces.queued)
    spans = CounterMetricFamily("signaling_spans", "Ended spans by what became of them", labels=["outcome"])
    for outcome in ("exported", "dropped", "failed"):
        spans.add_metric([outcome], getattr(traces, outcome))
    yield spans
