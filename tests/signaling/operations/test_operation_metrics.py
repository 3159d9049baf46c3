"""The metrics of loop, draining and traces, as Prometheus reads them."""

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from signaling.drain import Drain
from signaling.loop_lag import LoopLag
from signaling.operation_metrics import operation_metrics
from signaling.tracing.tracer import NO_TRACER


async def test_they_say_how_the_service_fares() -> None:
    drain = Drain()
    drain.begin()
    drain.refusal()

    class Ours(Collector):
        def collect(self):
            return operation_metrics(LoopLag(), drain, NO_TRACER)

    registry = CollectorRegistry()
    registry.register(Ours())
    text = generate_latest(registry).decode()
    for line in (
        'signaling_loop_lag_seconds{quantile="0.99"} 0.0',
        "signaling_loop_delayed_seconds_total 0.0",
        "signaling_draining 1.0",
        "signaling_drain_refused_total 1.0",
        'signaling_spans_total{outcome="dropped"} 0.0',
        "signaling_spans_queued 0.0",
    ):
        assert line in text.splitlines()
