"""Structured lines, from structlog and the standard library alike, that never hold the writer up."""

import io
import json
import logging
import threading

import pytest
import structlog

from signaling.logs import QUEUE_LINES, get_logger, log_levels, logging_to, set_log_level


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


HOSTILE = (
    'a"\n2026-01-01 [error] forged',
    "\x1b]0;title\x07\x1b[2J",
    "\r\x08\x7f\x9b31m",
    "\u2028\u2029\u202eevil\u2066\ufeff",
    "\ud800 lone",
)


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("log_format", ["console", "json"])
def test_no_value_key_event_or_foreign_record_forges_a_line(hostile: str, log_format: str) -> None:
    stream = io.StringIO()
    with logging_to(stream, level="info", log_format=log_format):
        get_logger("x").info(hostile, name=hostile, many=[hostile, {hostile: hostile}], **{hostile: 1})
        logging.getLogger("foreign").info("said %s", hostile)
    text = stream.getvalue()
    assert text.count("\n") == 2
    assert text.encode()  # what cannot be written would be lost
    assert not any(
        unsafe in text.replace("\n", "") for unsafe in "\x1b\r\x07\x08\x7f\x9b\u2028\u2029\u202e\u2066\ufeff"
    )


def test_a_traceback_on_the_console_keeps_its_lines_and_they_are_indented() -> None:
    stream = io.StringIO()
    with logging_to(stream, level="info", log_format="console"):
        try:
            int("bad\n2026-01-01T00:00:00Z [error    ] forged\x1b[2J")
        except ValueError:
            get_logger("x").exception("failed")
    first, *others = stream.getvalue().splitlines()
    assert "failed" in first
    assert len(others) >= 4
    assert all(line.startswith("    ") for line in others)
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_no_secret_is_written(log_format: str) -> None:
    stream = io.StringIO()
    secret = "hunter2-hunter2"
    with logging_to(stream, level="info", log_format=log_format):
        log = get_logger("x")
        log.info(
            "keys", token=secret, resume_token=secret, password=secret, api_key=secret, Authorization=secret
        )
        log.info("nested", request={"headers": [{"X-Api-Key": secret}], "adminToken": secret})
        log.info(f"GET /signal/peer-1/{secret} HTTP/1.1", path=f"/signal/peer-1/{secret}?x=1")  # noqa: G004
        log.info("url", url=f"postgresql://relay:{secret}@db/relay", other=f"/ws?token={secret}&lobby=a")
        logging.getLogger("foreign").info("Authorization: Bearer %s", secret)
        logging.getLogger("foreign").info("took %s", f"eyJhbGciOiJIUzI1NiJ9.{secret}.{secret}")
        log.info("object", given=[Opaque(f"/signal/p/{secret}")])
        try:
            int(f"https://user:{secret}@host/")
        except ValueError:
            log.exception("failed")
    text = stream.getvalue()
    assert secret not in text
    assert text.count("***") >= 14
    assert "peer-1" in text
    assert "@db/relay" in text
    assert "lobby=a" in text


class Opaque:
    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"Opaque({self.text})"


def test_levels_change_while_it_runs_and_are_restored() -> None:
    stream = io.StringIO()
    before = log_levels()
    with logging_to(stream, level="warning", log_format="json"):
        log = get_logger("signaling.test_levels")
        log.info("1 not this")
        assert set_log_level("signaling", "debug") is None
        log.debug("2 this")
        get_logger("elsewhere").info("3 not this")
        assert set_log_level("", "info") == "warning"
        get_logger("elsewhere").info("4 this")
        assert set_log_level("signaling", "error") == "debug"
        log.warning("5 not this")
        assert set_log_level("signaling", None) == "error"
        log.info("6 this")
        assert log_levels()[""] == "info"
        assert "signaling" not in log_levels()
        set_log_level("signaling.test_levels", "debug")
    assert [str(line["event"])[0] for line in lines_of(stream)] == ["2", "4", "6"]
    assert log_levels() == before


@pytest.mark.parametrize(
    ("name", "level", "words"),
    [
        ("", "loud", "'loud' is no log level; there are debug, info"),
        ("a\nb", "info", "cannot name a logger"),
        ("a..b", "info", "cannot name a logger"),
        ("a" * 101, "info", "cannot name a logger"),
        ("", None, "all loggers need a level"),
    ],
)
def test_a_level_or_logger_that_cannot_be_is_refused(name: str, level: str | None, words: str) -> None:
    before = log_levels()
    with pytest.raises(ValueError, match=words):
        set_log_level(name, level)
    assert log_levels() == before
