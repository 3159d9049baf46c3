"""Running the service as a program: logs, signals, limits of the system, the words an operator reads.

The first SIGINT or SIGTERM stops it in an orderly way, the second at once.
"""

import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import trio

import relay
from signaling import garbage
from signaling.access import admin_gate
from signaling.auth import AdminTokenError, TokenKeyError
from signaling.data_directory import DataDirectoryError
from signaling.front_door import MAX_PENDING, MAX_REFUSING, MAX_WEB
from signaling.listeners import ListenError
from signaling.logs import default_stream, get_logger, logging_to
from signaling.server import RunningServer, run_server
from signaling.settings import MEMORY_DATABASE, Settings
from signaling.storage import StoreOpenError
from signaling.tracing.tracer import TracingError
from signaling.webhooks.endpoint import WebhookConfigurationError

#: Descriptors beside those of client connections: UDP sockets, event descriptors, files, a margin.
OTHER_DESCRIPTORS = 256
BESIDE_CONNECTIONS = MAX_PENDING + MAX_WEB + MAX_REFUSING + OTHER_DESCRIPTORS
#: Loading compiled kernels takes less than this; longer means that they are being compiled.
SLOW_WARM_UP_SECONDS = 3.0

#: What keeps the service from starting, through no fault of its own; their texts are for the operator.
STARTUP_FAULTS = (
    ListenError,
    StoreOpenError,
    DataDirectoryError,
    TracingError,
    AdminTokenError,
    TokenKeyError,
    WebhookConfigurationError,
    relay.LocalProtocolError,
)

_log = get_logger(__name__)


class ServeError(Exception):
    """The service could not start; the text says why and what to do."""


def serve(
    settings: Settings, *, announce: Callable[[RunningServer], None], notice: Callable[[str], None]
) -> None:
    """Run the service until a signal ends it.

    ``announce`` is called when it accepts connections, ``progress`` while kernels are compiled.
    Raises: ServeError.
    """
    with logging_to(default_stream(), level=settings.log_level, log_format=settings.log_format):
        settings = _fit_descriptors(settings)
        cause: BaseException | None = None
        try:
            trio.run(partial(_serve, settings, announce, notice), strict_exception_groups=True)
        except* STARTUP_FAULTS as faults:
            cause = faults.exceptions[0]
        if cause is not None:
            while isinstance(cause, BaseExceptionGroup):
                cause = cause.exceptions[0]
            raise ServeError(str(cause))


def write_ready_file(path: Path, running: RunningServer) -> None:
    """Write where the server can be reached, as JSON, in one step so that no reader sees half of it."""
    content = {
        "url": running.url,
        "pid": running.pid,
        "udp_ports": list(running.udp_ports),
        "addresses": list(running.addresses),
    }
    partial_file = path.with_name(path.name + ".partial")
    partial_file.write_text(json.dumps(content) + "\n", encoding="utf-8")
    partial_file.replace(path)


def warnings_of(settings: Settings) -> Iterator[str]:
    """Yield what an operator must not overlook at start-up. Raises: AdminTokenError."""
    yield from admin_gate(settings).startup_notice()
    if settings.database_url == MEMORY_DATABASE:
        yield "Nothing is kept: the database is in memory and ends with this process."


async def _serve(
    settings: Settings, announce: Callable[[RunningServer], None], notice: Callable[[str], None]
) -> None:
    stop = trio.Event()
    startup = trio.CancelScope()
    async with trio.open_nursery() as signals:
        await signals.start(_watch_signals, stop, startup)
        async with trio.open_nursery() as nursery:
            with startup:
                await _warm_up(notice)
                garbage.settle()
                for warning in warnings_of(settings):
                    notice(warning)
                announce(await nursery.start(partial(run_server, settings, stop=stop)))
        signals.cancel_scope.cancel()
    _log.info("stopped")


async def _warm_up(notice: Callable[[str], None]) -> None:
    async def notice_when_slow() -> None:
        await trio.sleep(SLOW_WARM_UP_SECONDS)
        notice("Compiling the media kernels; this takes up to two minutes, once.")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(notice_when_slow)
        # Compiling cannot be interrupted; nothing is lost by leaving it.
        await trio.to_thread.run_sync(relay.warm_up, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()


async def _watch_signals(
    stop: trio.Event, startup: trio.CancelScope, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
        task_status.started()
        async for number in received:
            if stop.is_set():
                sys.stderr.write("stopped at once by a second signal\n")
                sys.stderr.flush()
                os._exit(128 + number)
            _log.info("stopping", signal=signal.Signals(number).name)
            stop.set()
            startup.cancel()


def _fit_descriptors(settings: Settings) -> Settings:
    """Ask for the descriptors that the configured connections need; where the system refuses, take fewer of those.

    A connection beyond them is told that the server is full, which is better than not to be accepted.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return settings
    wanted = settings.max_connections + BESIDE_CONNECTIONS
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed == wanted:
        return settings
    fitting = max(1, allowed - BESIDE_CONNECTIONS)
    _log.warning(
        "too few file descriptors for max_connections",
        max_connections=settings.max_connections,
        lowered_to=fitting,
        allowed=hard,
        wanted=wanted,
        hint=f"raise the hard limit, `ulimit -Hn`, to {wanted}",
    )
    return settings.model_copy(update={"max_connections": fitting})
