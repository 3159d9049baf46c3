"""The real service as an operator starts it: a process of its own, told to stop by SIGTERM."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

#: The first start on a machine compiles the kernels.
START_SECONDS = 300
STOP_SECONDS = 10


@dataclass(frozen=True)
class RelayService:
    """Where a started service listens."""

    url: str
    udp_ports: tuple[int, ...]
    log: Path
    process: subprocess.Popen[bytes]


@contextmanager
def run_relay_service(directory: Path, *flags: str) -> Iterator[RelayService]:
    """Serve on free ports of this machine for the length of the scope; a bad end fails the test."""
    ready, log = directory / "ready.json", directory / "relay.log"
    command = [sys.executable, "-m", "signaling", "serve", "--port", "0", "--udp-port", "0"]
    command += ["--public-address", "127.0.0.1", "--public-address", "::1", "--log-format", "json"]
    command += ["--data-dir", str(directory / "data")]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--ready-file", str(ready), *flags], stdout=output, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the service did not start:\n{log.read_text()}")
            time.sleep(0.05)
        content = json.loads(ready.read_text())
        yield RelayService(
            content["url"].replace("http", "ws", 1) + "/ws", tuple(content["udp_ports"]), log, process
        )
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
    text = log.read_text()
    assert process.returncode == 0, text
    assert "Traceback" not in text, text
