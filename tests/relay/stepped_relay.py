"""A relay that moves only when told: real router, tables and kernels, but no thread, no ICE and no DTLS.

Each worker's kernel is run for one round at a time, so that what happens when is up to the test, which then can
compare with a model.
"""

import secrets
import socket
from dataclasses import dataclass, field

from client_sdp import Section, read_answer, write_offer
from media_peer import CERTIFICATE
from rtcp_packets import RtcpPacket, decode_compound, encode_compound
from rtp_packets import RtpPacket

from media.keys import PeerKeys
from media.operations import Operation
from media.srtp import SrtpDirection, SrtpProfile, SrtpSession
from media.worker import run_worker
from relay import NegotiationResult, Peer, RelayConfig, Router, Track
from relay.ice import IceCredentials
from relay.udp import encode_address

PROFILE = SrtpProfile.AEAD_AES_128_GCM
ROUNDS = 3
"""A packet needs two: one at its publisher's worker, one behind the tap. The third shows that nothing is left."""


class SteppedRelay:
    def __init__(self, config: RelayConfig) -> None:
        self.router = Router(config)

    def step(self) -> None:
        """Let every worker apply its commands, take what has arrived and send what follows."""
        for _ in range(ROUNDS):
            for worker in self.router.workers:
                worker.post(Operation.STOP, 0)
                worker.memory.context["stopping"] = 0
                run_worker(worker.memory.address)
                worker._acknowledge(worker._applied())

    def rows_in_use(self) -> set[int]:
        return {count for worker in self.router.workers for count in worker.rows_in_use().values()}

    def close(self) -> None:
        self.router.close()
        for worker in self.router.workers:
            worker._acknowledge(worker._posted)
            worker.release()


@dataclass
class SteppedPeer:
    """A client whose keys and address are simply put into the tables."""

    relay: SteppedRelay
    peer: Peer
    sections: tuple[Section, ...] = ()
    ssrcs: dict[str, int] = field(default_factory=dict)
    """What the relay sends, by mid."""

    def __post_init__(self) -> None:
        self._rtp: list[bytes] = []
        self._rtcp: list[RtcpPacket] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        worker = self.peer.worker
        self._socket.connect(("127.0.0.1", worker.port))
        inward, outward = (
            (secrets.token_bytes(PROFILE.key_bytes), secrets.token_bytes(PROFILE.salt_bytes))
            for _ in range(2)
        )
        self._protect = SrtpSession(PROFILE, *inward, SrtpDirection.OUTBOUND)
        self._unprotect = SrtpSession(PROFILE, *outward, SrtpDirection.INBOUND)
        self.peer.transport._keys = keys = PeerKeys(PROFILE, b"".join(inward), b"".join(outward))
        sockaddr, length = encode_address(socket.AF_INET, self._socket.getsockname())
        worker.post(Operation.BIND_ADDRESS, self.peer.row.index, (1, length), sockaddr)
        worker.post(Operation.SET_KEYS, self.peer.row.index, keys.values, keys.blob)

    def offer(self, *sections: Section, publish: list[str], subscribe: dict[str, Track]) -> NegotiationResult:
        ice = IceCredentials("same", "s" * 22)
        sdp = write_offer(sections, ice=ice, fingerprint=CERTIFICATE.fingerprint(), setup="active")
        result = self.peer.accept_offer(sdp, publish=dict.fromkeys(publish, ""), subscribe=subscribe)
        self.sections = sections
        answered = read_answer(result.sdp).sections
        self.ssrcs = {mid: one.ssrc for mid, one in answered.items() if one.ssrc is not None}
        return result

    def send(self, packet: RtpPacket) -> None:
        self._socket.send(self._protect.protect(packet.encode()))

    def send_rtcp(self, *packets: RtcpPacket) -> None:
        self._socket.send(self._protect.protect_rtcp(encode_compound(*packets)))

    def receive(self) -> list[RtpPacket]:
        """RTP that has come since the last call."""
        return [self.decode(datagram) for datagram in self.receive_datagrams()]

    def receive_datagrams(self) -> list[bytes]:
        """Likewise, as it was on the wire."""
        self._take()
        datagrams, self._rtp = self._rtp, []
        return datagrams

    def receive_rtcp(self) -> list[RtcpPacket]:
        """RTCP that has come since the last call."""
        self._take()
        packets, self._rtcp = self._rtcp, []
        return packets

    def decode(self, datagram: bytes) -> RtpPacket:
        """Read SRTP; once only, for it protects against replay."""
        return RtpPacket.decode(self._unprotect.unprotect(datagram))

    def _take(self) -> None:
        while True:
            try:
                datagram = self._socket.recv(2048)
            except BlockingIOError:
                return
            if 192 <= datagram[1] <= 223:
                self._rtcp += decode_compound(self._unprotect.unprotect_rtcp(datagram))
            else:
                self._rtp.append(datagram)

    def close(self) -> None:
        self.peer.close("leaves")
        self._socket.close()
        self._protect.close()
        self._unprotect.close()
