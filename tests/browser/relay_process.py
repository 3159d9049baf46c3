"""The real server as a child process, on the loopback address."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

START_SECONDS = 120
"""The first start on a machine compiles the kernels."""
STOP_SECONDS = 10


class RelayProcess:
    """`python -m signaling serve` with ports of its own choice; `start` again keeps the TCP port."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def log(self) -> str:
        """Everything the server has written so far."""
        path = self._directory / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Start the server and wait until it serves."""
        ready = self._directory / "ready.json"
        ready.unlink(missing_ok=True)
        options = {
            "--host": "127.0.0.1",
            "--port": self.port,
            "--udp-port": 0,
            "--workers": 1,
            "--ready-file": ready,
            "--data-dir": self._directory / "data",
        }
        arguments = [str(part) for option in options.items() for part in option]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
        with (self._directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "signaling", "serve", *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
            )
        deadline = time.monotonic() + START_SECONDS
        while not ready.exists():
            assert self._process.poll() is None, f"the server ended: {self.log}"
            assert time.monotonic() < deadline, f"the server is not ready: {self.log}"
            time.sleep(0.05)
        self.port = urlsplit(json.loads(ready.read_text())["url"]).port or 0

    def kill(self) -> None:
        """End it as a crash would: nothing is said to anybody."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to stop, as an operator would."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        self._process.wait(STOP_SECONDS)
        self._process = None
