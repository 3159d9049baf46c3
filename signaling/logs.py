"""Structured logs: structlog events and the standard library's records, in one form, on one stream.

Lines are written by a thread of their own, so that a stalled terminal or pipe never stalls the Trio thread.
The queue to it is bounded; when it is full the newest line is dropped and counted, and the next one that fits
says how many.

What strangers say cannot forge a line: JSON escapes it, and so do we for people. What looks like a secret is left out.
"""

import logging
import logging.handlers
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Full, Queue
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor

from signaling.printable import indented, one_line
from signaling.redaction import redact

#: A burst of a thousand joining clients writes about 5,000 lines.
QUEUE_LINES = 10_000
STOP_SECONDS = 1.0

LEVELS = ("debug", "info", "warning", "error")
#: One line a frame, or a request with its whole URL: not what an operator means by "debug" or "info".
_TALKATIVE = ("alembic", "trio-websocket", "httpx", "httpcore", "urllib3")
_LOGGER_NAME = re.compile(r"[A-Za-z_][\w-]*(\.[\w-]+)*", re.ASCII)
_MAX_LOGGER_NAME = 100

#: What format_exc_info and stack_info make of an exception.
_MANY_LINES = frozenset({"exception", "stack"})

Logger = structlog.stdlib.BoundLogger


def get_logger(name: str) -> Logger:
    """Return the logger of one module; values bound with ``structlog.contextvars`` appear on every line."""
    logger: Logger = structlog.stdlib.get_logger(name)
    return logger


def set_log_level(name: str, level: str | None) -> str | None:
    """Change what one logger and those below it write, from now on; return the level it had of its own.

    ``name`` is a module such as ``signaling.front_door``, or "" for all that have no level of their own; ``level`` is one
    of ``LEVELS``, or None to follow the logger above again.

    Raises: ValueError for a name or a level there cannot be.
    """
    if level is not None and level not in LEVELS:
        raise ValueError(f"{level!r} is no log level; there are {', '.join(LEVELS)}")
    if name and (len(name) > _MAX_LOGGER_NAME or not _LOGGER_NAME.fullmatch(name)):
        raise ValueError(
            f"{name[:_MAX_LOGGER_NAME]!r} cannot name a logger; give a module such as signaling.lobby"
        )
    if level is None and not name:
        raise ValueError(f"all loggers need a level; there are {', '.join(LEVELS)}")
    former = log_levels().get(name)
    logging.getLogger(name).setLevel(logging.NOTSET if level is None else level.upper())
    return former


def log_levels() -> dict[str, str]:
    """Return the loggers that have a level of their own, and "" for all others."""
    root = logging.getLogger()
    named = {
        name: logger
        for name, logger in logging.Logger.manager.loggerDict.items()
        if isinstance(logger, logging.Logger) and logger.level != logging.NOTSET
    }
    return {name: logging.getLevelName(logger.level).lower() for name, logger in {"": root, **named}.items()}


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
    former_handlers, former_levels = root.handlers[:], log_levels()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
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
        root.handlers[:] = former_handlers
        for name in log_levels() | former_levels:
            logging.getLogger(name).setLevel(former_levels.get(name, "NOTSET").upper())
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
    rendering: list[Processor] = [structlog.processors.JSONRenderer()]
    if console:
        rendering = [_keep_to_the_line, structlog.dev.ConsoleRenderer(colors=colors)]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            _merge_bound_values,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _without_secrets,
            *rendering,
        ],
    )


def _merge_bound_values(_: object, __: str, line: EventDict) -> EventDict:
    return {**getattr(line["_record"], "bound_values", {}), **line}


def _without_secrets(_: object, __: str, line: EventDict) -> EventDict:
    return cast("EventDict", redact(line))


def _keep_to_the_line(_: object, __: str, line: EventDict) -> EventDict:
    """Escape what a terminal would obey, or take for another line. A traceback keeps its lines, all of them indented."""
    return {one_line(key): _kept_to_the_line(key, value) for key, value in line.items()}


def _kept_to_the_line(key: str, value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else repr(value)
    return indented(text) if key in _MANY_LINES else one_line(text)


def default_stream() -> TextIO:
    """Return where logs go: standard error, so that standard output stays for what was asked."""
    return sys.stderr
