"""Metrics of events and of who hears them; for ``metrics.Metrics`` to add to its own."""

from collections.abc import Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from signaling.bus import Bus
from signaling.outbound.circuit_breaker import BreakerState
from signaling.webhooks.worker import WebhookStatistics


def event_metrics(bus: Bus, webhooks: Iterable[WebhookStatistics]) -> Iterable[Metric]:
    """Yield the metrics as they are now."""
    yield GaugeMetricFamily("signaling_event_seq", "Number of the last event", bus.seq)
    yield GaugeMetricFamily(
        "signaling_events_replayable", "Events kept in memory for those who come late", len(bus.replay)
    )
    yield _by_label(
        CounterMetricFamily(
            "signaling_events_evicted", "Events that are no longer kept in memory", labels=["reason"]
        ),
        bus.replay.evicted,
    )
    yield from _subscribers(bus)
    yield from _webhooks(webhooks)


def _subscribers(bus: Bus) -> Iterable[Metric]:
    waiting: dict[str, int] = {}
    for subscription in bus.subscriptions:
        waiting[subscription.name] = waiting.get(subscription.name, 0) + subscription.queued
    yield _by_label(
        GaugeMetricFamily(
            "signaling_event_queue", "Events that wait for a subscriber", labels=["subscriber"]
        ),
        waiting,
    )
    counters = {
        "handled": "Events a subscriber has dealt with",
        "missed": "Events a subscriber was too slow for",
        "lost": "Subscriptions ended because they were too slow",
    }
    for name, documentation in counters.items():
        values = {subscriber: getattr(each, name) for subscriber, each in bus.subscribers.items()}
        yield _by_label(
            CounterMetricFamily(f"signaling_subscriber_{name}", documentation, labels=["subscriber"]), values
        )
    yield _by_label(
        CounterMetricFamily(
            "signaling_subscriber_failures", "Faults of a subscriber's own", labels=["subscriber"]
        ),
        bus.failures,
    )
    latency = HistogramMetricFamily(
        "signaling_event_seconds", "From publishing an event until it was dealt with", labels=["subscriber"]
    )
    for subscriber, each in bus.subscribers.items():
        latency.add_metric([subscriber], each.latency.cumulative(), each.latency.sum)
    yield latency


def _webhooks(webhooks: Iterable[WebhookStatistics]) -> Iterable[Metric]:
    queued = GaugeMetricFamily(
        "signaling_webhook_queue", "Deliveries that wait for an endpoint", labels=["endpoint"]
    )
    suspended = GaugeMetricFamily(
        "signaling_webhook_suspended",
        "1 while the endpoint's circuit breaker is not closed",
        labels=["endpoint"],
    )
    deliveries = CounterMetricFamily(
        "signaling_webhook_deliveries", "Deliveries by what became of them", labels=["endpoint", "outcome"]
    )
    failed = CounterMetricFamily("signaling_webhook_failures", "Attempts that failed", labels=["endpoint"])
    for each in webhooks:
        endpoint = each.endpoint_id
        queued.add_metric([endpoint], each.queued)
        suspended.add_metric([endpoint], int(each.breaker.state is not BreakerState.CLOSED))
        failed.add_metric([endpoint], each.failed_attempts)
        for outcome in ("delivered", "dead_lettered"):
            deliveries.add_metric([endpoint, outcome], getattr(each, outcome))
    yield from (queued, suspended, deliveries, failed)


def _by_label(family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[str, int]) -> Metric:
    for value, count in values.items():
        family.add_metric([value], count)
    return family
