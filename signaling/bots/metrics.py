"""Bots and their providers, for ``/metrics``."""

from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from signaling.bots.views import BotsStatistics


def bot_metrics(statistics: BotsStatistics) -> Iterable[Metric]:
    """Yield the figures of all bots and providers."""
    yield _by(GaugeMetricFamily("signaling_bots", "Bots, by state", labels=["state"]), statistics.bots)
    yield _by(
        GaugeMetricFamily("signaling_bot_providers", "Bot providers, by state", labels=["state"]),
        statistics.providers,
    )
    yield _by(
        CounterMetricFamily("signaling_bot_steps", "States that bots entered", labels=["state"]),
        statistics.entered,
    )
    yield _by(
        CounterMetricFamily("signaling_bot_endings", "Bots that ended, by how", labels=["ending"]),
        statistics.endings,
    )
    for name, documentation, value in (
        (
            "reassignments",
            "Bots given to another provider after they had been active",
            statistics.reassignments,
        ),
        ("messages", "Lines of chat and answers of bots", statistics.messages),
        ("unanswered", "Questions to bots that got no answer", statistics.unanswered),
        ("tickets_refused", "Join tickets of bots that were not good", statistics.tickets_refused),
    ):
        yield CounterMetricFamily(f"signaling_bot_{name}", documentation, value)


def _by(
    family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[Any, int]
) -> CounterMetricFamily | GaugeMetricFamily:
    for label, value in sorted(values.items()):
        family.add_metric([str(label)], value)
    return family
