"""The service's metrics in Prometheus' text form, read from the counters at the moment they are asked for."""

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

import relay
from signaling.access import Access
from signaling.bots import bot_metrics
from signaling.event_metrics import event_metrics
from signaling.mixer_metrics import mixer_metrics
from signaling.operation_metrics import operation_metrics
from signaling.report import Service
from signaling.sound_metrics import sound_metrics
from signaling.storage import StoreHealth, StoreStatistics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """A registry of its own, for one service."""

    def __init__(self, service: Service) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_ServiceCollector(service))
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        """Return all metrics. Cost: one or two milliseconds."""
        return generate_latest(self._registry)


class _ServiceCollector(Collector):
    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterable[Metric]:
        service = self._service
        counters = service.counters
        yield GaugeMetricFamily(
            "signaling_sessions", "Sessions, connected or waiting to be resumed", len(service.sessions)
        )
        yield GaugeMetricFamily("signaling_lobbies", "Lobbies", len(service.lobbies))
        yield GaugeMetricFamily(
            "signaling_participants", "Participants in all lobbies", service.lobbies.participant_count
        )
        yield _by_label(
            GaugeMetricFamily(
                "signaling_connections", "Open TCP connections by what they are for", labels=["kind"]
            ),
            {"pending": counters.pending, "web": counters.web, "websocket": counters.websockets},
        )
        yield CounterMetricFamily(
            "signaling_connections_accepted", "TCP connections accepted", counters.accepted
        )
        yield _counter("signaling_connections_refused", "Connections turned away", "reason", counters.refused)
        yield _counter(
            "signaling_websockets_closed",
            "WebSockets ended, by close code",
            "code",
            counters.websockets_closed,
        )
        yield _counter("signaling_messages", "Requests understood", "type", counters.messages)
        yield _counter("signaling_errors", "Error replies", "code", counters.errors)
        yield _counter("signaling_http_requests", "HTTP requests by status", "status", counters.answers)
        yield _counter("signaling_failures", "Faults of the server's own", "task", counters.failures)
        yield _counter("signaling_events", "Events on the bus", "type", service.bus.published)
        yield from event_metrics(service.bus, service.webhooks.statistics())
        yield from operation_metrics(service.loop_lag, service.drain, service.tracer)
        yield from _store_metrics(service.store.statistics())
        yield from _access_metrics(service.access)
        yield from bot_metrics(service.bots.statistics())
        yield from sound_metrics(service.lobbies.sound)
        statistics = service.router.statistics()
        yield from _relay_metrics(statistics)
        yield from mixer_metrics(statistics.mixers)


def _store_metrics(statistics: StoreStatistics) -> Iterable[Metric]:
    yield _by_label(
        GaugeMetricFamily("signaling_store_health", "1 for the state the store is in", labels=["state"]),
        {health.value: int(statistics.health is health) for health in StoreHealth},
    )
    yield GaugeMetricFamily("signaling_store_queue", "Changes that wait to be committed", statistics.queued)
    yield GaugeMetricFamily(
        "signaling_store_queue_limit", "Changes that may wait to be committed", statistics.capacity
    )
    yield _counter(
        "signaling_store_changes",
        "Changes by what became of them",
        "outcome",
        {"committed": statistics.committed, "dropped": statistics.dropped, "rejected": statistics.rejected},
    )
    yield CounterMetricFamily("signaling_store_batches", "Transactions committed", statistics.batches)
    yield CounterMetricFamily(
        "signaling_store_commit_seconds", "Time that transactions took", statistics.commit_seconds_total
    )
    yield CounterMetricFamily("signaling_store_retries", "Transactions tried again", statistics.retries)
    yield CounterMetricFamily("signaling_store_expired", "Rows removed for their age", statistics.expired)


def _access_metrics(access: Access) -> Iterable[Metric]:
    yield GaugeMetricFamily("signaling_companies", "Companies", len(access.companies))
    yield GaugeMetricFamily("signaling_protected_names", "Protected names", len(access.names))
    passwords = access.passwords.passwords.statistics()
    yield GaugeMetricFamily(
        "signaling_passwords_pending", "Passwords that are, or wait to be, compared", passwords.pending
    )
    yield _counter(
        "signaling_access_refused",
        "What was refused, by the guard that did",
        "guard",
        {
            "passwords": access.passwords.refused,
            "admin_denied": access.admin.denied,
            "admin_attempts": access.admin.refused,
            "api_limits": access.api_limits.refused,
        },
    )
    yield CounterMetricFamily("signaling_audit_entries", "Entries of the audit log", access.audit.recorded)
    yield CounterMetricFamily(
        "signaling_audit_undurable",
        "Entries that are in the log and perhaps not stored",
        access.audit.undurable,
    )


def _relay_metrics(statistics: relay.RouterStatistics) -> Iterable[Metric]:
    yield GaugeMetricFamily("relay_peers", "Peers of the relay", statistics.peers)
    yield GaugeMetricFamily("relay_tracks", "Published tracks", statistics.tracks)
    yield GaugeMetricFamily(
        "relay_outbound_streams", "Streams sent to subscribers", statistics.outbound_streams
    )
    yield _by_label(
        GaugeMetricFamily("relay_limit", "Beyond this no new peer is taken", labels=["of"]),
        {"peers": statistics.max_peers, "outbound_streams": statistics.max_outbound_streams},
    )
    yield GaugeMetricFamily(
        "relay_accepting", "1 while new peers are taken, 0 at capacity", int(statistics.refusal is None)
    )
    packets = CounterMetricFamily(
        "relay_packets", "Packets by what became of them", labels=["worker", "verdict"]
    )
    rows = GaugeMetricFamily("relay_rows", "Table rows in use", labels=["worker", "table"])
    busy = CounterMetricFamily(
        "relay_worker_busy_seconds", "Time a worker spent on packets", labels=["worker"]
    )
    dropped = CounterMetricFamily(
        "relay_control_datagrams_dropped",
        "STUN and DTLS datagrams the control plane had no room for",
        labels=["worker"],
    )
    lost = CounterMetricFamily(
        "relay_datagrams_dropped",
        "Datagrams the system had no room for in a worker's receive buffer",
        labels=["worker"],
    )
    shedding = GaugeMetricFamily(
        "relay_worker_shedding",
        "What a worker sheds: 0 nothing, 1 video of who does not speak, 2 all video, 3 quiet audio too",
        labels=["worker"],
    )
    withheld = GaugeMetricFamily(
        "relay_worker_shed_tracks", "Tracks a worker does not forward for now", labels=["worker"]
    )
    wait = GaugeMetricFamily(
        "relay_worker_queue_wait_seconds",
        "Shortest time a packet waited in the receive queue lately",
        labels=["worker"],
    )
    for index, worker in enumerate(statistics.workers):
        for verdict, count in worker.verdicts.items():
            packets.add_metric([str(index), verdict], count)
        for table, count in worker.rows.items():
            rows.add_metric([str(index), table], count)
        busy.add_metric([str(index)], worker.busy_s)
        dropped.add_metric([str(index)], worker.control_datagrams_dropped)
        lost.add_metric([str(index)], worker.datagrams_dropped)
        shedding.add_metric([str(index)], worker.shedding)
        withheld.add_metric([str(index)], worker.shed_tracks)
        wait.add_metric([str(index)], worker.queue_wait_ms / 1000)
    yield from (packets, rows, busy, dropped, lost, shedding, withheld, wait)


def _counter(name: str, documentation: str, label: str, values: Mapping[str, int]) -> Metric:
    return _by_label(CounterMetricFamily(name, documentation, labels=[label]), values)


def _by_label(family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[str, int]) -> Metric:
    for value, count in values.items():
        family.add_metric([value], count)
    return family
