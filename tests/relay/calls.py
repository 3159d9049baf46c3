"""A call that must not notice anything, those who disturb it, and a tally of what the relay said of their datagrams."""

import socket
from contextlib import asynccontextmanager
from pathlib import Path

from client_sdp import audio
from media_peer import (
    LOOPBACK,
    MediaPeer,
    open_publisher,
    open_subscriber,
)
from waiting import eventually

from bench.ice_client import IceClient
from relay import PeerState, Router, open_relay
from relay.ice import IceCredentials

BATCH = 64
"""Datagrams sent before their verdicts are waited for: no buffer on the way overflows."""

RECEIVED = (
    "empty",
    "truncated",
    "unclassified",
    "unknown_source",
    "stun_answered",
    "stun_punted",
    "stun_malformed",
    "dtls_punted",
    "punt_overflow",
    "punt_throttled",
    "no_keys",
    "rtp_malformed",
    "rtp_authentication_failed",
    "rtp_replayed",
    "rtp_unknown_payload_type",
    "rtp_unknown_stream",
    "rtp_accepted",
    "rtp_retransmission_accepted",
    "rtcp_accepted",
    "rtcp_malformed",
    "rtcp_authentication_failed",
    "rtcp_too_many_senders",
)
"""Every datagram gets one of these."""


def received(router: Router) -> dict[str, int]:
    verdicts = router.statistics().verdicts
    return {name: verdicts[name] for name in RECEIVED}


class Tally:
    """Sends datagrams in batches, and waits until each batch has its verdicts."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._before = received(router)
        self._sent = 0

    async def send(self, peer: MediaPeer, datagrams) -> None:
        for datagram in datagrams:
            peer.send_datagram(datagram)
            self._sent += 1
            if self._sent % BATCH == 0:
                await self.wait()

    async def wait(self) -> dict[str, int]:
        """What has been said since the beginning, by verdict."""
        await eventually(
            lambda: sum(received(self._router).values()) - sum(self._before.values()) >= self._sent
        )
        counts = {name: count - self._before[name] for name, count in received(self._router).items()}
        assert sum(counts.values()) == self._sent
        return {name: count for name, count in counts.items() if count}


class Call:
    """Two who talk and must not notice anything."""

    def __init__(self, router: Router, ada: MediaPeer, bob: MediaPeer) -> None:
        self.router = router
        self.ada = ada
        self.bob = bob
        self._said = 0
        self._unchecked: list[bytes] = []

    def say(self) -> None:
        packet = self.ada.send_media("0", self._said, 960 * self._said, b"%d" % self._said)
        self._unchecked.append(packet.payload)
        self._said += 1

    async def check(self, *, may_lose: int = 0) -> None:
        """All that was said since the last check has arrived, in order, but for as many at most."""
        said, self._unchecked = self._unchecked, []
        ssrc = self.bob.ssrc("0")
        await self.bob.wait_until(lambda: self.bob.rtp[-1:] != [] and self.bob.rtp[-1].payload == said[-1])
        packets = await self.bob.take_rtp(len(self.bob.rtp), ssrc)
        heard = [packet.payload for packet in packets]
        assert len(said) - may_lose <= len(heard)
        assert heard == [payload for payload in said if payload in heard]
        first = packets[0].sequence_number - said.index(heard[0])
        assert [packet.sequence_number - first & 0xFFFF for packet in packets] == [
            said.index(payload) for payload in heard
        ]
        assert self.ada.relay_peer.state is self.bob.relay_peer.state is PeerState.CONNECTED


@asynccontextmanager
async def open_call(config=LOOPBACK):
    """A router with a call under way. In the end the call has to be whole, and newcomers have to be welcome."""
    async with (
        open_relay(config) as router,
        open_publisher(router, audio("0", "sendonly", ssrc=0xCA11)) as (ada, (track,)),
        open_subscriber(router, (audio("0", "recvonly"), track)) as bob,
    ):
        call = Call(router, ada, bob)
        call.say()
        await call.check()
        yield call
        for _ in range(10):
            call.say()
        await call.check()
        async with open_publisher(router, audio("0", "sendonly", ssrc=1)):
            pass


class Stranger:
    """A socket nobody has proved to own."""

    def __init__(self, router: Router) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(("127.0.0.1", router.udp_ports[0]))

    def send_datagram(self, data: bytes) -> None:
        self.socket.send(data)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def checks(ufrags: list[str]) -> list[bytes]:
    datagrams = []
    for ufrag in ufrags:
        ice = IceClient(IceCredentials("evil", "e" * 22), IceCredentials(ufrag, "e" * 22), tie_breaker=1)
        ice.start(0)
        datagrams += ice.datagrams_to_send()
    return datagrams


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
