"""What a person may ask of `relay bench forward`, checked as a whole before anything starts."""

import ipaddress
import math
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from bench.errors import BenchError
from bench.generator import Traffic
from bench.machine import Pinning, default_pinning
from bench.payload import MAX_PACKET_BYTES, PayloadKind
from media.srtp import SrtpProfile

PROFILES: Final = {"gcm": SrtpProfile.AEAD_AES_128_GCM, "cm": SrtpProfile.AES128_CM_SHA1_80}
MAX_PUBLISHERS: Final = 500  # sections of one offer: the relay takes 512
MAX_OFFERED_PER_S: Final = 20_000_000


@dataclass(frozen=True)
class ForwardOptions:
    """The options of one call.

    Raises: BenchError, naming the option, what it was, and what is possible.
    """

    publishers: int = 1
    subscribers: int = 200
    rate: float = 50.0
    size: int = 120
    kind: PayloadKind = PayloadKind.AUDIO
    profile: SrtpProfile = SrtpProfile.AEAD_AES_128_GCM
    duration_s: float = 10.0
    ramp_s: float = 2.0
    search: bool = False
    load: float = 0.5
    max_latency_ms: float = 20.0
    workers: int = 1
    server_cpu: int | None = None
    client_cpu: int | None = None
    pin: bool = True
    spin: bool = True
    url: str | None = None
    allow_remote: bool = False
    json_path: Path | None = None
    plot_path: Path | None = None

    def __post_init__(self) -> None:
        for option, value, low, high in (
            ("--publishers", self.publishers, 1, MAX_PUBLISHERS),
            ("--subscribers", self.subscribers, 1, 20_000),
            ("--rate", self.rate, 0.1, 1_000_000),
            ("--size", self.size, self.kind.min_packet_bytes, MAX_PACKET_BYTES),
            ("--duration", self.duration_s, 0.1, 86_400),
            ("--ramp", self.ramp_s, 0, 3_600),
            ("--load", self.load, 0.01, 1),
            ("--max-latency", self.max_latency_ms, 0.1, 10_000),
            ("--workers", self.workers, 1, 64),
        ):
            if not (math.isfinite(value) and low <= value <= high):
                raise BenchError(f"{option} is {value:g}; it must be between {low:g} and {high:g}")
        if self.offered_per_s > MAX_OFFERED_PER_S:
            raise BenchError(
                f"--publishers x --subscribers x --rate asks for {self.offered_per_s:,.0f} packets/s; "
                f"more than {MAX_OFFERED_PER_S:,} is beyond any single machine"
            )
        self._check_cores()
        self._check_paths()
        if self.url is not None and not self.allow_remote:
            require_loopback(self.url)

    @property
    def offered_per_s(self) -> float:
        """Deliveries that a perfect relay would make."""
        return self.publishers * self.subscribers * self.rate

    @property
    def traffic(self) -> Traffic:
        """The traffic at `rate`."""
        return Traffic(self.rate, self.size, self.ramp_s, self.duration_s, self.kind)

    @property
    def pinning(self) -> Pinning:
        """Which core does what. A relay that runs already is left where it is."""
        chosen = default_pinning() if self.pin else Pinning(None, None)
        server = self.server_cpu if self.server_cpu is not None else chosen.server_cpu
        client = self.client_cpu if self.client_cpu is not None else chosen.client_cpu
        if self.server_cpu is None and server is not None and server == client:
            server = next((core for core in sorted(os.sched_getaffinity(0)) if core != client), None)
        return Pinning(None if self.url is not None else server, client)

    def describe(self) -> dict[str, Any]:
        """Return the options as the result file has them."""
        return {
            "publishers": self.publishers,
            "subscribers": self.subscribers,
            "rate": self.rate,
            "size": self.size,
            "kind": self.kind.media,
            "profile": self.profile.name,
            "duration_s": self.duration_s,
            "ramp_s": self.ramp_s,
            "search": self.search,
            "load": self.load,
            "max_latency_ms": self.max_latency_ms,
            "workers": self.workers,
            "spin": self.spin,
            "url": self.url,
        }

    def _check_cores(self) -> None:
        cores = os.sched_getaffinity(0)
        for option, core in (("--server-cpu", self.server_cpu), ("--client-cpu", self.client_cpu)):
            if core is not None and core not in cores:
                known = ", ".join(str(each) for each in sorted(cores))
                raise BenchError(f"{option} is {core}; this process may use the cores {known}")
        if self.url is not None and self.server_cpu is not None:
            raise BenchError("--server-cpu pins the relay that is started here; with --url it runs already")

    def _check_paths(self) -> None:
        for option, path in (("--json", self.json_path), ("--plot", self.plot_path)):
            if path is not None and not path.resolve().parent.is_dir():
                raise BenchError(f"{option}: the directory {path.resolve().parent} does not exist")


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


def require_loopback(url: str) -> None:
    """Refuse a URL that leaves this machine.

    Raises: BenchError.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"ws", "wss"} or not parts.hostname:
        raise BenchError(f"--url is {url!r}; it must look like ws://127.0.0.1:8080/ws")
    if not is_loopback(parts.hostname):
        raise BenchError(
            f"--url points to {parts.hostname}, another machine. This tool sends as fast as it can: aim it only at a "
            "relay that is yours, and say so with --allow-remote"
        )
