"""The tracer that sends spans to an OpenTelemetry collector (OTLP over HTTP, protobuf). Needs the extra ``otel``.

Spans are exported by a thread of their own, from a bounded queue: a collector that is slow, gone or hangs costs spans,
which are counted, and nothing else. OpenTelemetry's own variables hold where we set nothing: headers, certificates,
sampling (``OTEL_EXPORTER_OTLP_HEADERS``, ``OTEL_TRACES_SAMPLER``, ...).
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import structlog
import trio
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from signaling.logs import get_logger
from signaling.redaction import redact
from signaling.supervisor import supervise
from signaling.tracing.span_queue import SpanQueue
from signaling.tracing.tracer import AttributeValue, TracingStatistics
from signaling.version import SERVER_NAME, server_version

TRACES_PATH = "/v1/traces"
PREFIX = "relay."
#: Values bound to the log that every span carries: ``connection`` is the correlation id.
BOUND = ("connection", "session")
#: So long the collector may take for a batch, retries included.
EXPORT_SECONDS = 10
#: So long the end of the service waits for the last spans to be taken.
STOP_SECONDS = 2.0

_log = get_logger(__name__)


@asynccontextmanager
async def open_otlp_tracer(
    endpoint: str, *, queue: SpanQueue[ReadableSpan] | None = None, stop_seconds: float = STOP_SECONDS
) -> AsyncIterator["OtlpTracer"]:
    """Give a tracer; at the end of the scope, wait a little for what is queued to be sent."""
    spans = queue if queue is not None else SpanQueue[ReadableSpan]()
    exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + TRACES_PATH, timeout=EXPORT_SECONDS)
    resource = Resource.create({SERVICE_NAME: SERVER_NAME, SERVICE_VERSION: server_version()})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(_Queueing(spans))
    exported = trio.Event()

    def export(batch: Sequence[ReadableSpan]) -> bool:
        return exporter.export(batch) is SpanExportResult.SUCCESS

    async def run() -> None:
        in_thread = partial(
            trio.to_thread.run_sync,
            spans.export_with,
            export,
            abandon_on_cancel=True,
            limiter=trio.CapacityLimiter(1),
            thread_name="traces",
        )
        # A fault of the exporter's ends the traces, not the service.
        if not await supervise("tracing", Counter(), in_thread):
            spans.close()
        exported.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        try:
            yield OtlpTracer(provider.get_tracer(SERVER_NAME), spans)
        finally:
            spans.close()
            with trio.move_on_after(stop_seconds, shield=True) as patience:
                await exported.wait()
            left = spans.statistics().queued
            if patience.cancelled_caught:
                _log.warning("traces were left behind: the collector did not take them in time", spans=left)
            exporter.shutdown()  # type: ignore[no-untyped-call]
            provider.shutdown()
            nursery.cancel_scope.cancel()


class OtlpTracer:
    """See ``tracing.Tracer``."""

    def __init__(self, tracer: trace.Tracer, spans: SpanQueue[ReadableSpan]) -> None:
        self._tracer = tracer
        self._spans = spans
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def span(self, name: str, *, alone: bool = False, **attributes: AttributeValue) -> Iterator["OtlpSpan"]:
        """See ``tracing.Tracer``."""
        bound = structlog.contextvars.get_contextvars()
        carried = {key: str(bound[key]) for key in BOUND if key in bound}
        opened = self._tracer.start_span(
            name,
            context=Context() if alone else None,
            attributes=_named({**carried, **attributes}),
        )
        token = None if alone else otel_context.attach(trace.set_span_in_context(opened))
        try:
            yield OtlpSpan(opened)
        except BaseException as error:
            # Cancellation says that the server stops or the client has gone: no fault.
            if isinstance(error, Exception):
                opened.record_exception(error)
                opened.set_status(trace.StatusCode.ERROR, type(error).__name__)
            raise
        finally:
            if token is not None:
                otel_context.detach(token)
            opened.end()

    def headers(self) -> dict[str, str]:
        """See ``tracing.Tracer``."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier

    def statistics(self) -> TracingStatistics:
        """See ``tracing.Tracer``."""
        return self._spans.statistics()


class OtlpSpan:
    """See ``tracing.Span``."""

    def __init__(self, opened: trace.Span) -> None:
        self._opened = opened

    def note(self, **attributes: AttributeValue) -> None:
        """See ``tracing.Span``."""
        self._opened.set_attributes(_named(attributes))


class _Queueing(SpanProcessor):
    """Puts ended spans on the queue."""

    def __init__(self, spans: SpanQueue[ReadableSpan]) -> None:
        self._spans = spans

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is not None and span.context.trace_flags.sampled:
            self._spans.put(span)


def _named(attributes: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    return {PREFIX + key: value for key, value in redact(attributes).items()}
