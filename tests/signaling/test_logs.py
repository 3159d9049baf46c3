"""Structured lines, from structlog and the standard library alike, that never hold the writer up."""

import io
import json
import logging
import threading

import structlog

from signaling.logs import QUEUE_LINES, get_logger, logging_to


def lines_of(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_lines_carry_bound_values_and_level() -> None:
    stream = io.StringIO()
    with (
        logging_to(stream, level="info", log_format="json"),
        structlog.contextvars.bound_contextvars(connection="c-1"),
    ):
        get_logger("signaling.test").info("something", number=1)
        get_logger("signaling.test").debug("not this")
        logging.getLogger("hypercorn.error").warning("from %s", "below")
    first, second = lines_of(stream)
    assert (first["event"], first["number"], first["connection"], first["level"]) == (
        "something",
        1,
        "c-1",
        "info",
    )
    assert (second["event"], second["level"], second["logger"]) == (
        "from below",
        "warning",
        "hypercorn.error",
    )
    assert second["connection"] == "c-1"


def test_a_line_break_in_a_value_stays_in_its_line() -> None:
    stream = io.StringIO()
    with logging_to(stream, level="info", log_format="json"):
        get_logger("x").info("named", name='a"\n{"event":"forged"}\x1b[31m')
    (line,) = lines_of(stream)
    assert line["event"] == "named"


def test_an_exception_is_part_of_its_line() -> None:
    stream = io.StringIO()
    with logging_to(stream, level="info", log_format="json"):
        try:
            divmod(1, 0)
        except ZeroDivisionError:
            get_logger("x").exception("failed")
    (line,) = lines_of(stream)
    assert "ZeroDivisionError: " in line["exception"]


def test_console_lines_are_for_people() -> None:
    stream = io.StringIO()
    with logging_to(stream, level="info", log_format="auto"):
        pass
    with logging_to(stream, level="debug", log_format="console"):
        get_logger("x").debug("hello", who="you")
    assert "hello" in stream.getvalue()
    assert "who=you" in stream.getvalue()


class Stalled(io.StringIO):
    """A pipe nobody reads, until it is."""

    def __init__(self) -> None:
        super().__init__()
        self.flowing = threading.Event()

    def write(self, text: str) -> int:
        self.flowing.wait(30)
        return super().write(text)


def test_a_stalled_stream_drops_lines_and_says_how_many() -> None:
    stream = Stalled()
    with logging_to(stream, level="info", log_format="json"):
        log = get_logger("x")
        for number in range(QUEUE_LINES + 100):
            log.info("line", number=number)
        stream.flowing.set()
        while len(lines_of(stream)) < QUEUE_LINES // 2:
            pass
        log.info("after")
    lines = lines_of(stream)
    assert len(lines) < QUEUE_LINES + 10
    assert lines[-1]["event"] == "after"
    assert lines[-1]["lines_dropped"] >= 90


def test_a_stream_that_never_flows_does_not_keep_the_program(monkeypatch) -> None:
    monkeypatch.setattr("signaling.logs.STOP_SECONDS", 0.1)
    stream = Stalled()
    with logging_to(stream, level="info", log_format="json"):
        for _ in range(QUEUE_LINES + 10):
            get_logger("x").info("line")
    stream.flowing.set()


def test_the_former_logging_is_restored() -> None:
    before = logging.getLogger().handlers[:]
    with logging_to(io.StringIO(), level="info", log_format="json"):
        assert logging.getLogger().handlers != before
    assert logging.getLogger().handlers == before
