"""DTLS associations: real handshakes, over a network that loses and lies."""

import random
import time
from dataclasses import dataclass, field

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from relay.certificate import Certificate
from relay.dtls import (
    DEFAULT_PROFILES,
    FAILURES,
    HANDSHAKE_TIMEOUT_NS,
    MAX_DATAGRAM_BYTES,
    MAX_HANDSHAKE_BYTES,
    REPEAT_DELAYS_NS,
    TRANSITIONS,
    DtlsAction,
    DtlsClosed,
    DtlsConnected,
    DtlsFailed,
    DtlsRole,
    DtlsState,
    DtlsTransport,
    DtlsVerdict,
    Fingerprint,
    SrtpProfile,
)
from relay.dtls_records import split_records_untrusted
from relay.errors import LocalProtocolError, RemoteProtocolError

OURS, THEIRS, STRANGER = (Certificate.generate() for _ in range(3))
GCM, CM = SrtpProfile.AEAD_AES_128_GCM, SrtpProfile.AES128_CM_SHA1_80
OTHER_ROLE = {DtlsRole.CLIENT: DtlsRole.SERVER, DtlsRole.SERVER: DtlsRole.CLIENT}


def announced(certificate, algorithm="sha-256"):
    return [Fingerprint(algorithm, certificate.fingerprint(algorithm))]


def make_pair(
    role=DtlsRole.SERVER,
    *,
    ours=OURS,
    theirs=THEIRS,
    our_profiles=DEFAULT_PROFILES,
    their_profiles=DEFAULT_PROFILES,
):
    us = DtlsTransport(ours, role, announced(theirs), our_profiles)
    them = DtlsTransport(theirs, OTHER_ROLE[role], announced(ours), their_profiles)
    return us, them


def start(*transports):
    for transport in sorted(transports, key=lambda one: one.role is DtlsRole.CLIENT):
        transport.start(0)


def exchange(one, other, now_ns=0):
    """Carry datagrams over a perfect network until there are none."""
    while datagrams := [(other, datagram) for datagram in one.datagrams_to_send()] + [
        (one, datagram) for datagram in other.datagrams_to_send()
    ]:
        for receiver, datagram in datagrams:
            receiver.receive_datagram(datagram, now_ns)


def drain_events(transport):
    events = []
    while (event := transport.next_event()) is not None:
        events.append(event)
    return events


def connected_pair(role=DtlsRole.SERVER, **options):
    us, them = make_pair(role, **options)
    start(us, them)
    exchange(us, them)
    return us, them, *drain_events(us), *drain_events(them)


def assert_same_keys(ours, theirs):
    assert isinstance(ours, DtlsConnected)
    assert isinstance(theirs, DtlsConnected)
    assert ours.profile is theirs.profile
    assert ours.local_key == theirs.remote_key
    assert ours.remote_key == theirs.local_key
    assert ours.local_key != ours.remote_key
    assert len(ours.local_key) == ours.profile.key_bytes + ours.profile.salt_bytes


@pytest.mark.parametrize("role", DtlsRole)
@pytest.mark.parametrize("profile", SrtpProfile)
def test_both_sides_get_the_same_keys(role, profile):
    us, them, ours, theirs = connected_pair(role, our_profiles=(profile,))
    assert_same_keys(ours, theirs)
    assert ours.profile is profile
    assert us.state is them.state is DtlsState.CONNECTED
    assert us.next_timeout_ns() is them.next_timeout_ns() is None


@pytest.mark.parametrize("algorithm", ["sha-256", "sha-384", "sha-512"])
def test_every_accepted_hash_verifies(algorithm):
    us = DtlsTransport(OURS, DtlsRole.SERVER, announced(THEIRS, algorithm))
    them = DtlsTransport(THEIRS, DtlsRole.CLIENT, announced(OURS, algorithm))
    start(us, them)
    exchange(us, them)
    assert_same_keys(us.next_event(), them.next_event())


@pytest.mark.parametrize(
    ("server_profiles", "client_profiles", "chosen"),
    [((GCM, CM), (CM, GCM), GCM), ((CM, GCM), (GCM, CM), CM), ((GCM, CM), (CM,), CM), ((CM,), (GCM, CM), CM)],
)
def test_the_servers_preferred_profile_is_chosen(server_profiles, client_profiles, chosen):
    _, _, ours, theirs = connected_pair(our_profiles=server_profiles, their_profiles=client_profiles)
    assert_same_keys(ours, theirs)
    assert ours.profile is chosen


def test_every_association_has_keys_of_its_own():
    keys = {connected_pair()[2].local_key for _ in range(5)}
    assert len(keys) == 5


def test_keys_are_not_printed():
    ours = connected_pair()[2]
    assert ours.local_key.hex() not in repr(ours)
    assert repr(ours.local_key) not in repr(ours)


def test_no_common_profile_fails():
    us, _them, *events = connected_pair(our_profiles=(GCM,), their_profiles=(CM,))
    assert us.state is DtlsState.FAILED
    assert [event.code for event in events] == ["no_srtp_profile", "no_srtp_profile"]


@pytest.mark.parametrize("role", DtlsRole)
def test_wrong_fingerprint_fails_without_keys(role):
    us = DtlsTransport(OURS, role, announced(STRANGER))
    them = DtlsTransport(THEIRS, OTHER_ROLE[role], announced(OURS))
    start(us, them)
    exchange(us, them)
    [ours] = drain_events(us)
    assert ours == DtlsFailed(
        "fingerprint_mismatch", f"the peer's certificate is sha-256 {THEIRS.fingerprint()}"
    )
    assert us.state is DtlsState.FAILED
    assert us.next_timeout_ns() is None
    theirs = drain_events(them)  # the peer is told: it does not wait for media that never comes
    assert not isinstance(theirs[-1], DtlsConnected)
    assert them.state in {DtlsState.CLOSED, DtlsState.FAILED}


def test_unacceptable_fingerprints_are_refused_before_anything_starts():
    with pytest.raises(RemoteProtocolError) as caught:
        DtlsTransport(OURS, DtlsRole.SERVER, [Fingerprint("sha-1", ":".join(["00"] * 20))])
    assert caught.value.code == "invalid_fingerprint"


def test_a_transport_needs_a_profile():
    with pytest.raises(LocalProtocolError, match="at least one SRTP"):
        DtlsTransport(OURS, DtlsRole.SERVER, announced(THEIRS), ())


def certificate_of_size(names):
    small = Certificate.generate()
    template = small.x509_certificate
    builder = x509.CertificateBuilder(template.subject, template.subject, small.private_key.public_key(), 1)
    builder = builder.not_valid_before(template.not_valid_before_utc).not_valid_after(
        template.not_valid_after_utc
    )
    names = x509.SubjectAlternativeName([x509.DNSName(f"{number:04}.example.org") for number in range(names)])
    return Certificate(
        builder.add_extension(names, critical=False).sign(small.private_key, hashes.SHA256()),
        small.private_key,
    )


@pytest.mark.parametrize("role", DtlsRole)
def test_large_certificates_are_sent_in_datagrams_within_the_limit(role):
    large = certificate_of_size(300)
    us, them = make_pair(role, ours=large)
    start(us, them)
    sizes = []
    while them.state is not DtlsState.CONNECTED or us.state is not DtlsState.CONNECTED:
        for datagram in us.datagrams_to_send():
            sizes.append(len(datagram))
            assert b"".join(split_records_untrusted(datagram)) == datagram
            them.receive_datagram(datagram, 0)
        for datagram in them.datagrams_to_send():
            us.receive_datagram(datagram, 0)
    assert max(sizes) <= MAX_DATAGRAM_BYTES
    assert sum(sizes) > 5 * MAX_DATAGRAM_BYTES
    assert_same_keys(us.next_event(), them.next_event())


@pytest.mark.parametrize("role", DtlsRole)
def test_close_tells_the_peer(role):
    us, them, *_ = connected_pair(role)
    us.close()
    assert us.state is DtlsState.CLOSED
    exchange(us, them)
    assert drain_events(us) == []
    assert drain_events(them) == [DtlsClosed()]
    assert them.state is DtlsState.CLOSED


def test_close_is_idempotent_in_every_state():
    fresh, _ = make_pair()
    connecting, _ = make_pair(DtlsRole.CLIENT)
    start(connecting)
    failed = DtlsTransport(OURS, DtlsRole.SERVER, announced(STRANGER))
    peer = DtlsTransport(THEIRS, DtlsRole.CLIENT, announced(OURS))
    start(failed, peer)
    exchange(failed, peer)
    for transport in (fresh, connecting, connected_pair()[0], failed):
        for _ in range(2):
            transport.close()
        assert transport.state in {DtlsState.CLOSED, DtlsState.FAILED}
        assert transport.next_timeout_ns() is None
        transport.handle_timeout(10**15)
        assert transport.receive_datagram(b"\x16\xfe\xfd" + bytes(10), 0) is DtlsVerdict.IGNORED


def test_start_happens_once():
    us, _ = make_pair()
    us.start(0)
    with pytest.raises(LocalProtocolError, match="cannot start a DTLS association that is connecting"):
        us.start(0)


def test_every_transition_leads_to_a_state_and_the_ends_are_final():
    assert set(TRANSITIONS) == set(DtlsState)
    for state, actions in TRANSITIONS.items():
        assert set(actions) <= set(DtlsAction)
        assert all(following in TRANSITIONS and following is not state for following in actions.values())
    assert TRANSITIONS[DtlsState.CLOSED] == TRANSITIONS[DtlsState.FAILED] == {}


def test_datagrams_before_the_start_are_ignored():
    us, them = make_pair()
    them.start(0)
    [hello] = them.datagrams_to_send()
    assert us.receive_datagram(hello, 0) is DtlsVerdict.IGNORED
    us.start(0)
    assert us.receive_datagram(hello, 0) is DtlsVerdict.PROCESSED


def test_a_lost_flight_is_repeated_byte_for_byte_before_openssl_would():
    us, them = make_pair(DtlsRole.CLIENT)
    start(us, them)
    lost = us.datagrams_to_send()
    now_ns = 0
    for delay_ns in REPEAT_DELAYS_NS:
        now_ns += delay_ns
        assert us.next_timeout_ns() == now_ns
        us.handle_timeout(now_ns - 1)
        assert us.datagrams_to_send() == []
        us.handle_timeout(now_ns)
        assert us.datagrams_to_send() == lost
    assert now_ns < us.next_timeout_ns() <= 1_000_000_000  # OpenSSL's
    for datagram in lost * 3:
        them.receive_datagram(datagram, now_ns)
    exchange(us, them, now_ns)
    assert_same_keys(us.next_event(), them.next_event())


def test_every_flight_is_repeated_until_the_next_one():
    us, them = make_pair()
    start(us, them)
    now_ns = 0
    for _ in range(2):  # ClientHello; the server's first flight
        for sender, receiver in ((them, us), (us, them)):
            if sender.state is DtlsState.CONNECTING and sender.datagrams_to_send():
                now_ns += REPEAT_DELAYS_NS[0]
                sender.handle_timeout(now_ns)
                for datagram in sender.datagrams_to_send():
                    receiver.receive_datagram(datagram, now_ns)
    exchange(us, them, now_ns)
    assert_same_keys(us.next_event(), them.next_event())


@pytest.mark.parametrize("role", DtlsRole)
def test_a_silent_peer_is_given_up(role):
    us, _ = make_pair(role)
    us.start(0)
    assert us.next_timeout_ns() <= HANDSHAKE_TIMEOUT_NS
    us.handle_timeout(HANDSHAKE_TIMEOUT_NS)
    assert us.next_event() == DtlsFailed("handshake_timeout", "no end of the handshake after 30 s")
    assert us.next_timeout_ns() is None


@dataclass
class LossyLink:
    """Loses, duplicates and delays datagrams by a seed; what it delays overtakes nothing or everything."""

    rng: random.Random
    loss: float = 0.1
    duplication: float = 0.15
    reordering: float = 0.25
    waiting: list = field(default_factory=list)

    def send(self, receiver, datagram):
        if self.rng.random() >= self.loss:
            copies = 2 if self.rng.random() < self.duplication else 1
            for _ in range(copies):
                at = (
                    self.rng.randrange(len(self.waiting) + 1)
                    if self.rng.random() < self.reordering
                    else len(self.waiting)
                )
                self.waiting.insert(at, (receiver, datagram))

    def deliver(self, now_ns):
        while self.waiting:
            receiver, datagram = self.waiting.pop(0)
            receiver.receive_datagram(datagram, now_ns)


class LossyPair:
    """Two transports and the link between them."""

    def __init__(self, seed):
        self.link = LossyLink(random.Random(seed))
        role = list(DtlsRole)[seed % 2]
        # Half of them with a flight of many datagrams, where order matters.
        ours = LARGE if seed % 4 >= 2 else OURS
        self.sides = make_pair(role, ours=ours)
        self.events = ([], [])

    def step(self, now_ns):
        one, other = self.sides
        for side, receiver, events in ((one, other, self.events[0]), (other, one, self.events[1])):
            for datagram in side.datagrams_to_send():
                self.link.send(receiver, datagram)
            events.extend(drain_events(side))
        self.link.deliver(now_ns)

    @property
    def is_done(self):
        return all(side.state is not DtlsState.CONNECTING for side in self.sides)

    def run(self, now_ns):
        """Do everything that is possible at this time."""
        for side in self.sides:
            side.handle_timeout(now_ns)
        for _ in range(12):
            self.step(now_ns)

    def next_timeout_ns(self):
        return min(timeout for side in self.sides if (timeout := side.next_timeout_ns()) is not None)


LARGE = certificate_of_size(200)


def test_handshakes_succeed_over_a_network_that_loses_duplicates_and_reorders():
    # OpenSSL's timers read its own clock, so this test lives in real time: all pairs at once, waiting for the next
    # timer of any of them.
    origin_ns = time.monotonic_ns()
    pairs = [LossyPair(seed) for seed in range(32)]
    for pair in pairs:
        for side in sorted(pair.sides, key=lambda one: one.role is DtlsRole.CLIENT):
            side.start(0)
    pending = pairs
    while pending:
        for pair in pending:
            pair.run(time.monotonic_ns() - origin_ns)
        pending = [pair for pair in pending if not pair.is_done]
        if pending:
            until_ns = min(pair.next_timeout_ns() for pair in pending)
            time.sleep(max(until_ns - (time.monotonic_ns() - origin_ns), 0) / 1e9)
    for pair in pairs:
        [ours], [theirs] = pair.events
        assert_same_keys(ours, theirs)


def handshake_transcript():
    """Return (to the server, datagram) of a whole handshake."""
    us, them = make_pair()
    start(us, them)
    transcript = []
    while datagrams := [(True, datagram) for datagram in them.datagrams_to_send()] + [
        (False, datagram) for datagram in us.datagrams_to_send()
    ]:
        transcript += datagrams
        for to_us, datagram in datagrams:
            (us if to_us else them).receive_datagram(datagram, 0)
    return transcript


TRANSCRIPT = handshake_transcript()


@settings(max_examples=200, deadline=None)
@given(
    role=st.sampled_from(DtlsRole),
    datagrams=st.lists(st.binary(max_size=120), max_size=6),
)
def test_garbage_that_is_no_record_does_not_disturb_a_handshake(role, datagrams):
    us, them = make_pair(role)
    start(us, them)
    for datagram in datagrams:
        assert us.receive_datagram(datagram, 0) is DtlsVerdict.MALFORMED
    exchange(us, them)
    assert_same_keys(us.next_event(), them.next_event())
    for datagram in datagrams:
        assert us.receive_datagram(datagram, 0) is DtlsVerdict.MALFORMED
    assert us.state is DtlsState.CONNECTED


@pytest.mark.parametrize("tail", [b"\x3f\xfe\xfd", b"\x18\xfe\xfd", b"\x00\x00", b"\x2f"], ids=bytes.hex)
@pytest.mark.parametrize("role", DtlsRole)
def test_what_follows_genuine_records_does_not_disturb_a_handshake(role, tail):
    us, them = make_pair(role)
    start(us, them)
    tail += bytes(7) + b"\x09\x00\x04tail" + bytes(10)
    while datagrams := [(us, datagram) for datagram in them.datagrams_to_send()] + [
        (them, datagram) for datagram in us.datagrams_to_send()
    ]:
        for receiver, datagram in datagrams:
            assert receiver.receive_datagram(datagram + tail, 0) is DtlsVerdict.PROCESSED
    assert_same_keys(us.next_event(), them.next_event())


records = st.builds(
    lambda kind, minor, epoch, sequence, body: (
        bytes([kind, 0xFE, minor]) + epoch.to_bytes(2) + sequence.to_bytes(6) + len(body).to_bytes(2) + body
    ),
    kind=st.integers(20, 23),
    minor=st.sampled_from([0xFD, 0xFF]) | st.integers(0, 255),
    epoch=st.integers(0, 2),
    sequence=st.integers(0, 5) | st.integers(0, 2**48 - 1),
    body=st.binary(max_size=80)
    | st.builds(
        lambda kind, tail: bytes([kind]) + tail, st.integers(0, 24), st.binary(min_size=11, max_size=80)
    ),
)


@settings(max_examples=400, deadline=None)
@given(role=st.sampled_from(DtlsRole), before=st.lists(records, max_size=4), during=st.integers(0, 3))
def test_forged_records_fail_a_handshake_at_worst(role, before, during):
    us, them = make_pair(role)
    start(us, them)
    for _ in range(during):
        for datagram in them.datagrams_to_send():
            us.receive_datagram(datagram, 0)
        for datagram in us.datagrams_to_send():
            them.receive_datagram(datagram, 0)
    for record in before:
        assert us.receive_datagram(record, 0) in {
            DtlsVerdict.PROCESSED,
            DtlsVerdict.IGNORED,
            DtlsVerdict.MALFORMED,
        }
    exchange(us, them)
    events = drain_events(us)
    assert len(events) <= 2
    assert all(isinstance(event, DtlsConnected) or event.code in FAILURES for event in events)


@settings(max_examples=300, deadline=None)
@given(
    index=st.integers(0, len(TRANSCRIPT) - 1),
    position=st.integers(0, 2000),
    value=st.integers(1, 255),
)
def test_a_changed_byte_never_gives_different_keys(index, position, value):
    us, them = make_pair()
    start(us, them)
    sent = 0
    while datagrams := [(us, datagram) for datagram in them.datagrams_to_send()] + [
        (them, datagram) for datagram in us.datagrams_to_send()
    ]:
        for receiver, datagram in datagrams:
            changed = bytearray(datagram)
            if sent == index:
                changed[position % len(changed)] ^= value
            sent += 1
            receiver.receive_datagram(bytes(changed), 0)
    ours, theirs = drain_events(us), drain_events(them)
    if ours and theirs and isinstance(ours[0], DtlsConnected) and isinstance(theirs[0], DtlsConnected):
        assert_same_keys(ours[0], theirs[0])


@pytest.mark.parametrize("length", [1, 13, 14, 25, 60, 200])
def test_truncated_flights_never_raise(length):
    us, them = make_pair()
    start(us, them)
    for to_us, datagram in TRANSCRIPT:
        receiver = us if to_us else them
        receiver.receive_datagram(datagram[:length], 0)
        receiver.receive_datagram(datagram[: len(datagram) - length], 0)


def test_forgeries_do_not_end_an_established_association():
    us, them, *_ = connected_pair()
    for kind in (20, 21, 22, 23):
        for epoch in (0, 1, 2):
            forged = bytes([kind, 0xFE, 0xFD]) + epoch.to_bytes(2) + (99).to_bytes(6) + b"\0\x02\x02\x28"
            us.receive_datagram(forged, 0)
            us.receive_datagram(forged[:-4] + (40).to_bytes(2) + bytes(40), 0)
    for _, datagram in TRANSCRIPT:  # and another association's handshake
        us.receive_datagram(datagram, 0)
    assert us.state is DtlsState.CONNECTED
    assert drain_events(us) == []
    them.close()
    exchange(us, them)
    assert drain_events(us) == [DtlsClosed()]


def test_an_endless_handshake_is_cut_off():
    us, _ = make_pair()
    us.start(0)
    # Handshake fragments of a message that never comes to its end.
    fragment = bytes([1]) + (60_000).to_bytes(3) + bytes(2) + bytes(3) + (1000).to_bytes(3) + bytes(1000)
    sent = 0
    while us.state is DtlsState.CONNECTING:
        header = b"\x16\xfe\xfd" + bytes(2) + sent.to_bytes(6) + len(fragment).to_bytes(2)
        assert us.receive_datagram(header + fragment, 0) is DtlsVerdict.PROCESSED
        sent += 1
        assert sum(map(len, us.datagrams_to_send())) <= len(fragment)
    assert sent <= MAX_HANDSHAKE_BYTES // len(fragment) + 1
    [event] = drain_events(us)
    assert event.code in {"handshake_too_large", "handshake_failed"}


def test_a_repeated_hello_is_not_answered_without_bound():
    us, them = make_pair()
    start(us, them)
    [hello] = them.datagrams_to_send()
    answered = 0
    for sequence in range(2 * MAX_HANDSHAKE_BYTES // len(hello)):
        us.receive_datagram(hello[:5] + sequence.to_bytes(6) + hello[11:], 0)
        answered += sum(map(len, us.datagrams_to_send()))
    assert answered <= MAX_HANDSHAKE_BYTES
    assert us.next_event() == DtlsFailed("handshake_too_large", "no end of the handshake after 65536 bytes")


def test_application_data_is_dropped():
    us, them, *_ = connected_pair()
    them._connection.send(b"sctp" * 100)
    exchange(us, them)
    assert us.state is DtlsState.CONNECTED
    assert drain_events(us) == []


def test_a_fatal_alert_during_the_handshake_fails_it():
    us, _ = make_pair()
    us.start(0)
    us.receive_datagram(b"\x15\xfe\xfd" + bytes(8) + b"\0\2\2\x28", 0)
    [event] = drain_events(us)
    assert event.code == "handshake_failed"
    assert "alert" in event.reason


def test_a_close_notify_during_the_handshake_fails_it():
    us, _ = make_pair()
    us.start(0)
    us.receive_datagram(b"\x15\xfe\xfd" + bytes(8) + b"\0\2\1\0", 0)
    [event] = drain_events(us)
    assert event.code == "handshake_failed"


def test_a_client_without_certificate_fails():
    us = DtlsTransport(OURS, DtlsRole.SERVER, announced(THEIRS))
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_options(SSL.OP_NO_QUERY_MTU)
    context.set_tlsext_use_srtp(b"SRTP_AEAD_AES_128_GCM")
    client = SSL.Connection(context)
    client.set_ciphertext_mtu(MAX_DATAGRAM_BYTES)
    client.set_connect_state()
    us.start(0)
    for _ in range(4):
        with pytest.raises(SSL.Error):  # wants more, until it is told that it failed
            client.do_handshake()
        for record in read_records(client):
            us.receive_datagram(record, 0)
        for datagram in us.datagrams_to_send():
            client.bio_write(datagram)
    [event] = drain_events(us)
    assert event.code == "handshake_failed"
    assert "certificate" in event.reason


def read_records(connection):
    try:
        return split_records_untrusted(connection.bio_read(65536))
    except SSL.WantReadError:
        return []
