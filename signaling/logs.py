"""Structured logs: structlog events and the standard library's records, in one form, on one stream.

Lines are written by a thread of their own, so that a stalled terminal or pipe never stalls the Trio thread.
The queue to it is bounded; when it is full the newest line is dropped and counted, and the next one that fits
says how many.
"""

import logging
import logging.handlers
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Full, Queue
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor

#: A burst of a thousand joining clients writes about 5,000 lines.
QUEUE_LINES = 10_000
STOP_SECONDS = 1.0

Logger = structlog.stdlib.BoundLogger


def get_logger(name: str) -> Logger:
    """Return the logger of one module; values bound with ``structlog.contextvars`` appear on every line."""
    logger: Logger = structlog.stdlib.get_logger(name)
    return logger


@contextmanager
def logging_to(stream: TextIO, *, level: str, log_format: str) -> Iterator[None]:
    """Send all logs to ``stream`` while the scope lasts; on leaving it, what is queued is written if it can be.

    ``log_format`` is ``console``, ``json`` or ``auto`` (console on a terminal).
    """
    console = log_format == "console" or (log_format == "auto" and stream.isatty())
    target = logging.StreamHandler(stream)
    target.setFormatter(_formatter(console=console, colors=stream.isatty()))
    handler = _BoundedHandler(Queue(QUEUE_LINES))
    listener = _BoundedListener(handler.queue, target)
    root = logging.getLogger()
    former = (root.handlers[:], root.level)
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # One line a frame: not what an operator means by "debug".
    logging.getLogger("trio-websocket").setLevel(logging.WARNING)
    structlog.configure(
        processors=[*_own_processors(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    listener.start()
    try:
        yield
    finally:
        listener.stop()
        root.handlers[:], root.level = former
        structlog.reset_defaults()


class _BoundedHandler(logging.handlers.QueueHandler):
    """Puts records on a bounded queue and never waits."""

    queue: "Queue[logging.LogRecord]"

    def __init__(self, records: "Queue[logging.LogRecord]") -> None:
        super().__init__(records)
        self.dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        # The base class flattens the record to text for other processes; ours stays in this one. What depends
        # on the task that logs must be taken along, for the line is formatted in another thread.
        record.bound_values = structlog.contextvars.get_contextvars()
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        if self.dropped and isinstance(record.msg, dict):
            record.msg["lines_dropped"] = self.dropped
        try:
            self.queue.put_nowait(record)
        except Full:
            self.dropped += 1
        else:
            self.dropped = 0


class _BoundedListener(logging.handlers.QueueListener):
    """Writes records in a thread; ending it waits for a stalled stream a while and not for ever."""

    def stop(self) -> None:
        thread = self._thread
        with suppress(Full):
            cast("Queue[Any]", self.queue).put(None, timeout=STOP_SECONDS)
            if thread is not None:
                thread.join(STOP_SECONDS)
        self._thread = None


def _own_processors() -> list[Processor]:
    """Run in the task that logs."""
    return [
        structlog.stdlib.filter_by_level,
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]


def _formatter(*, console: bool, colors: bool) -> logging.Formatter:
    """Run in the thread that writes; the first chain is for records of the standard library's loggers."""
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=colors) if console else structlog.processors.JSONRenderer()
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            _merge_bound_values,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
        ],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )


def _merge_bound_values(_: object, __: str, line: EventDict) -> EventDict:
    return {**getattr(line["_record"], "bound_values", {}), **line}


def default_stream() -> TextIO:
    """Return where logs go: standard error, so that standard output stays for what was asked."""
    return sys.stderr
