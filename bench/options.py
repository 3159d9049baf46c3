"""Options that all scenarios share: which relay is loaded and from where, and where results go.

Light to import: the command line needs it for `--help`, and numba is not.
"""

import ipaddress
import math
import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from bench.errors import BenchError
from bench.machine import Pinning, default_pinning

SPIN_FOREVER_NS: Final = 1 << 62

Choice = TypeVar("Choice")


@dataclass(frozen=True)
class RelayOptions:
    """The relay under test: one that is started for the run, or one that runs already, and which cores do what.

    Raises: BenchError, naming the option, what it was, and what is possible.
    """

    url: str | None = None
    allow_remote: bool = False
    workers: int = 1
    server_cpu: int | None = None
    client_cpu: int | None = None
    pin: bool = True
    spin: bool = True
    pinning: Pinning = field(init=False)  # which core does what, as it is before anything is pinned

    def __post_init__(self) -> None:
        check_ranges([("--workers", self.workers, 1, 64)])
        self._check_cores()
        if self.url is not None:
            require_websocket_url(self.url)
            if not self.allow_remote:
                require_loopback(self.url)
        object.__setattr__(self, "pinning", self._choose_cores())

    def _choose_cores(self) -> Pinning:
        """A relay that runs already is left where it is."""
        chosen = default_pinning() if self.pin else Pinning(None, None)
        server = self.server_cpu if self.server_cpu is not None else chosen.server_cpu
        client = self.client_cpu if self.client_cpu is not None else chosen.client_cpu
        if self.server_cpu is None and server is not None and server == client:
            server = next((core for core in sorted(os.sched_getaffinity(0)) if core != client), None)
        return Pinning(None if self.url is not None else server, client)

    @property
    def spin_ns(self) -> int:
        """How long the compiled loop polls before it sleeps: it may poll for ever only on a core of its own."""
        return SPIN_FOREVER_NS if self.spin and self.pinning.client_cpu is not None else 0

    def allows_address(self, host: str) -> bool:
        """Whether media may be sent to this address."""
        return self.allow_remote or is_own_address(host)

    def describe(self) -> dict[str, Any]:
        """Return the options as the result file has them."""
        pinning = self.pinning
        return {
            "url": self.url,
            "workers": self.workers if self.url is None else None,
            "server_cpu": pinning.server_cpu,
            "client_cpu": pinning.client_cpu,
            "spin": self.spin,
        }

    def _check_cores(self) -> None:
        cores = os.sched_getaffinity(0)
        for option, core in (("--server-cpu", self.server_cpu), ("--client-cpu", self.client_cpu)):
            if core is not None and core not in cores:
                known = ", ".join(str(each) for each in sorted(cores))
                raise BenchError(f"{option} is {core}; this process may use the cores {known}")
        if self.url is not None and self.server_cpu is not None:
            raise BenchError("--server-cpu pins the relay that is started here; with --url it runs already")


@dataclass(frozen=True)
class OutputOptions:
    """Where results go besides the terminal.

    Raises: BenchError when a directory does not exist: better now than after the run.
    """

    json_path: Path | None = None
    plot_path: Path | None = None

    def __post_init__(self) -> None:
        for option, path in (("--json", self.json_path), ("--plot", self.plot_path)):
            if path is not None and not path.resolve().parent.is_dir():
                raise BenchError(f"{option}: the directory {path.resolve().parent} does not exist")


def check_ranges(ranges: Iterable[tuple[str, float, float, float]]) -> None:
    """Check (option, value, lowest, highest).

    Raises: BenchError for the first that is outside.
    """
    for option, value, low, high in ranges:
        if not (math.isfinite(value) and low <= value <= high):
            raise BenchError(f"{option} is {value:g}; it must be between {low:g} and {high:g}")


def choose(option: str, value: str, choices: Mapping[str, Choice]) -> Choice:
    """Return the choice of that name.

    Raises: BenchError with the names there are.
    """
    if value not in choices:
        raise BenchError(f"{option} is {value!r}; it must be {' or '.join(choices)}")
    return choices[value]


def is_loopback(host: str) -> bool:
    """Whether an address, or every address of a name, is this machine's loopback."""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None, proto=socket.IPPROTO_TCP)}
    except OSError as error:
        raise BenchError(f"--url: the host {host!r} is unknown ({error.strerror})") from error
    return all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in found)


def is_own_address(host: str) -> bool:
    """Whether an IP address belongs to this machine: media sent there does not leave it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


def require_websocket_url(url: str) -> None:
    """Refuse what is no WebSocket URL.

    Raises: BenchError.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"ws", "wss"} or not parts.hostname:
        raise BenchError(f"--url is {url!r}; it must look like ws://127.0.0.1:8080/ws")


def require_loopback(url: str) -> None:
    """Refuse a URL that leaves this machine.

    Raises: BenchError.
    """
    host = urlsplit(url).hostname or ""
    if not is_loopback(host):
        raise BenchError(
            f"--url points to {host}, another machine. This tool sends as fast as it can: aim it only at a "
            "relay that is yours, and say so with --allow-remote"
        )
