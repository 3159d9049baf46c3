"""How outbound connections are opened: the name is resolved here, each address is judged, and that very address connected.

So who controls a name cannot show a public address to the check and a private one to the connection (DNS rebinding).
TLS still verifies the certificate against the name.
"""

import math
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import ip_address

import httpcore
import trio

from signaling.address_policy import is_public
from signaling.outbound.errors import TargetRefusedError

#: The addresses of a name, best first.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

#: Names resolved at a time; a name server that does not answer keeps a thread for half a minute.
RESOLVING_THREADS = 32
#: Addresses of one name that are tried.
MAX_ADDRESSES = 4
_MIN_CONNECT_SECONDS = 0.5


def system_resolver() -> Resolve:
    """Return a resolver that asks the system, in threads of its own number."""
    limiter = trio.CapacityLimiter(RESOLVING_THREADS)

    async def resolve(host: str, port: int) -> Sequence[str]:
        found = await trio.to_thread.run_sync(_look_up, host, port, limiter=limiter, abandon_on_cancel=True)
        return tuple(dict.fromkeys(found))

    return resolve


def _look_up(host: str, port: int) -> list[str]:
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class OutboundNetwork(httpcore.AsyncNetworkBackend):
    """See the module; with ``public_only`` only addresses of the public Internet are connected."""

    def __init__(self, resolve: Resolve, *, public_only: bool) -> None:
        self._resolve = resolve
        self._public_only = public_only
        self._sockets = httpcore.TrioBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface of httpcore
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to one of the name's addresses.

        Raises: TargetRefusedError, httpcore.ConnectError, httpcore.ConnectTimeout.
        """
        deadline = trio.current_time() + (math.inf if timeout is None else timeout)
        addresses = (await self._addresses(host, port, deadline))[:MAX_ADDRESSES]
        fault: httpcore.ConnectError | httpcore.ConnectTimeout | None = None
        for tried, address in enumerate(addresses):
            # Those not tried yet get an equal share of the time that is left.
            share = (deadline - trio.current_time()) / (len(addresses) - tried)
            try:
                return await self._sockets.connect_tcp(
                    address, port, max(share, _MIN_CONNECT_SECONDS), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                fault = error
        assert fault is not None
        raise fault

    async def sleep(self, seconds: float) -> None:
        """Sleep; of the interface."""
        await trio.sleep(seconds)

    async def _addresses(self, host: str, port: int, deadline: float) -> Sequence[str]:
        try:
            with trio.fail_at(deadline):
                found = await self._find(host, port)
        except trio.TooSlowError:
            raise httpcore.ConnectTimeout(f"the name {host} was not resolved in time") from None
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"the name {host} cannot be resolved: {error}") from None
        allowed = [each for each in found if not self._public_only or is_public(each)]
        if found and not allowed:
            raise TargetRefusedError(
                f"{host} is at {found[0]}, which is not an address of the public Internet; "
                "private targets must be allowed by the operator"
            )
        if not allowed:
            raise httpcore.ConnectError(f"the name {host} has no address")
        return allowed

    async def _find(self, host: str, port: int) -> Sequence[str]:
        try:
            return (str(ip_address(host)),)
        except ValueError:
            return await self._resolve(host, port)
