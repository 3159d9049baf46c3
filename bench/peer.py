"""One peer of the load generator, set up as a browser would: WebSocket session, offer and answer, ICE, DTLS, SRTP.

Handshakes run on Trio over the peer's own UDP socket. When they are done the socket and the SRTP sessions are handed
to the compiled loop, and nothing here touches them again; the WebSocket stays open, for it is what keeps the session.
"""

import secrets
import socket
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import dataclass
from enum import Enum
from time import monotonic_ns
from typing import Final

import trio

import voicebot
from bench.errors import BenchError, PeerLostError
from bench.generator import Receiver, Sender
from bench.ice_client import IceClient, IceConnected, IceFailed
from bench.offer import (
    PAYLOAD_TYPES,
    LocalTransport,
    RemoteTransport,
    read_answer,
    write_publishing_offer,
    write_subscribing_offer,
)
from bench.payload import PayloadKind
from bench.sockets import open_media_socket, socket_inode
from media.srtp import SrtpDirection, SrtpProfile, SrtpSession
from relay.certificate import Certificate
from relay.dtls import DtlsClosed, DtlsConnected, DtlsFailed, DtlsRole, DtlsState, DtlsTransport
from relay.dtls import SrtpProfile as DtlsSrtpProfile
from relay.ice import IceCredentials
from signaling.messages import MediaState

MEDIA_TIMEOUT_S: Final = 30.0
SIGNALING_TIMEOUTS: Final = voicebot.Timeouts(connect_s=60.0, request_s=60.0, keepalive_s=60.0)
DATAGRAM_BYTES: Final = 2048
_SOURCES: Final = {PayloadKind.AUDIO: "microphone", PayloadKind.VIDEO: "camera"}


class Milestone(Enum):
    """What a client has reached on its way to media, in this order."""

    OPENED = "TCP + WebSocket"
    JOINED = "join reply"
    ANSWERED = "offer -> answer"
    ICE = "ICE"
    DTLS = "DTLS"
    MEDIA = "first packet"


Note = Callable[[Milestone], None]
"""Told at the moment a milestone is reached."""


def ignore(_milestone: Milestone) -> None:
    """Do not note anything."""


@dataclass(frozen=True)
class PeerSettings:
    """What all peers of a run have in common."""

    url: str
    lobby: str
    kind: PayloadKind
    profile: SrtpProfile
    certificate: Certificate
    allow_address: Callable[[str], bool]  # may media be sent to this address?


@dataclass(frozen=True)
class MediaPeer:
    """A connected peer.

    Its socket and SRTP session live in the `owned` given to `publish` and `subscribe`, not in that task: when a peer
    fails, the compiled loop still uses them until it has been stopped.
    """

    socket: socket.socket
    srtp: SrtpSession
    consent: bytes  # a STUN request that renews the relay's consent (RFC 7675), the same bytes every time
    remote: tuple[str, int]
    ssrc: int = 0
    payload_type: int = 0
    track_id: str = ""

    @property
    def socket_inode(self) -> int:
        """The number under which `/proc/net/udp` lists the socket."""
        return socket_inode(self.socket)

    def as_sender(self) -> Sender:
        """As the compiled loop wants a publisher."""
        return Sender(self.socket.fileno(), self.srtp.address, self.ssrc, self.payload_type, self.consent)

    def as_receiver(self) -> Receiver:
        """As the compiled loop wants a subscriber."""
        return Receiver(self.socket.fileno(), self.srtp.address, self.consent)


async def publish(
    settings: PeerSettings,
    owned: ExitStack,
    name: str,
    *,
    task_status: trio.TaskStatus[MediaPeer] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Be a publisher of one track until cancelled; started when packets may be sent. Raises: as `_stay`."""
    ssrc = secrets.randbelow(2**32 - 1) + 1
    local = local_transport(settings)
    offer = write_publishing_offer(local, settings.kind, ssrc)
    async with _join(settings, name) as connection:
        answer = await connection.offer(offer, publish={"0": _SOURCES[settings.kind]})
        if len(answer.published) != 1:
            raise BenchError(f"the relay did not publish the track that {name} offered")
        connected = await connect_media(settings, local, answer.sdp, owned)
        srtp = owned.enter_context(open_srtp(connected.keys, SrtpDirection.OUTBOUND))
        track_id = answer.published[0].track_id
        task_status.started(connected.as_peer(srtp, ssrc, PAYLOAD_TYPES[settings.kind], track_id))
        await _stay(connection, name)


async def subscribe(
    settings: PeerSettings,
    owned: ExitStack,
    name: str,
    track_ids: Sequence[str],
    *,
    task_status: trio.TaskStatus[MediaPeer] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Be a subscriber of all these tracks until cancelled; started when packets may arrive. Raises: as `_stay`."""
    local = local_transport(settings)
    offer = write_subscribing_offer(local, settings.kind, len(track_ids))
    async with _join(settings, name) as connection:
        wanted = {str(index): track_id for index, track_id in enumerate(track_ids)}
        answer = await connection.offer(offer, subscribe=wanted)
        if answer.refused:
            raise BenchError(f"the relay refused {name} a subscription: {answer.refused[0].error}")
        connected = await connect_media(settings, local, answer.sdp, owned)
        srtp = owned.enter_context(open_srtp(connected.keys, SrtpDirection.INBOUND))
        task_status.started(connected.as_peer(srtp))
        await _stay(connection, name)


@dataclass(frozen=True)
class Connected:
    """What the handshakes leave behind."""

    socket: socket.socket
    keys: DtlsConnected
    consent: bytes
    remote: tuple[str, int]

    def as_peer(
        self, srtp: SrtpSession, ssrc: int = 0, payload_type: int = 0, track_id: str = ""
    ) -> MediaPeer:
        """Return the peer, with its SRTP session."""
        return MediaPeer(self.socket, srtp, self.consent, self.remote, ssrc, payload_type, track_id)


def _join(settings: PeerSettings, name: str) -> AbstractAsyncContextManager[voicebot.Connection]:
    return voicebot.connect(settings.url, lobby=settings.lobby, name=name, timeouts=SIGNALING_TIMEOUTS)


async def _stay(connection: voicebot.Connection, name: str) -> None:
    """Keep the session until cancelled. A lost WebSocket is replaced and the media goes on; not so a lost session.

    Raises: PeerLostError when there is no media any more: what is measured then would be nothing.
    """
    async for event in connection.events():
        match event:
            case MediaState(state="closed", reason=reason):
                raise PeerLostError(f"the relay ended the media of {name}: {reason or 'it gives no reason'}")
            case voicebot.Reconnected(resumed=False):
                raise PeerLostError(
                    f"{name} lost its session: the generator, or the relay, was too busy to answer keep-alives"
                )


def local_transport(settings: PeerSettings) -> LocalTransport:
    """Return fresh credentials for one offer."""
    credentials = IceCredentials(secrets.token_hex(4), secrets.token_hex(16))
    return LocalTransport(credentials, settings.certificate.fingerprint())


async def connect_media(
    settings: PeerSettings,
    local: LocalTransport,
    sdp: str,
    owned: ExitStack,
    note: Note = ignore,
) -> Connected:
    """Open the peer's socket, and do ICE and DTLS over it as the answer `sdp` says. `owned` will close the socket.

    Raises: BenchError.
    """
    remote = read_answer(sdp)
    address = _choose_candidate(settings, remote)
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    media = owned.enter_context(open_media_socket(family, "::" if family == socket.AF_INET6 else "0.0.0.0"))  # noqa: S104 - the source address is the route's choice
    media.connect(address)
    ice = IceClient(local.ice, remote.ice, tie_breaker=secrets.randbits(64))
    dtls = DtlsTransport(
        settings.certificate, remote.role, remote.fingerprints, (DtlsSrtpProfile[settings.profile.name],)
    )
    try:
        with trio.fail_after(MEDIA_TIMEOUT_S):
            keys = await _shake_hands(trio.socket.from_stdlib_socket(media), ice, dtls, note)
    except trio.TooSlowError:
        raise BenchError(
            f"no DTLS handshake with {address[0]}:{address[1]} within {MEDIA_TIMEOUT_S:g} s: is its UDP port open?"
        ) from None
    return Connected(media, keys, _consent_request(ice), address)


def _choose_candidate(settings: PeerSettings, remote: RemoteTransport) -> tuple[str, int]:
    for address in remote.candidates:
        if settings.allow_address(address[0]):
            return address
    offered = ", ".join(f"{host}:{port}" for host, port in remote.candidates) or "none"
    raise BenchError(
        f"the relay offers no address that media may be sent to (offered: {offered}); "
        "only addresses of this machine are used unless --allow-remote is given"
    )


async def _shake_hands(
    media: trio.socket.SocketType, ice: IceClient, dtls: DtlsTransport, note: Note
) -> DtlsConnected:
    """Drive both protocols until DTLS has made the keys.

    Raises: BenchError when either fails.
    """
    ice.start(monotonic_ns())
    if dtls.role is DtlsRole.SERVER:
        dtls.start(monotonic_ns())  # the relay's ClientHello may overtake its answer to our check
    while True:
        _follow_ice(ice, dtls, note)
        keys = _follow_dtls(dtls)
        for datagram in (*ice.datagrams_to_send(), *dtls.datagrams_to_send()):
            await media.send(datagram)
        if keys is not None:
            note(Milestone.DTLS)
            return keys
        timers = [at for at in (ice.next_timeout_ns(), dtls.next_timeout_ns()) if at is not None]
        with trio.move_on_after(max(0, min(timers) - monotonic_ns()) / 1e9 if timers else MEDIA_TIMEOUT_S):
            datagram = await media.recv(DATAGRAM_BYTES)
            receiver = ice if datagram[:1] < b"\x04" else dtls
            receiver.receive_datagram(datagram, monotonic_ns())
        ice.handle_timeout(monotonic_ns())
        dtls.handle_timeout(monotonic_ns())


def _follow_ice(ice: IceClient, dtls: DtlsTransport, note: Note) -> None:
    while (event := ice.next_event()) is not None:
        match event:
            case IceFailed():
                raise BenchError(f"ICE failed: {event.reason}")
            case IceConnected():
                note(Milestone.ICE)
                if dtls.state is DtlsState.NEW:
                    dtls.start(monotonic_ns())


def _follow_dtls(dtls: DtlsTransport) -> DtlsConnected | None:
    while (event := dtls.next_event()) is not None:
        match event:
            case DtlsConnected():
                return event
            case DtlsFailed():
                raise BenchError(f"DTLS failed: {event.code}: {event.reason}")
            case DtlsClosed():
                raise BenchError("the relay closed the DTLS association")
    return None


def open_srtp(keys: DtlsConnected, direction: SrtpDirection) -> SrtpSession:
    """Open the session that protects what we send, or unprotects what we receive."""
    profile = SrtpProfile[keys.profile.name]
    material = keys.local_key if direction is SrtpDirection.OUTBOUND else keys.remote_key
    return SrtpSession(profile, material[: profile.key_bytes], material[profile.key_bytes :], direction)


def _consent_request(ice: IceClient) -> bytes:
    """Return the check that is next due. Sending it again and again is a retransmission, which STUN answers."""
    due_ns = ice.next_timeout_ns()
    assert due_ns is not None
    ice.handle_timeout(due_ns)
    (request,) = ice.datagrams_to_send()
    return request
