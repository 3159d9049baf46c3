"""Ports, UDP buffers, and the addresses that clients are told."""

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import relay
from relay import examination
from signaling.doctor.finding import Finding, fail, ok, warn
from signaling.listeners import ListenError, open_listening_socket
from signaling.settings import Settings

_RMEM_MAX = Path("/proc/sys/net/core/rmem_max")
_SOMAXCONN = Path("/proc/sys/net/core/somaxconn")
#: A thousand clients that come back at once; the listener asks for more, and the system cuts it to this.
ENOUGH_BACKLOG = 1024


def check_network(settings: Settings) -> Iterator[Finding]:
    """Yield findings on everything of the network's."""
    yield _tcp_port(settings)
    yield from _udp_ports(settings)
    yield _udp_buffers(settings)
    yield _addresses(settings)
    yield _backlog()


def _tcp_port(settings: Settings) -> Finding:
    try:
        open_listening_socket(settings.host, settings.port).close()
    except ListenError as error:
        return fail("tcp port", str(error), "if that is this relay, already running, all is well")
    return ok("tcp port", f"{settings.port} is free" if settings.port else "any free one is taken")


def _udp_ports(settings: Settings) -> Iterator[Finding]:
    workers = settings.workers or examination.default_workers()
    faults = examination.udp_port_faults(settings.host, settings.udp_port, workers)
    for fault in faults:
        yield fail("udp ports", fault.reason, "choose others with --udp-port")
    if not faults:
        last = settings.udp_port + workers - 1
        ports = f"{settings.udp_port} to {last}" if workers > 1 else str(settings.udp_port)
        yield ok(
            "udp ports",
            f"{ports} free, for {workers} workers" if settings.udp_port else "any free ones are taken",
        )


def _udp_buffers(settings: Settings) -> Finding:
    try:
        buffers = examination.udp_buffers(settings.host)
    except relay.LocalProtocolError as error:
        return fail("udp buffers", str(error), "choose another address with --host")
    short = [
        f"{name} {size // 1024} KiB"
        for name, size in (("receive", buffers.receive), ("send", buffers.send))
        if size < buffers.wanted
    ]
    if not short:
        return ok("udp buffers", f"{buffers.wanted // 1024} KiB each way, as asked for")
    names = " ".join(
        f"net.core.{name}={buffers.wanted}"
        for name, size in (("rmem_max", buffers.receive), ("wmem_max", buffers.send))
        if size < buffers.wanted
    )
    return warn(
        "udp buffers",
        f"{' and '.join(short)}, where {buffers.wanted // 1024} KiB are asked for: bursts will be lost",
        f"as root: sysctl -w {names}",
    )


def _addresses(settings: Settings) -> Finding:
    try:
        announced = examination.announced_addresses(settings.host, settings.public_address)
    except relay.LocalProtocolError as error:
        return fail("addresses", str(error), "correct --public-address")
    parsed = [ip_address(address) for address in announced]
    told = "clients are told to send media to " + ", ".join(announced)
    if any(one.is_unspecified or one.is_multicast for one in parsed):
        return fail(
            "addresses", told, "no client can reach that; give this machine's address with --public-address"
        )
    if any(one.is_global for one in parsed):
        return ok("addresses", told)
    if all(one.is_loopback for one in parsed):
        return warn("addresses", told, "only this machine can; give --public-address (and --host) for others")
    return warn(
        "addresses",
        f"{told}, a private network's",
        "clients outside it get no media; give the address they reach with --public-address",
    )


def _backlog() -> Finding:
    try:
        allowed = int(_SOMAXCONN.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return ok("tcp backlog", "this system does not tell its limit")
    if allowed >= ENOUGH_BACKLOG:
        return ok("tcp backlog", f"{allowed} clients may come at once")
    return warn(
        "tcp backlog",
        f"{allowed} clients may come at once; more have to try again",
        "as root: sysctl -w net.core.somaxconn=16384",
    )
