"""A UDP path that loses media on purpose: a proxy between a peer and the relay, with seeded dice."""

import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

#: RFC 7983: RTP and RTCP begin with 128 to 191; RFC 5761: RTCP has a packet type of 192 to 223 next.
_CANDIDATE = re.compile(r"(a=candidate:\S+ \d+ udp \d+ )(\S+) (\d+)( typ host)")


def is_media(datagram: bytes) -> bool:
    """Tell RTP from RTCP, STUN and DTLS: only RTP may be lost here."""
    return len(datagram) > 12 and 128 <= datagram[0] < 192 and not 192 <= datagram[1] < 224


@dataclass
class Direction:
    """What happens to datagrams one way."""

    loss: float
    passed: int = 0
    lost: int = 0

    def takes(self, datagram: bytes, dice: random.Random) -> bool:
        if is_media(datagram) and dice.random() < self.loss:
            self.lost += 1
            return False
        self.passed += 1
        return True


class LossyPath:
    """A proxy for one client; ``rewrite`` puts it into an answer in the relay's place."""

    def __init__(
        self,
        nursery: trio.Nursery,
        facing_client: trio.socket.SocketType,
        relay_port: int,
        to_client: Direction,
        to_relay: Direction,
    ) -> None:
        self.to_client = to_client
        self.to_relay = to_relay
        self._nursery = nursery
        self._facing_client = facing_client
        self._relay_port = relay_port
        self._client: tuple[str, int] | None = None
        self._dice = random.Random(7)
        self._facing_relay: trio.socket.SocketType
        self._carrying = trio.CancelScope()

    def rewrite(self, answer: str) -> str:
        return _CANDIDATE.sub(rf"\g<1>127.0.0.1 {self._facing_client.getsockname()[1]}\g<4>", answer)

    async def rebind(self) -> None:
        """Talk to the relay from a new port, as a NAT does that forgot its binding."""
        self._carrying.cancel()
        self._carrying = await self._nursery.start(self._carry_to_client)

    async def carry_to_relay(self) -> None:
        while True:
            datagram, self._client = await self._facing_client.recvfrom(2048)
            if self.to_relay.takes(datagram, self._dice):
                await self._facing_relay.send(datagram)

    async def _carry_to_client(self, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as facing_relay:
            await facing_relay.bind(("127.0.0.1", 0))
            await facing_relay.connect(("127.0.0.1", self._relay_port))
            with trio.CancelScope() as scope:
                self._facing_relay = facing_relay
                task_status.started(scope)
                while True:
                    datagram = await facing_relay.recv(2048)
                    if self._client is not None and self.to_client.takes(datagram, self._dice):
                        await self._facing_client.sendto(datagram, self._client)


@asynccontextmanager
async def open_lossy_path(
    relay_port: int, *, to_client: float = 0.0, to_relay: float = 0.0
) -> AsyncIterator[LossyPath]:
    """Listen on a free port of 127.0.0.1; datagrams of the one client go to the relay and back."""
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as facing_client:
        await facing_client.bind(("127.0.0.1", 0))
        async with trio.open_nursery() as nursery:
            path = LossyPath(nursery, facing_client, relay_port, Direction(to_client), Direction(to_relay))
            await path.rebind()
            nursery.start_soon(path.carry_to_relay)
            yield path
            nursery.cancel_scope.cancel()
