"""One peer's path through the network: ICE finds it, DTLS secures it, the worker's row uses it.

Glue between the sans-IO protocols and a worker: what they want sent goes out of the worker's socket, what they find
out becomes commands. Everything runs on the Trio thread and nothing waits.
"""

from collections.abc import Callable
from typing import Final

from media.keys import PeerKeys
from media.operations import Operation
from media.sha1 import BLOCK_BYTES
from media.tables import USERNAME_BYTES
from relay.answer import choose_setup
from relay.certificate import Certificate
from relay.dtls import DtlsClosed, DtlsConnected, DtlsEvent, DtlsFailed, DtlsRole, DtlsTransport
from relay.errors import RemoteProtocolError
from relay.ice import (
    AddressForgotten,
    AddressSelected,
    AddressValidated,
    CredentialsProved,
    IceCredentials,
    IceLiteAgent,
    StunVerdict,
    new_credentials,
)
from relay.offered import OfferedTransport
from relay.stun import Address
from relay.udp import encode_address, socket_address
from relay.worker import Row, Worker

_ROLES: Final = {"passive": DtlsRole.SERVER, "active": DtlsRole.CLIENT}


class Transport:
    """ICE, DTLS and SRTP keys of one peer.

    `connected` is called once, when packets can flow; `ended` once, with the reason, when DTLS fails or is closed.
    `announce` is told every local ufrag a check may name from now on.
    """

    def __init__(
        self,
        *,
        worker: Worker,
        row: Row,
        certificate: Certificate,
        announce: Callable[[str], None],
        connected: Callable[[], None],
        ended: Callable[[str], None],
    ) -> None:
        self._worker = worker
        self._row = row
        self._certificate = certificate
        self._announce = announce
        self._connected = connected
        self._ended = ended
        self._ice = IceLiteAgent(new_credentials())
        self._remote: OfferedTransport | None = None
        self._dtls: DtlsTransport | None = None
        self._keys: PeerKeys | None = None
        self._unsent: list[bytes] = []
        self.setup: str | None = None
        announce(self.local.ufrag)

    @property
    def local(self) -> IceCredentials:
        """The ICE credentials to answer with."""
        return self._ice.local

    @property
    def valid_ufrags(self) -> tuple[str, ...]:
        """Local ufrags under which checks of this peer may come."""
        return self._ice.valid_ufrags

    def last_heard_ns(self) -> int:
        """When the peer last proved that it is there: an ICE check or an SRTP packet."""
        return max(self._ice.last_check_ns or 0, self._worker.last_received_ns(self._row))

    def check(self, offered: OfferedTransport) -> None:
        """Raise RemoteProtocolError if `accept` would; nothing changes."""
        if self._remote is not None and _fingerprints(offered) != _fingerprints(self._remote):
            raise RemoteProtocolError(
                "fingerprint_changed",
                "the offer comes from another DTLS endpoint than the one before; close that peer and begin anew",
            )
        choose_setup(offered, self.setup)

    def accept(self, offered: OfferedTransport, now_ns: int) -> None:
        """Take the client's side of the transport: the first one, the same again, or an ICE restart.

        Raises: RemoteProtocolError("fingerprint_changed" or "setup_conflict").
        """
        self.check(offered)
        if self._remote is None:
            self._ice.set_remote(offered.ice)
        elif offered.ice != self._remote.ice:
            self._ice.restart(new_credentials(), offered.ice)
            self._announce(self.local.ufrag)
        self._remote = offered
        if self._dtls is None:
            self.setup = choose_setup(offered)
            self._dtls = DtlsTransport(self._certificate, _ROLES[self.setup], offered.fingerprints)
            self._dtls.start(now_ns)
            self._drain_dtls(self._dtls)

    def receive_stun(self, data: bytes, source: Address, now_ns: int) -> StunVerdict:
        """Handle a connectivity check."""
        self._ice.note_check(self._worker.last_check_ns(self._row))
        verdict = self._ice.receive_datagram(data, source, now_ns)
        family = self._worker.socket.family
        # Bindings first: the peer may send media the moment it has our answer.
        while (event := self._ice.next_event()) is not None:
            match event:
                case AddressValidated():
                    self._bind_address(event.address, select=False)
                case AddressSelected():
                    self._bind_address(event.address, select=True)
                case AddressForgotten():
                    sockaddr, _ = encode_address(family, event.address)
                    self._worker.post(Operation.UNBIND_ADDRESS, self._row.index, (), sockaddr)
                case CredentialsProved():
                    self._set_consent(event)
        for answer, destination in self._ice.datagrams_to_send():
            self._worker.send_datagram(answer, socket_address(family, destination))
        if self._unsent and self._dtls is not None:
            self._drain_dtls(self._dtls)
        return verdict

    def receive_dtls(self, data: bytes, now_ns: int) -> None:
        """Handle a datagram of the DTLS handshake; its source has been proved by ICE."""
        if self._dtls is not None:
            self._dtls.receive_datagram(data, now_ns)
            self._drain_dtls(self._dtls)

    def next_timeout_ns(self) -> int | None:
        """When `handle_timeout` is due."""
        return self._dtls.next_timeout_ns() if self._dtls is not None else None

    def handle_timeout(self, now_ns: int) -> None:
        """Retransmit what DTLS has to."""
        if self._dtls is not None:
            self._dtls.handle_timeout(now_ns)
            self._drain_dtls(self._dtls)

    def close(self) -> None:
        """Say goodbye and retire the row. The SRTP keys live until the worker has let go of them."""
        if self._dtls is not None:
            self._dtls.close()
            self._drain_dtls(self._dtls)
        self._worker.retire_row(Operation.CLOSE_PEER, self._row)
        if self._keys is not None:
            self._worker.when_applied(self._keys.close)
        # They hold the peer, and the peer this: as a cycle, OpenSSL's memory would wait for the garbage collector.
        self._announce = self._connected = self._ended = _tell_nobody

    def _bind_address(self, address: Address, *, select: bool) -> None:
        sockaddr, length = encode_address(self._worker.socket.family, address)
        self._worker.post(Operation.BIND_ADDRESS, self._row.index, (int(select), length), sockaddr)

    def _set_consent(self, proved: CredentialsProved) -> None:
        """Let the worker answer checks with these credentials. A user name that is too long for it stays with us."""
        assert (
            len(proved.password) <= BLOCK_BYTES
        )  # as an HMAC key must be, or be hashed first; ours are short
        fits = len(proved.username) <= USERNAME_BYTES
        blob = proved.password.ljust(BLOCK_BYTES, b"\0") + proved.username[:USERNAME_BYTES]
        self._worker.post(
            Operation.SET_CONSENT, self._row.index, (len(proved.username) if fits else 0,), blob
        )

    def _drain_dtls(self, dtls: DtlsTransport) -> None:
        self._unsent += dtls.datagrams_to_send()
        # Keys first: the client may send media the moment it has our last flight.
        while (event := dtls.next_event()) is not None:
            self._handle(event)
        if self._ice.selected is not None:
            destination = socket_address(self._worker.socket.family, self._ice.selected)
            for datagram in self._unsent:
                self._worker.send_datagram(datagram, destination)
            self._unsent.clear()

    def _handle(self, event: DtlsEvent) -> None:
        match event:
            case DtlsConnected():
                self._keys = keys = PeerKeys(event.profile, event.remote_key, event.local_key)
                self._worker.post(Operation.SET_KEYS, self._row.index, keys.values, keys.blob)
                self._connected()
            case DtlsFailed():
                self._ended(f"DTLS failed ({event.code}): {event.reason}")
            case DtlsClosed():
                self._ended("the client closed the connection")


def _tell_nobody(*_: object) -> None:
    """Stand in for the callbacks of a transport that is over."""


def _fingerprints(offered: OfferedTransport) -> frozenset[tuple[str, str]]:
    return frozenset((one.algorithm.lower(), one.value.upper()) for one in offered.fingerprints)
