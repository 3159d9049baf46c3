"""DTLS 1.2 for the keys of SRTP with one peer (RFC 6347, RFC 5764, RFC 7714), sans-IO, over pyOpenSSL's memory BIOs.

    NEW --start--> CONNECTING --connect--> CONNECTED --close--> CLOSED
                       |                       |
                       +--------- fail --------+--> FAILED

No key leaves before the peer's certificate matched a fingerprint of its session description. Anything that ends the
association is an event, never an exception; after the end datagrams are ignored.

Retransmission is done by two timers. OpenSSL's waits a second at first, which pyOpenSSL cannot change, and reads its own
clock: `handle_timeout` asks it, and too early a call changes nothing. Before it, this module repeats its last flight
byte for byte after 0.2 s and 0.6 s: whoever has those records drops them as replays, whoever lost them goes on.

Not here: DTLS 1.3 (other record headers, another exporter), application data (received and dropped: SCTP is not
offered), renegotiation, session resumption, the cookie exchange (ICE has proved the address already).
"""

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from functools import lru_cache
from typing import Final

from OpenSSL import SSL

from media.srtp import SrtpProfile
from relay.certificate import Certificate, Fingerprint, FingerprintVerifier
from relay.dtls_records import pack_datagrams, split_records_untrusted
from relay.errors import LocalProtocolError

MAX_DATAGRAM_BYTES: Final = 1200  # what every path carries; the same limit as for media (RFC 8834)
MAX_HANDSHAKE_BYTES: Final = 65_536  # what we read of one peer's handshake: thirty times that of a browser
HANDSHAKE_TIMEOUT_NS: Final = 30_000_000_000
REPEAT_DELAYS_NS: Final = (200_000_000, 400_000_000)  # then OpenSSL's timer, at 1 s
FAILURES: Final = {
    "handshake_failed": "an alert, or a message OpenSSL does not accept",
    "handshake_timeout": "the handshake did not end in time",
    "handshake_too_large": "the peer sent more than any handshake needs",
    "fingerprint_mismatch": "the certificate is not the one that the session description announced",
    "no_srtp_profile": "no SRTP protection profile in common",
    "connection_failed": "a fatal alert after the handshake",
}
_DTLS_1_2: Final = 0xFEFD
_BIO_READ_BYTES: Final = 65_536
_EXPORTER_LABEL: Final = b"EXTRACTOR-dtls_srtp"
_RELEASE_BUFFERS: Final = 0x10  # SSL_MODE_RELEASE_BUFFERS, which pyOpenSSL does not name
# AEAD with forward secrecy only; RFC 8827 section 6.5 requires the first, RSA is for peers with an old certificate.
_CIPHERS: Final = b":".join(
    [
        b"ECDHE-ECDSA-AES128-GCM-SHA256",
        b"ECDHE-RSA-AES128-GCM-SHA256",
        b"ECDHE-ECDSA-CHACHA20-POLY1305",
        b"ECDHE-RSA-CHACHA20-POLY1305",
        b"ECDHE-ECDSA-AES256-GCM-SHA384",
        b"ECDHE-RSA-AES256-GCM-SHA384",
    ]
)


DEFAULT_PROFILES: Final = (SrtpProfile.AEAD_AES_128_GCM, SrtpProfile.AES128_CM_SHA1_80)
"""In our order of preference: GCM costs the packet path less (DESIGN.md section 5)."""


class DtlsRole(Enum):
    """Who sends the ClientHello: `a=setup:active` is the client."""

    CLIENT = "client"
    SERVER = "server"


class DtlsState(Enum):
    """See the module docstring."""

    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    CLOSED = "closed"
    FAILED = "failed"


class DtlsAction(Enum):
    """What changes the state."""

    START = "start"
    CONNECT = "connect"
    CLOSE = "close"
    FAIL = "fail"


TRANSITIONS: Final[dict[DtlsState, dict[DtlsAction, DtlsState]]] = {
    DtlsState.NEW: {DtlsAction.START: DtlsState.CONNECTING, DtlsAction.CLOSE: DtlsState.CLOSED},
    DtlsState.CONNECTING: {
        DtlsAction.CONNECT: DtlsState.CONNECTED,
        DtlsAction.CLOSE: DtlsState.CLOSED,
        DtlsAction.FAIL: DtlsState.FAILED,
    },
    DtlsState.CONNECTED: {DtlsAction.CLOSE: DtlsState.CLOSED, DtlsAction.FAIL: DtlsState.FAILED},
    DtlsState.CLOSED: {},
    DtlsState.FAILED: {},
}


class DtlsVerdict(IntEnum):
    """What became of a datagram."""

    PROCESSED = 0  # given to OpenSSL, which may still have dropped records of it
    MALFORMED = 1  # does not begin with a whole record
    IGNORED = 2  # before the start or after the end


@dataclass(frozen=True, slots=True)
class DtlsConnected:
    """The handshake is done and the peer is who it should be.

    The keys are the SRTP master key followed by the master salt, `profile.key_bytes + profile.salt_bytes` long, as
    libsrtp takes them. `local_key` protects what we send.
    """

    profile: SrtpProfile
    local_key: bytes = field(repr=False)
    remote_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class DtlsFailed:
    """There is no association, or no longer; `code` is one of `FAILURES`."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class DtlsClosed:
    """The peer ended the association (close_notify)."""


DtlsEvent = DtlsConnected | DtlsFailed | DtlsClosed


class DtlsTransport:
    """One association. After each call with `now_ns`, drain `datagrams_to_send` and `next_event`, set the timer.

    Raises RemoteProtocolError("invalid_fingerprint") as `FingerprintVerifier` does.
    Cost: 0.27 ms of CPU in either role (`python -m bench.handshake_cost`), and 70 to 90 KB while it lasts (one EPYC core).
    """

    def __init__(
        self,
        certificate: Certificate,
        role: DtlsRole,
        remote_fingerprints: Sequence[Fingerprint],
        profiles: tuple[SrtpProfile, ...] = DEFAULT_PROFILES,
    ) -> None:
        self.role: Final = role
        self._verifier = FingerprintVerifier(remote_fingerprints)
        self._context = _ssl_context(certificate, profiles)
        self._connection: SSL.Connection | None = None
        self._state = DtlsState.NEW
        self._events: deque[DtlsEvent] = deque()
        self._outbox: list[bytes] = []
        self._handshake_bytes = 0
        self._flight: list[bytes] = []
        self._repeats = 0
        self._repeat_at_ns: int | None = None
        self._openssl_timeout_at_ns: int | None = None
        self._give_up_at_ns: int | None = None

    @property
    def state(self) -> DtlsState:
        """The present state."""
        return self._state

    def start(self, now_ns: int) -> None:
        """Begin: the client sends its first flight, the server listens. Raises LocalProtocolError when not NEW."""
        self._change(DtlsAction.START)
        self._connection = connection = SSL.Connection(self._context)
        connection.set_ciphertext_mtu(MAX_DATAGRAM_BYTES)
        if self.role is DtlsRole.CLIENT:
            connection.set_connect_state()
        else:
            connection.set_accept_state()
        self._give_up_at_ns = now_ns + HANDSHAKE_TIMEOUT_NS
        self._advance(connection, now_ns)

    def receive_datagram(self, data: bytes, now_ns: int) -> DtlsVerdict:
        """Handle one datagram of the DTLS range (RFC 7983), any bytes; it must come from an address of the peer."""
        connection = self._connection
        if connection is None:
            return DtlsVerdict.IGNORED
        records = b"".join(split_records_untrusted(data))
        if not records:
            return DtlsVerdict.MALFORMED
        if self._state is DtlsState.CONNECTING:
            self._handshake_bytes += len(data)
            if self._handshake_bytes > MAX_HANDSHAKE_BYTES:
                self._fail(
                    "handshake_too_large", f"no end of the handshake after {MAX_HANDSHAKE_BYTES} bytes"
                )
                return DtlsVerdict.PROCESSED
        connection.bio_write(records)
        self._advance(connection, now_ns)
        return DtlsVerdict.PROCESSED

    def next_timeout_ns(self) -> int | None:
        """Return when `handle_timeout` is next due, or None."""
        timers = (self._repeat_at_ns, self._openssl_timeout_at_ns, self._give_up_at_ns)
        return min((timer for timer in timers if timer is not None), default=None)

    def handle_timeout(self, now_ns: int) -> None:
        """Do what is due; harmless when nothing is."""
        connection = self._connection
        if connection is None:
            return
        if _is_due(self._give_up_at_ns, now_ns):
            seconds = HANDSHAKE_TIMEOUT_NS // 1_000_000_000
            self._fail("handshake_timeout", f"no end of the handshake after {seconds} s")
        elif _is_due(self._openssl_timeout_at_ns, now_ns):
            try:
                connection.DTLSv1_handle_timeout()
            except SSL.Error as error:
                self._fail("handshake_timeout", _describe(error))
            else:
                self._advance(connection, now_ns)
        elif _is_due(self._repeat_at_ns, now_ns):
            self._outbox += self._flight
            self._repeats += 1
            self._schedule_repeat(now_ns)

    def datagrams_to_send(self) -> list[bytes]:
        """Return the datagrams not yet taken, each of whole records and at most `MAX_DATAGRAM_BYTES` long."""
        datagrams, self._outbox = self._outbox, []
        return datagrams

    def next_event(self) -> DtlsEvent | None:
        """Return the oldest event not yet taken."""
        return self._events.popleft() if self._events else None

    def close(self) -> None:
        """End the association: close_notify to the peer if there is one, no event. Idempotent, also after a failure."""
        if DtlsAction.CLOSE in TRANSITIONS[self._state]:
            self._end(DtlsAction.CLOSE)

    def _advance(self, connection: SSL.Connection, now_ns: int) -> None:
        """Let OpenSSL consume what it was given, and take what it has to say."""
        try:
            if self._state is DtlsState.CONNECTING:
                connection.do_handshake()
                self._finish_handshake(connection)
            while self._state is DtlsState.CONNECTED:
                connection.recv(_BIO_READ_BYTES)  # alerts, repeated flights; application data is dropped
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self._close_by_peer()
        except SSL.Error as error:
            code = "handshake_failed" if self._state is DtlsState.CONNECTING else "connection_failed"
            self._fail(code, _describe(error))
        if self._connection is None:
            return
        sent = self._take_output(connection)
        left_s = connection.DTLSv1_get_timeout() if self._state is DtlsState.CONNECTING else None
        self._openssl_timeout_at_ns = None if left_s is None else now_ns + int(left_s * 1e9)
        if self._state is DtlsState.CONNECTING and sent:
            self._flight = sent
            self._repeats = 0
            self._schedule_repeat(now_ns)

    def _finish_handshake(self, connection: SSL.Connection) -> None:
        presented = connection.get_peer_certificate()
        algorithm = self._verifier.algorithm
        digest = b"" if presented is None else presented.digest(algorithm.replace("-", ""))
        if not self._verifier.accepts(bytes.fromhex(digest.replace(b":", b"").decode())):
            self._fail(
                "fingerprint_mismatch",
                f"the peer's certificate is {algorithm} {digest.decode() or 'missing'}",
            )
            return
        name = connection.get_selected_srtp_profile().decode()
        profile = next((one for one in SrtpProfile if one.openssl_name == name), None)
        if profile is None:
            self._fail("no_srtp_profile", "the peer supports none of the SRTP protection profiles offered")
            return
        client_key, server_key = _export_srtp_keys(connection, profile)
        local, remote = (client_key, server_key) if self.role is DtlsRole.CLIENT else (server_key, client_key)
        self._change(DtlsAction.CONNECT)
        self._stop_timers()
        self._events.append(DtlsConnected(profile, local, remote))

    def _close_by_peer(self) -> None:
        if self._state is DtlsState.CONNECTING:
            self._fail("handshake_failed", "the peer closed during the handshake")
        else:
            self._end(DtlsAction.CLOSE)
            self._events.append(DtlsClosed())

    def _fail(self, code: str, reason: str) -> None:
        self._end(DtlsAction.FAIL)
        self._events.append(DtlsFailed(code, reason))

    def _end(self, action: DtlsAction) -> None:
        """Say goodbye as far as OpenSSL can at this point, and let go of it."""
        self._change(action)
        self._stop_timers()
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with suppress(SSL.Error):  # amid a handshake it cannot; a fatal alert may be waiting all the same
            connection.shutdown()
        self._take_output(connection)

    def _take_output(self, connection: SSL.Connection) -> list[bytes]:
        chunks = []
        try:
            while True:
                chunks.append(connection.bio_read(_BIO_READ_BYTES))
        except SSL.WantReadError:
            pass
        datagrams = pack_datagrams(split_records_untrusted(b"".join(chunks)), MAX_DATAGRAM_BYTES)
        self._outbox += datagrams
        return datagrams

    def _schedule_repeat(self, now_ns: int) -> None:
        more = self._repeats < len(REPEAT_DELAYS_NS)
        self._repeat_at_ns = now_ns + REPEAT_DELAYS_NS[self._repeats] if more else None

    def _stop_timers(self) -> None:
        self._repeat_at_ns = self._openssl_timeout_at_ns = self._give_up_at_ns = None
        self._flight = []

    def _change(self, action: DtlsAction) -> None:
        following = TRANSITIONS[self._state].get(action)
        if following is None:
            raise LocalProtocolError(f"cannot {action.value} a DTLS association that is {self._state.value}")
        self._state = following


def _is_due(timer_ns: int | None, now_ns: int) -> bool:
    return timer_ns is not None and timer_ns <= now_ns


def _describe(error: SSL.Error) -> str:
    """Return OpenSSL's reasons, which pyOpenSSL keeps as a list of (library, function, reason)."""
    queue = error.args[0] if error.args else None
    if isinstance(queue, list):
        return "; ".join(str(entry[-1]) for entry in queue) or "unknown error"
    return str(error) or type(error).__name__


def _export_srtp_keys(connection: SSL.Connection, profile: SrtpProfile) -> tuple[bytes, bytes]:
    """Return the client's and the server's master key and salt (RFC 5764 section 4.2)."""
    key, salt = profile.key_bytes, profile.salt_bytes
    material = connection.export_keying_material(_EXPORTER_LABEL, 2 * (key + salt))
    salts = material[2 * key :]
    return material[:key] + salts[:salt], material[key : 2 * key] + salts[salt:]


# A context costs 0.25 ms and parses the certificate; it is shared by all peers of a relay. Small on purpose: it keeps
# private keys alive.
@lru_cache(maxsize=4)
def _ssl_context(certificate: Certificate, profiles: tuple[SrtpProfile, ...]) -> SSL.Context:
    if not profiles:
        raise LocalProtocolError("at least one SRTP protection profile is needed")
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_min_proto_version(_DTLS_1_2)
    context.set_max_proto_version(_DTLS_1_2)
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_QUERY_MTU | SSL.OP_NO_RENEGOTIATION)
    context.set_mode(_RELEASE_BUFFERS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # each handshake must show the certificate
    # Any chain is let through here: trust is the fingerprint, compared when the handshake is done.
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
    context.set_cipher_list(_CIPHERS)
    context.use_certificate(certificate.x509_certificate)
    context.use_privatekey(certificate.private_key)
    context.set_tlsext_use_srtp(":".join(profile.openssl_name for profile in profiles).encode())
    return context


__all__ = [
    "DEFAULT_PROFILES",
    "TRANSITIONS",
    "DtlsAction",
    "DtlsClosed",
    "DtlsConnected",
    "DtlsEvent",
    "DtlsFailed",
    "DtlsRole",
    "DtlsState",
    "DtlsTransport",
    "DtlsVerdict",
    "Fingerprint",
    "SrtpProfile",
]
