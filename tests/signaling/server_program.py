"""The server as a child process that a test can end in any way; what it keeps is in a folder of the test's."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio
from running_server import START_SECONDS

STOP_BOUND_SECONDS = 5


@dataclass
class Program:
    process: trio.Process
    url: str
    pid: int
    udp_ports: list[int]
    log: Path

    async def wrote(self, text: str) -> None:
        with trio.fail_after(10):
            while text not in self.log.read_text():  # noqa: ASYNC110 - it is another process
                await trio.sleep(0.01)

    async def end(self, number: signal.Signals) -> tuple[int, float]:
        """Send a signal; return the exit code and how long the end took."""
        before = trio.current_time()
        self.process.send_signal(number)
        with trio.fail_after(4 * STOP_BOUND_SECONDS):
            code = await self.process.wait()
        return code, trio.current_time() - before


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}


@asynccontextmanager
async def program(
    directory: Path, *more: str, within: Sequence[str] = (), **variables: str
) -> AsyncIterator[Program]:
    """Run the server with these flags and variables; `within` are the words of a program that starts it."""
    ready, log = directory / "ready.json", directory / "log"
    ready.unlink(missing_ok=True)
    flags = (
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--udp-port",
        "0",
        "--workers",
        "1",
        "--ready-file",
        str(ready),
        "--data-dir",
        str(directory / "data"),
    )
    with log.open("wb") as output:
        process = await trio.lowlevel.open_process(
            [*within, sys.executable, "-m", "signaling", "serve", *flags, *more],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**environment(), **variables},
        )
    try:
        with trio.fail_after(START_SECONDS):
            while not ready.exists():
                assert process.poll() is None, log.read_text()
                await trio.sleep(0.05)
        content = json.loads(ready.read_text())
        yield Program(process, content["url"], content["pid"], content["udp_ports"], log)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
