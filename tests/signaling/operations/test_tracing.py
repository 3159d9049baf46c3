"""Traces reach a collector with what they say; one that is gone, slow or hanging costs spans and nothing else."""

import sys
import threading

import pytest
import structlog
import trio
from otlp_collector import attributes_of, collector

from signaling.tracing.otlp import open_otlp_tracer
from signaling.tracing.span_queue import SpanQueue
from signaling.tracing.tracer import NO_TRACER, TracingError, TracingStatistics, open_tracing

TIMEOUT = 30


async def test_spans_reach_the_collector_with_attributes_and_correlation_id() -> None:
    with collector() as collecting, trio.fail_after(TIMEOUT):
        async with open_tracing(collecting.url) as tracer:
            with (
                structlog.contextvars.bound_contextvars(connection="c-1", session="s-1", other="x"),
                tracer.span("connection", alone=True),
                tracer.span("request", type="join") as opened,
            ):
                opened.note(outcome="ok", events=3)
                with tracer.span("outbound", url="https://u:secret@host/"):
                    headers = tracer.headers()
            with tracer.span("store batch", token="a secret"):
                pass
        assert tracer.statistics() == TracingStatistics(queued=0, exported=4)
    assert collecting.paths == ["/v1/traces"]
    assert collecting.resources[0]["service.name"] == "trio-relay"
    request, outbound = collecting.span("request"), collecting.span("outbound")
    assert attributes_of(request) == {
        "relay.type": "join",
        "relay.outcome": "ok",
        "relay.events": 3,
        "relay.connection": "c-1",
        "relay.session": "s-1",
    }
    assert outbound.parent_span_id == request.span_id
    assert outbound.trace_id == request.trace_id
    assert request.parent_span_id == b""
    assert request.trace_id != collecting.span("connection").trace_id
    assert headers["traceparent"].startswith(f"00-{outbound.trace_id.hex()}-{outbound.span_id.hex()}-0")
    assert attributes_of(outbound)["relay.url"] == "https://u:***@host/"
    assert attributes_of(collecting.span("store batch")) == {"relay.token": "***"}
    assert outbound.end_time_unix_nano >= outbound.start_time_unix_nano > 0


async def test_a_failure_is_recorded_and_goes_on_but_a_cancellation_is_none() -> None:
    with collector() as collecting, trio.fail_after(TIMEOUT):
        async with open_tracing(collecting.url) as tracer:
            with pytest.raises(ZeroDivisionError), tracer.span("failing"):
                divmod(1, 0)
            with trio.CancelScope() as scope, tracer.span("cancelled"):
                scope.cancel()
                await trio.sleep_forever()
    failing, cancelled = collecting.span("failing"), collecting.span("cancelled")
    assert failing.status.code == 2
    assert failing.status.message == "ZeroDivisionError"
    assert [event.name for event in failing.events] == ["exception"]
    assert cancelled.status.code == 0
    assert not cancelled.events


async def test_spans_of_tasks_do_not_mix() -> None:
    with collector() as collecting, trio.fail_after(TIMEOUT):
        async with open_tracing(collecting.url) as tracer:

            async def work(name: str) -> None:
                with tracer.span(f"outer {name}"):
                    await trio.lowlevel.checkpoint()
                    with tracer.span(f"inner {name}"):
                        await trio.lowlevel.checkpoint()

            async with trio.open_nursery() as nursery:
                for number in range(10):
                    nursery.start_soon(work, str(number))
    for number in range(10):
        outer, inner = collecting.span(f"outer {number}"), collecting.span(f"inner {number}")
        assert inner.parent_span_id == outer.span_id


async def test_a_collector_that_refuses_costs_the_spans() -> None:
    with collector() as collecting, trio.fail_after(TIMEOUT):
        collecting.status = 400
        async with open_tracing(collecting.url) as tracer:
            with tracer.span("lost"):
                pass
        assert tracer.statistics() == TracingStatistics(failed=1)


async def test_a_collector_that_hangs_fills_a_bounded_queue_and_delays_neither_work_nor_end() -> None:
    with collector() as collecting, trio.fail_after(TIMEOUT):
        collecting.answering.clear()
        queue = SpanQueue(capacity=20, batch=10, linger_seconds=0.001)
        async with open_otlp_tracer(collecting.url, queue=queue, stop_seconds=0.01) as tracer:
            with tracer.span("taken"):
                pass
            await trio.to_thread.run_sync(collecting.asked.wait, TIMEOUT)
            for number in range(50):
                with tracer.span("waiting", number=number):
                    pass
            assert tracer.statistics() == TracingStatistics(queued=20, dropped=30)
        with tracer.span("after the end"):
            pass
        assert tracer.statistics().dropped == 31


async def test_a_collector_that_is_not_there_does_not_delay_the_end() -> None:
    with trio.fail_after(TIMEOUT):
        async with open_otlp_tracer("http://127.0.0.1:1", stop_seconds=0.01) as tracer:
            with tracer.span("lost"):
                pass


async def test_without_an_endpoint_nothing_is_traced() -> None:
    async with open_tracing(None) as tracer:
        assert tracer is NO_TRACER
        with tracer.span("x", alone=True, a=1) as span:
            span.note(b=2)
        with pytest.raises(ZeroDivisionError), tracer.span("x"):
            divmod(1, 0)
        assert tracer.headers() == {}
        assert tracer.statistics() == TracingStatistics()


async def test_without_the_library_the_error_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "signaling.tracing.otlp")
    with pytest.raises(TracingError, match=r"not installed .*pip install 'trio-relay\[otel\]'"):
        async with open_tracing("http://localhost:4318"):
            pass


# The queue.


def test_the_queue_hands_over_full_batches_and_what_is_left_at_the_end() -> None:
    queue = SpanQueue[int](capacity=100, batch=4, linger_seconds=60)
    batches: list[list[int]] = []

    def export(batch) -> bool:
        batches.append(list(batch))
        return len(batches) != 2

    for number in range(10):
        queue.put(number)
    thread = threading.Thread(target=queue.export_with, args=(export,))
    thread.start()
    queue.close()
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    assert batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert queue.statistics() == TracingStatistics(exported=6, failed=4)
    queue.put(11)
    assert queue.statistics().dropped == 1


def test_a_lone_span_is_sent_after_lingering() -> None:
    queue = SpanQueue[int](linger_seconds=0.001)
    sent = threading.Event()

    def export(batch) -> bool:
        sent.set()
        return True

    thread = threading.Thread(target=queue.export_with, args=(export,))
    thread.start()
    queue.put(1)
    assert sent.wait(TIMEOUT)
    queue.close()
    thread.join(TIMEOUT)
    assert not thread.is_alive()
