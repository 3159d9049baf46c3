"""A client for tests of the relay: real sockets, ICE, DTLS and SRTP, but light, in one Trio task, and under control.

    async with open_relay(LOOPBACK) as router, open_peer(router) as ada:
        ada.offer(audio("0", "sendonly", ssrc=1), publish=["0"])
        await ada.connect()
        ada.send_media("0", sequence_number=5, timestamp=960, payload=b"sound")

It sends exactly what it is told and keeps all that it receives. Nothing is repeated, reordered or hidden.
"""

import secrets
import socket as socketlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from time import monotonic_ns
from typing import Any, TypeVar

import trio
from client_sdp import Answer, Section, read_answer, write_offer
from rtcp_packets import RtcpPacket, decode_compound, encode_compound
from rtp_packets import RtpPacket
from waiting import commands_applied

from bench.ice_client import IceClient, IceClientState
from media.srtp import SrtpDirection, SrtpProfile, SrtpSession
from relay import NegotiationResult, Peer, PeerConnected, RelayConfig, Router, Track
from relay.certificate import Certificate
from relay.dtls import DtlsClosed, DtlsConnected, DtlsFailed, DtlsRole, DtlsTransport
from relay.ice import new_credentials

LOOPBACK = RelayConfig(host="127.0.0.1", workers=1)
TWO_WORKERS = RelayConfig(host="127.0.0.1", workers=2)
GCM, CM = SrtpProfile.AEAD_AES_128_GCM, SrtpProfile.AES128_CM_SHA1_80

RTCP_SSRC = 0xC11E47
"""The sender of a client's feedback."""

Kind = TypeVar("Kind", bound=RtcpPacket)

CERTIFICATE = Certificate.generate()
_ROLE_BESIDE = {"active": DtlsRole.SERVER, "passive": DtlsRole.CLIENT}


@asynccontextmanager
async def open_peer(
    router: Router,
    *,
    label: str = "",
    profile: SrtpProfile = GCM,
    setup: str = "actpass",
    certificate: Certificate = CERTIFICATE,
    fingerprint: str | None = None,
    candidate_host: str | None = None,
) -> AsyncIterator["MediaPeer"]:
    """A client with its peer in the router, for the length of a scope.

    `fingerprint`: what to announce instead of the truth. `candidate_host`: where to send instead of what is answered.
    """
    peer = MediaPeer(
        router,
        label=label,
        profile=profile,
        setup=setup,
        certificate=certificate,
        fingerprint=fingerprint,
        candidate_host=candidate_host,
    )
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.run)
            yield peer
            nursery.cancel_scope.cancel()
    finally:
        peer.relay_peer.close("the test is over")
        peer.close()


@asynccontextmanager
async def open_publisher(
    router: Router, *sections: Section, **options: Any
) -> AsyncIterator[tuple["MediaPeer", list[Track]]]:
    """A connected client that publishes these sections."""
    async with open_peer(router, **options) as peer:
        tracks = peer.publish(*sections)
        await peer.connect()
        yield peer, tracks


@asynccontextmanager
async def open_subscriber(
    router: Router, *wanted: tuple[Section, Track], **options: Any
) -> AsyncIterator["MediaPeer"]:
    """A connected client that is sent these tracks."""
    async with open_peer(router, **options) as peer:
        peer.subscribe(*wanted)
        await peer.connect()
        yield peer


class MediaPeer:
    def __init__(
        self,
        router: Router,
        *,
        label: str,
        profile: SrtpProfile,
        setup: str,
        certificate: Certificate,
        fingerprint: str | None,
        candidate_host: str | None,
    ) -> None:
        self.router = router
        self.relay_peer: Peer = router.add_peer(label)
        self.sections: dict[str, Section] = {}
        self.rtp: list[RtpPacket] = []
        self.rtcp: list[RtcpPacket] = []
        self.wire: list[bytes] = []
        """RTP packets as they arrived; SRTP's replay protection lets none through twice."""
        self.rtcp_arrivals: list[tuple[float, RtcpPacket]] = []
        """All RTCP with its time of arrival, also when it has been taken off `rtcp`."""
        self.lost: list[bytes] = []
        self._to_lose = 0
        self.dtls_end: DtlsFailed | DtlsClosed | None = None
        self.fingerprint = fingerprint or certificate.fingerprint()
        self._profile = profile
        self._setup = setup
        self._certificate = certificate
        self._candidate_host = candidate_host
        self._credentials = new_credentials()
        self._answer: Answer | None = None
        self._ice: IceClient | None = None
        self._dtls: DtlsTransport | None = None
        self._keys: DtlsConnected | None = None
        self._inward: SrtpSession | None = None
        self._outward: SrtpSession | None = None
        self._socket: trio.socket.SocketType | None = None
        self._news = trio.lowlevel.ParkingLot()

    @property
    def answer(self) -> Answer:
        assert self._answer is not None
        return self._answer

    @property
    def address(self) -> tuple[str, int]:
        """Where its packets come from."""
        assert self._socket is not None
        return self._socket.getsockname()[:2]

    # Negotiation.

    def offer_text(self, *sections: Section) -> str:
        return write_offer(sections, ice=self._credentials, fingerprint=self.fingerprint, setup=self._setup)

    def offer(
        self, *sections: Section, publish: Iterable[str] = (), subscribe: Mapping[str, Track] | None = None
    ) -> NegotiationResult:
        """Offer these sections, the first time or again, and take the answer in."""
        result = self.relay_peer.accept_offer(
            self.offer_text(*sections),
            publish={mid: f"{mid} of the client" for mid in publish},
            subscribe=subscribe,
        )
        self.sections = {section.mid: section for section in sections}
        self._answer = read_answer(result.sdp)
        return result

    def publish(self, *sections: Section) -> list[Track]:
        """Offer these sections and publish all of them."""
        result = self.offer(*sections, publish=[section.mid for section in sections])
        return [result.published[section.mid] for section in sections]

    def subscribe(self, *wanted: tuple[Section, Track]) -> list[int]:
        """Offer these sections to be sent these tracks. Returns the SSRCs that the relay will send them on."""
        tracks = {section.mid: track for section, track in wanted}
        result = self.offer(*(section for section, _ in wanted), subscribe=tracks)
        assert result.subscribed == tracks
        return [self.ssrc(section.mid) for section, _ in wanted]

    def ssrc(self, mid: str) -> int:
        """What the relay said it will send in a section."""
        ssrc = self.answer.sections[mid].ssrc
        assert ssrc is not None
        return ssrc

    # Transport.

    async def connect(self) -> None:
        """ICE and DTLS, until both sides have keys."""
        self.start_transport()
        await self.wait_until(lambda: self._keys is not None or self.dtls_end is not None)
        assert self._keys is not None, self.dtls_end
        assert await self.relay_peer.events.receive() == PeerConnected()
        await commands_applied(self.router)

    def start_transport(self) -> None:
        """Send the first check; the rest follows by itself."""
        self.open_socket()
        self._dtls = DtlsTransport(
            self._certificate, _ROLE_BESIDE[self.answer.setup], self.answer.fingerprints, (self._profile,)
        )
        if self._dtls.role is DtlsRole.SERVER:
            self._dtls.start(monotonic_ns())
        self.start_ice()

    def open_socket(self, address: tuple[str, int] | None = None) -> None:
        """A new socket, at this address; one there was before is closed, as when a phone leaves its network."""
        host, port = self.answer.candidate
        remote = (self._candidate_host or host, port)
        family = socketlib.AF_INET6 if ":" in remote[0] else socketlib.AF_INET
        fresh = trio.socket.socket(family, socketlib.SOCK_DGRAM)
        fresh.setsockopt(socketlib.SOL_SOCKET, socketlib.SO_RCVBUF, 4 << 20)
        if address is not None:
            fresh._sock.bind(address)
        fresh._sock.connect(remote)
        former, self._socket = self._socket, fresh
        if former is not None:
            former.close()
        self._news.unpark_all()

    def start_ice(self) -> None:
        """Check from the socket there is, with the credentials of the last offer and answer."""
        self._ice = IceClient(self._credentials, self.answer.ice, tie_breaker=secrets.randbits(64))
        self._ice.start(monotonic_ns())
        self._flush()
        self._news.unpark_all()

    def renew_credentials(self) -> None:
        """The next offer is an ICE restart."""
        self._credentials = new_credentials()

    async def wait_ice(self) -> None:
        """Wait until the relay has answered a check of the present round, and its worker knows."""
        await self.wait_until(lambda: self._ice is not None and self._ice.state is IceClientState.CONNECTED)
        await commands_applied(self.router)

    async def run(self) -> None:
        """Receive and keep time until cancelled."""
        while True:
            if self._socket is None or self._ice is None:
                await self._news.park()
                continue
            reading = self._socket
            with trio.move_on_after(self._next_timeout_s()):
                try:
                    self._receive(await reading.recv(2048))
                except (trio.ClosedResourceError, OSError):
                    if reading is self._socket:
                        raise
                    continue  # another took its place: it was closed, at the latest when there was something to read
            now_ns = monotonic_ns()
            self._ice.handle_timeout(now_ns)
            if self._dtls is not None:
                self._dtls.handle_timeout(now_ns)
            self._flush()

    def close(self) -> None:
        for session in (self._inward, self._outward):
            if session is not None:
                session.close()
        if self._socket is not None:
            self._socket.close()

    def close_dtls(self) -> None:
        """Say goodbye as a browser does on `close()`."""
        assert self._dtls is not None
        self._dtls.close()
        self._flush()

    # Sending.

    def send_datagram(self, data: bytes) -> None:
        """These very bytes, from the address the relay knows."""
        assert self._socket is not None
        self._socket._sock.send(data)

    def protect_rtp(self, packet: RtpPacket | bytes) -> bytes:
        assert self._outward is not None
        return self._outward.protect(packet.encode() if isinstance(packet, RtpPacket) else packet)

    def send_rtp(self, packet: RtpPacket | bytes) -> None:
        self.send_datagram(self.protect_rtp(packet))

    def media_packet(
        self, mid: str, sequence_number: int, timestamp: int, payload: bytes = b"", **details
    ) -> RtpPacket:
        """A packet with the payload type and SSRC that the section of this client announced."""
        section = self.sections[mid]
        details = {"payload_type": section.payload_type, "ssrc": section.ssrc, **details}
        return RtpPacket(
            sequence_number=sequence_number & 0xFFFF,
            timestamp=timestamp & 0xFFFFFFFF,
            payload=payload,
            **details,
        )

    def send_media(
        self, mid: str, sequence_number: int, timestamp: int, payload: bytes = b"", **details
    ) -> RtpPacket:
        packet = self.media_packet(mid, sequence_number, timestamp, payload, **details)
        self.send_rtp(packet)
        return packet

    def send_rtcp(self, *packets: RtcpPacket | bytes) -> None:
        assert self._outward is not None
        plain = b"".join(one if isinstance(one, bytes) else encode_compound(one) for one in packets)
        self.send_datagram(self._outward.protect_rtcp(plain))

    # Receiving.

    def lose_rtp(self, count: int) -> None:
        """Let the next RTP packets that arrive be lost; `lost` keeps them as they were on the wire."""
        self._to_lose = count

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that arrives makes a condition true."""
        while not condition():
            await self._news.park()

    async def take_rtp(self, count: int, ssrc: int | None = None) -> list[RtpPacket]:
        """The oldest `count` packets (of one SSRC), in the order of arrival; they are taken off the list."""
        await self.wait_until(lambda: sum(ssrc in (None, one.ssrc) for one in self.rtp) >= count)
        taken = [one for one in self.rtp if ssrc in (None, one.ssrc)][:count]
        for packet in taken:
            self.rtp.remove(packet)
        return taken

    async def take_rtcp(self, kind: type[Kind], condition: Callable[[Kind], bool] = lambda _: True) -> Kind:
        """The oldest packet of a kind that meets a condition; it and all older ones are taken off the list."""

        def matching() -> list[int]:
            return [place for place, one in enumerate(self.rtcp) if isinstance(one, kind) and condition(one)]

        await self.wait_until(lambda: bool(matching()))
        place = matching()[0]
        found = self.rtcp[place]
        del self.rtcp[: place + 1]
        assert isinstance(found, kind)
        return found

    def _receive(self, data: bytes) -> None:
        now_ns = monotonic_ns()
        if data[0] < 4:
            assert self._ice is not None
            self._ice.receive_datagram(data, now_ns)
        elif data[0] < 64:
            assert self._dtls is not None
            self._dtls.receive_datagram(data, now_ns)
        elif 192 <= data[1] <= 223:
            assert self._inward is not None
            packets = decode_compound(self._inward.unprotect_rtcp(data))
            self.rtcp += packets
            self.rtcp_arrivals += [(now_ns / 1e9, packet) for packet in packets]
        elif self._to_lose:
            self._to_lose -= 1
            self.lost.append(data)
        else:
            assert self._inward is not None
            self.wire.append(data)
            self.rtp.append(RtpPacket.decode(self._inward.unprotect(data)))
        self._flush()
        self._news.unpark_all()

    def _flush(self) -> None:
        assert self._ice is not None
        datagrams = self._ice.datagrams_to_send()
        if self._dtls is not None:
            if self._ice.state is IceClientState.CONNECTED and self._dtls.state.value == "new":
                self._dtls.start(monotonic_ns())
            datagrams += self._dtls.datagrams_to_send()
            while (event := self._dtls.next_event()) is not None:
                if isinstance(event, DtlsConnected):
                    self._take_keys(event)
                else:
                    self.dtls_end = event
        for datagram in datagrams:
            self.send_datagram(datagram)

    def _take_keys(self, keys: DtlsConnected) -> None:
        size = keys.profile.key_bytes
        self._keys = keys
        self._inward = SrtpSession(
            keys.profile, keys.remote_key[:size], keys.remote_key[size:], SrtpDirection.INBOUND
        )
        self._outward = SrtpSession(
            keys.profile, keys.local_key[:size], keys.local_key[size:], SrtpDirection.OUTBOUND
        )

    def _next_timeout_s(self) -> float:
        assert self._ice is not None
        timers = [
            self._ice.next_timeout_ns(),
            self._dtls.next_timeout_ns() if self._dtls is not None else None,
        ]
        due = [one for one in timers if one is not None]
        return max(0, min(due) - monotonic_ns()) / 1e9 if due else float("inf")
