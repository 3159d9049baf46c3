"""The relay under test: a child process of ours, pinned to its core, or one that runs already.

What it costs is read from /proc where its process is on this machine, and from `/api/system/info` otherwise.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import trio

from bench.errors import BenchError
from bench.machine import pin_process
from bench.options import RelayOptions, is_loopback
from bench.process import ProcessSample, sample_process
from signaling.settings import ENVIRONMENT_PREFIX

START_TIMEOUT_S: Final = 300.0  # a relay that finds no compiled kernels makes them first
STOP_TIMEOUT_S: Final = 10.0
POLL_INTERVAL_S: Final = 0.02
WATCH_INTERVAL_S: Final = 0.5
INFO_TIMEOUT_S: Final = 10.0
RECOVERY_TIMEOUT_S: Final = 90.0  # a level that proves too low is held for up to 32 s
SPARE_CONNECTIONS: Final = 100
LOG_LINES_TOLD: Final = 15
NO_SETTINGS: Final[Mapping[str, str]] = {}


@dataclass(frozen=True)
class RelayServer:
    """A relay that accepts connections."""

    url: str  # of the WebSocket
    info_url: str
    pid: int | None  # None: not on this machine
    udp_ports: tuple[int, ...]

    async def sample(self) -> ProcessSample:
        """Return what its process has used so far.

        Raises: BenchError when it has gone.
        """
        if self.pid is None:
            return _sample_from_info(await trio.to_thread.run_sync(_fetch_info, self.info_url))
        try:
            return sample_process(self.pid)
        except ProcessLookupError:
            raise BenchError("the relay ended while it was measured") from None

    async def wait_recovered(self) -> None:
        """Wait, if need be, until it forwards everything again after an overload; at most RECOVERY_TIMEOUT_S."""
        with trio.move_on_after(RECOVERY_TIMEOUT_S):
            while True:
                info = await trio.to_thread.run_sync(_fetch_info, self.info_url)
                workers = info["relay"]["workers"]
                if not any(one.get("shedding") or one.get("shed_tracks") for one in workers):
                    return
                await trio.sleep(WATCH_INTERVAL_S)

    async def verdicts(self) -> dict[str, int]:
        """Return what its data plane has counted so far."""
        info = await self.info()
        return {name: int(count) for name, count in info["relay"]["verdicts"].items()}

    async def info(self) -> dict[str, Any]:
        """Return what it says of itself at `/api/system/info`."""
        return await trio.to_thread.run_sync(_fetch_info, self.info_url)


@asynccontextmanager
async def open_relay_server(
    options: RelayOptions, connections: int = 0, settings: Mapping[str, str] = NO_SETTINGS
) -> AsyncGenerator[RelayServer]:
    """Start a relay for the length of the scope, or reach the one that `--url` names.

    One that is started takes this many connections at least, and has these settings (`signaling.settings`).

    Raises: BenchError.
    """
    if options.url is not None:
        yield await _reach(options.url)
        return
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as directory:
        ready, log = Path(directory) / "ready.json", Path(directory) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: ASYNC220, S603 - our own program, started in milliseconds
                _command(options, connections, ready),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_environment(settings),
                start_new_session=True,  # Ctrl-C is ours to handle: it must outlive the peers
            )
        try:
            with trio.move_on_after(START_TIMEOUT_S):
                while not ready.exists():
                    if process.poll() is not None:
                        raise BenchError(f"the relay did not start:\n{_tail(log)}")
                    await trio.sleep(POLL_INTERVAL_S)
            if not ready.exists():
                raise BenchError(f"the relay was not ready after {START_TIMEOUT_S:g} s:\n{_tail(log)}")
            told = json.loads(ready.read_text())
            if options.pinning.server_cpu is not None:
                pin_process(process.pid, options.pinning.server_cpu)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_watch, process, log)
                yield _server(told["url"], told["pid"], told["udp_ports"])
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await _stop(process)


async def _watch(process: subprocess.Popen[bytes], log: Path) -> None:
    """Raise BenchError when the relay ends by itself."""
    while process.poll() is None:  # noqa: ASYNC110 - as in `_stop`
        await trio.sleep(WATCH_INTERVAL_S)
    raise BenchError(f"the relay ended with status {process.returncode} while it was measured:\n{_tail(log)}")


async def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with trio.move_on_after(STOP_TIMEOUT_S):
            while process.poll() is None:  # noqa: ASYNC110 - a pidfd would serve, but older kernels lack it
                await trio.sleep(POLL_INTERVAL_S)
    if process.poll() is None:
        process.kill()
        process.wait()


def _command(options: RelayOptions, connections: int, ready: Path) -> list[str]:
    flags = {
        "--host": "127.0.0.1",
        "--port": "0",
        "--udp-port": "0",
        "--workers": str(options.workers),
        "--max-connections": str(connections + SPARE_CONNECTIONS),
        "--log-level": "warning",
        "--ready-file": str(ready),
        "--data-dir": str(ready.parent / "data"),
    }
    return [sys.executable, "-m", "signaling", "serve", *(word for flag in flags.items() for word in flag)]


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return ours with only these settings of the relay: a run must not depend on what an operator has exported."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT_PREFIX)}
    return others | {ENVIRONMENT_PREFIX + name.upper(): value for name, value in settings.items()}


async def _reach(url: str) -> RelayServer:
    parts = urlsplit(url)
    scheme = {"ws": "http", "wss": "https"}[parts.scheme]
    base = urlunsplit((scheme, parts.netloc, "", "", ""))
    info = await trio.to_thread.run_sync(_fetch_info, f"{base}/api/system/info")
    assert parts.hostname is not None
    pid = int(info["process"]["pid"])
    here = is_loopback(parts.hostname) and Path(f"/proc/{pid}/schedstat").exists()  # noqa: ASYNC240 - no disk
    return _server(base, pid if here else None, info["relay"]["udp_ports"], parts.path)


def _server(base: str, pid: int | None, udp_ports: list[int], path: str = "") -> RelayServer:
    websocket = base.replace("http", "ws", 1) + (path if path not in {"", "/"} else "/ws")
    return RelayServer(websocket, f"{base}/api/system/info", pid, tuple(udp_ports))


def _fetch_info(url: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(url, timeout=INFO_TIMEOUT_S) as response:  # noqa: S310 - http or https by construction
            info: dict[str, Any] = json.load(response)
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise BenchError(f"no relay answers at {url}: {reason}") from error
    return info


def _sample_from_info(info: dict[str, Any]) -> ProcessSample:
    cpu_ns = round(info["process"]["cpu_seconds"] * 1e9)
    resident = int(info["process"]["resident_bytes"])
    return ProcessSample(monotonic_ns(), cpu_ns, {"process": cpu_ns}, resident, resident)


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES_TOLD:]) or "(it said nothing)"
