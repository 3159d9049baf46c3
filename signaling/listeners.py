"""Opening the one TCP port the service listens on.

Both wildcards, ``0.0.0.0`` and ``::``, take IPv4 and IPv6 clients on one socket.
"""

import errno
import socket
from ipaddress import ip_address

import trio

#: Clients that all come back at once wait here; the system cuts it to its `net.core.somaxconn`.
BACKLOG = 16_384


class ListenError(Exception):
    """The port could not be opened; the text says why and what to do."""


def open_listener(host: str, port: int) -> trio.SocketListener:
    """Listen on an IP address.

    Raises: ListenError.
    """
    return trio.SocketListener(trio.socket.from_stdlib_socket(open_listening_socket(host, port)))


def open_listening_socket(host: str, port: int) -> socket.socket:
    """Listen on an IP address, outside of Trio too.

    Raises: ListenError.
    """
    wildcard = ip_address(host).is_unspecified
    wanted = [(socket.AF_INET6 if ":" in host else socket.AF_INET, host)]
    if wildcard:
        # A machine without IPv6 refuses the first.
        wanted = [(socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")]  # noqa: S104 - as asked
    for family, address in wanted[:-1]:
        try:
            return _listen(family, address, port, dual_stack=wildcard)
        except OSError as error:
            if error.errno not in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}:
                raise ListenError(_explain(error, host, port)) from None
    try:
        return _listen(*wanted[-1], port, dual_stack=False)
    except OSError as error:
        raise ListenError(_explain(error, host, port)) from None


def _listen(family: int, address: str, port: int, *, dual_stack: bool) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A restarted server may listen again although old connections linger in TIME_WAIT.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not dual_stack))
        opened.setblocking(False)
        opened.bind((address, port))
        opened.listen(BACKLOG)
    except OSError:
        opened.close()
        raise
    return opened


def _explain(error: OSError, host: str, port: int) -> str:
    place = f"TCP port {port} on {host}"
    if error.errno == errno.EADDRINUSE:
        return f"{place} is in use by another program; stop that one or choose another with --port"
    if error.errno == errno.EACCES:
        return f"{place} needs privileges; choose a port above 1023 with --port"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is not an address of this machine; choose another with --host"
    return f"cannot listen on {place}: {error.strerror or error}"
