"""Traces: how long each thing took, and what it caused. What the service's parts know of them; nothing when they are off.

A part takes a ``Tracer`` and opens spans:

    with self._tracer.span("request", type=message.type) as span:
        ...
        span.note(outcome="refused")

``NO_TRACER`` does nothing at the cost of a call (some 0.2 µs, against 20 µs of a span). What is given by keyword becomes
the attribute ``relay.<keyword>``; the correlation id and the session bound to the log are attributes of every span.

The spans there are: ``connection`` (a WebSocket from upgrade to end; traces of their own, and not the parent of its
requests, for nobody reads a trace of a day), ``request`` (one message or HTTP request), ``outbound`` (a call of ours to
another service) and ``store batch``.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from signaling.version import SERVER_NAME

AttributeValue = str | int | float | bool


class TracingError(Exception):
    """Traces are wanted and cannot be had; the text says what to do."""


@dataclass(frozen=True, slots=True)
class TracingStatistics:
    """Spans, by what became of them; they only grow, but for ``queued``."""

    queued: int = 0
    exported: int = 0
    #: There was no room in the queue: the collector is slower than the service.
    dropped: int = 0
    #: The collector refused them, or was not there.
    failed: int = 0


class Span(Protocol):
    """Something that takes time."""

    def note(self, **attributes: AttributeValue) -> None:
        """Add what is known only now."""


class Tracer(Protocol):
    """Opens spans. Safe to call from any thread."""

    def span(
        self, name: str, *, alone: bool = False, **attributes: AttributeValue
    ) -> AbstractContextManager[Span]:
        """Open a span for the length of a scope, below the one that is open in this task.

        ``alone``: what happens within is not below it, and it is below nothing. An exception that leaves the scope is
        recorded and goes on.
        """

    def headers(self) -> dict[str, str]:
        """Return the headers with which another service goes on with our trace (W3C trace context); none outside spans."""

    def statistics(self) -> TracingStatistics:
        """Return figures for metrics."""


class NoTracer:
    """The tracer of a service that is not traced, and its only span."""

    __slots__ = ()

    def span(self, name: str, *, alone: bool = False, **attributes: AttributeValue) -> "NoTracer":  # noqa: ARG002
        """See ``Tracer``."""
        return self

    def headers(self) -> dict[str, str]:
        """See ``Tracer``."""
        return {}

    def statistics(self) -> TracingStatistics:
        """See ``Tracer``."""
        return TracingStatistics()

    def note(self, **attributes: AttributeValue) -> None:
        """See ``Span``."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


NO_TRACER = NoTracer()


@asynccontextmanager
async def open_tracing(endpoint: str | None) -> AsyncIterator[Tracer]:
    """Give the tracer that sends to this OTLP collector (HTTP) while the scope lasts; without an endpoint, ``NO_TRACER``.

    Raises: TracingError when OpenTelemetry is not installed.
    """
    if endpoint is None:
        yield NO_TRACER
        return
    try:
        # Imported here: it is an extra, and loading it takes a quarter of a second.
        from signaling.tracing.otlp import open_otlp_tracer  # noqa: PLC0415
    except ImportError as error:
        raise TracingError(
            f"traces are to go to {endpoint}, but OpenTelemetry is not installed ({error}); "
            f"try: pip install '{SERVER_NAME}[otel]', or unset otlp_endpoint and OTEL_EXPORTER_OTLP_ENDPOINT"
        ) from None
    async with open_otlp_tracer(endpoint) as tracer:
        yield tracer
