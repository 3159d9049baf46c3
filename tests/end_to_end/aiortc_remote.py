"""The remote control of ``aiortc_host.py``, for Trio."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

HOST = Path(__file__).parent / "aiortc_host.py"
#: Closing a few dozen DTLS transports takes aiortc a while.
END_SECONDS = 15


class HostError(Exception):
    """A request failed in the host; the text is its traceback."""


class RemotePeer:
    """An aiortc peer in another process; methods are those of ``aiortc_host.HostedPeer``."""

    def __init__(self, host: "RemoteHost", name: str) -> None:
        self._host = host
        self._name = name

    def __getattr__(self, op: str) -> Any:
        async def call(**arguments: Any) -> Any:
            return await self._host.call(op, peer=self._name, **arguments)

        return call


class RemoteHost:
    """A process of aiortc peers."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._writing = trio.Lock()
        self._replies: dict[int, dict[str, Any]] = {}
        self._waiting: dict[int, trio.Event] = {}
        self._next_id = 0
        self._peers = 0

    async def create_peer(self, profile: str | None = None) -> RemotePeer:
        """Make a peer; ``profile`` is the only SRTP profile it will offer."""
        self._peers += 1
        name = str(self._peers)
        await self.call("create", peer=name, profile=profile)
        return RemotePeer(self, name)

    async def call(self, op: str, **arguments: Any) -> Any:
        """Carry out one request in the host; raises HostError with its traceback."""
        self._next_id += 1
        number = self._next_id
        self._waiting[number] = trio.Event()
        line = json.dumps({"id": number, "op": op, **arguments}) + "\n"
        assert self.process.stdin is not None
        async with self._writing:
            await self.process.stdin.send_all(line.encode())
        await self._waiting[number].wait()
        reply = self._replies.pop(number)
        if "error" in reply:
            raise HostError(reply["error"])
        return reply["result"]

    async def read(self) -> None:
        """Hand replies to those who wait for them, until the host ends."""
        assert self.process.stdout is not None
        buffered = b""
        async for received in self.process.stdout:
            *lines, buffered = (buffered + received).split(b"\n")
            for line in lines:
                reply = json.loads(line)
                self._replies[reply["id"]] = reply
                self._waiting.pop(reply["id"]).set()
        for number, event in self._waiting.items():
            self._replies[number] = {"error": "the host has ended"}
            event.set()


@asynccontextmanager
async def open_aiortc_host(address: str = "127.0.0.1") -> AsyncIterator[RemoteHost]:
    """Start a process of aiortc peers that gather candidates on one address; it ends with the scope."""
    process = await trio.lowlevel.open_process(
        [sys.executable, HOST, "--address", address], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        async with trio.open_nursery() as nursery:
            host = RemoteHost(process)
            nursery.start_soon(host.read)
            yield host
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            assert process.stdin is not None
            await process.stdin.aclose()
            with trio.move_on_after(END_SECONDS):
                await process.wait()
            if process.returncode is None:
                process.kill()
                await process.wait()
            assert process.stdout is not None
            await process.stdout.aclose()
