"""libsrtp as Python and as kernels call it, against an independent twin that the vectors of the RFCs pin."""

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pylibsrtp
import pytest
import rtp_twin
import srtp_twin
from both_ways import Guarded
from hypothesis import given, settings
from hypothesis import strategies as st
from rtp_strategies import rtp_headers, u32

import media
from media.jit import helper
from media.native import (
    SRTP_AUTHENTICATION_FAILED,
    SRTP_OK,
    SRTP_REPLAY_FAILED,
    SRTP_REPLAY_OLD,
    srtp_protect,
    srtp_protect_rtcp,
    srtp_unprotect,
    srtp_unprotect_rtcp,
)
from media.srtp import RECEIVE_WINDOW_PACKETS, SrtpDirection, SrtpProfile, SrtpSession

GCM = SrtpProfile.AEAD_AES_128_GCM
CM = SrtpProfile.AES128_CM_SHA1_80
MASTER_KEY = bytes.fromhex("e1f97a0d3e018be0d64fa32c06de4139")  # RFC 3711 B.3
MASTER_SALT = bytes.fromhex("0ec675ad498afeebb6960b3aabe6")

profiles = pytest.mark.parametrize("profile", list(SrtpProfile))


# The twin against the RFCs.


def test_twin_derives_the_keys_of_rfc_3711_b3():
    keys = srtp_twin.session_keys(MASTER_KEY, MASTER_SALT, srtp_twin.RTP_LABELS)
    assert keys.cipher_key.hex() == "c61e7a93744f39ee10734afe3ff7a087"
    assert keys.cipher_salt.hex() == "30cbbc08863d8c85d49db34a9ae1"
    assert srtp_twin.derive(MASTER_KEY, MASTER_SALT, 1, 94).hex() == (
        "cebe321f6ff7716b6fd4ab49af256a156d38baa48f0a0acf3c34e2359e6cdbcee049646c43d9327ad175578ef7227098"
        "6371c10c9a369ac2f94a8c5fbcdddc256d6e919a48b610ef17c2041e474035766b68642c59bbfc2f34db60dbdfb2"
    )


def test_twin_makes_the_key_stream_of_rfc_3711_b2():
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    keys = srtp_twin.SessionKeys(key, bytes.fromhex("f0f1f2f3f4f5f6f7f8f9fafbfcfd"))
    assert srtp_twin.aes_cm(key, srtp_twin.cm_iv(keys, 0, 0), bytes(48)).hex() == (
        "e03ead0935c95e80e166b16dd92b4eb4d23513162b02d0f72a43a2fe4a5f97ab41e95b3bb0a2e8dd477901e4fca894c0"
    )


RFC_7714_KEYS = srtp_twin.SessionKeys(bytes(range(16)), b"Quid pro quo")


def test_twin_protects_rtp_as_rfc_7714_section_16_1():
    packet = bytes.fromhex("8040f17b8041f8d35501a0b2") + b"Gallia est omnis divisa in partes tres"
    assert srtp_twin.gcm_rtp(RFC_7714_KEYS, packet, 0).hex() == (
        "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf"
        "8833899d7f27beb16a9152cf765ee4390cce"
    )


def test_twin_protects_rtcp_as_rfc_7714_section_17_1():
    packet = (
        bytes.fromhex("81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61")
        + b"\xde\xad\xbe\xef" * 5
    )
    assert srtp_twin.gcm_rtcp(RFC_7714_KEYS, packet, 0x5D4).hex() == (
        "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded"
        "0bb9275bc84aa45896cf4d2fc5abf87245d9eade800005d4"
    )


# libsrtp against the twin.


@helper
def call_protect(session, packet, length):
    return srtp_protect(session, packet.ctypes.data, length.ctypes.data)


@helper
def call_unprotect(session, packet, length):
    return srtp_unprotect(session, packet.ctypes.data, length.ctypes.data)


@helper
def call_protect_rtcp(session, packet, length):
    return srtp_protect_rtcp(session, packet.ctypes.data, length.ctypes.data)


@helper
def call_unprotect_rtcp(session, packet, length):
    return srtp_unprotect_rtcp(session, packet.ctypes.data, length.ctypes.data)


def in_kernel(function, session, packet, room=0):
    """(status, bytes) of a packet function called from compiled code, with `room` bytes behind the packet."""
    buffer = Guarded(packet, room)
    length = np.array([len(packet)], np.int32)
    status = function(session.address, buffer.array, length)
    return status, bytes(buffer)[: length[0]]


def keys_of(profile):
    return bytes(range(1, 1 + profile.key_bytes)), bytes(range(0xA0, 0xA0 + profile.salt_bytes))


def open_session(profile, direction, **options):
    key, salt = keys_of(profile)
    return SrtpSession(profile, key, salt, direction, **options)


def twin_of(profile):
    return srtp_twin.Sender(*keys_of(profile), gcm=profile is GCM)


def rtp(sequence_number, payload=b"payload", ssrc=7):
    return struct.pack("!BBHLL", 0x80, 96, sequence_number, sequence_number * 960, ssrc) + payload


@pytest.mark.parametrize(
    ("profile", "key", "salt", "protected", "protected_rtcp"),
    [
        (
            CM,
            MASTER_KEY,
            MASTER_SALT,
            "800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb",
            "81c8000bcafebabe7128035be487b9bdbef89041f977a5a880000001993e08cd54d6c1230798",
        ),
        (
            GCM,
            bytes(range(16)),
            bytes(range(0xA0, 0xAC)),
            "800f1234decafbadcafebabec5002ede04cfdd2eb91159e0880aa06ed2976826f796b201df3131a127e8a392",
            "81c8000bcafebabec98b8b5df0392a55852b6c21ac8e7025c52c6fbea2b3b446ea31123ba88ce61e80000001",
        ),
    ],
)
def test_whole_packets_are_those_of_libsrtps_own_self_test(profile, key, salt, protected, protected_rtcp):
    packet = bytes.fromhex("800f1234decafbadcafebabe") + b"\xab" * 16
    report = bytes.fromhex("81c8000bcafebabe") + b"\xab" * 16
    sender = srtp_twin.Sender(key, salt, gcm=profile is GCM)
    assert sender.protect(packet).hex() == protected
    assert sender.protect_rtcp(report).hex() == protected_rtcp
    with SrtpSession(profile, key, salt, SrtpDirection.OUTBOUND) as session:
        assert session.protect(packet).hex() == protected
        assert session.protect_rtcp(report).hex() == protected_rtcp
    with SrtpSession(profile, key, salt, SrtpDirection.INBOUND) as session:
        assert session.unprotect(bytes.fromhex(protected)) == packet
        assert session.unprotect_rtcp(bytes.fromhex(protected_rtcp)) == report


@profiles
@settings(deadline=None, max_examples=40)
@given(headers=st.lists(rtp_headers(), min_size=1, max_size=8), first=st.integers(0, 0xFFFF), ssrc=u32)
def test_rtp_is_protected_as_the_twin_does_it(profile, headers, first, ssrc):
    twin = twin_of(profile)
    with (
        open_session(profile, SrtpDirection.OUTBOUND) as python_out,
        open_session(profile, SrtpDirection.OUTBOUND) as kernel_out,
        open_session(profile, SrtpDirection.INBOUND) as python_in,
        open_session(profile, SrtpDirection.INBOUND) as kernel_in,
    ):
        for index, header in enumerate(headers):
            header.ssrc = ssrc
            header.sequence_number = (first + index) & 0xFFFF
            packet = rtp_twin.build(header)
            protected = twin.protect(packet)
            assert len(protected) == len(packet) + profile.tag_bytes
            assert python_out.protect(packet) == protected
            assert in_kernel(call_protect, kernel_out, packet, profile.tag_bytes) == (SRTP_OK, protected)
            assert python_in.unprotect(protected) == packet
            assert in_kernel(call_unprotect, kernel_in, protected) == (SRTP_OK, packet)


@profiles
@settings(deadline=None, max_examples=40)
@given(bodies=st.lists(st.binary(max_size=60), min_size=1, max_size=8), ssrc=u32)
def test_rtcp_is_protected_as_the_twin_does_it(profile, bodies, ssrc):
    twin = twin_of(profile)
    room = profile.tag_bytes + 4
    with (
        open_session(profile, SrtpDirection.OUTBOUND) as python_out,
        open_session(profile, SrtpDirection.OUTBOUND) as kernel_out,
        open_session(profile, SrtpDirection.INBOUND) as python_in,
        open_session(profile, SrtpDirection.INBOUND) as kernel_in,
    ):
        for body in bodies:
            padded = body + bytes(-len(body) % 4)
            packet = struct.pack("!BBHL", 0x81, 200, 1 + len(padded) // 4, ssrc) + padded
            protected = twin.protect_rtcp(packet)
            assert python_out.protect_rtcp(packet) == protected
            assert in_kernel(call_protect_rtcp, kernel_out, packet, room) == (SRTP_OK, protected)
            assert python_in.unprotect_rtcp(protected) == packet
            assert in_kernel(call_unprotect_rtcp, kernel_in, protected) == (SRTP_OK, packet)


@profiles
def test_sequence_numbers_roll_over_into_the_counter(profile):
    twin = twin_of(profile)
    order = [65533, 65534, 65535, 1, 0, 2]  # packet 0 is late, and the counter has moved on before
    with (
        open_session(profile, SrtpDirection.OUTBOUND) as sender,
        open_session(profile, SrtpDirection.INBOUND) as receiver,
    ):
        for sequence_number in order:
            packet = rtp(sequence_number)
            protected = twin.protect(packet)
            assert sender.protect(packet) == protected
            assert in_kernel(call_unprotect, receiver, protected) == (SRTP_OK, packet)
        # The same sequence number with another counter is another packet.
        assert twin_of(profile).protect(rtp(2)) != protected


@profiles
def test_a_repeated_packet_is_refused(profile):
    twin = twin_of(profile)
    with open_session(profile, SrtpDirection.INBOUND) as session:
        protected = twin.protect(rtp(5))
        assert session.unprotect(protected) == rtp(5)
        assert in_kernel(call_unprotect, session, protected)[0] == SRTP_REPLAY_FAILED
        with pytest.raises(pylibsrtp.Error, match="replay"):
            session.unprotect(protected)
        report = twin.protect_rtcp(struct.pack("!BBHL", 0x80, 201, 1, 7))
        session.unprotect_rtcp(report)
        assert in_kernel(call_unprotect_rtcp, session, report)[0] == SRTP_REPLAY_FAILED


@profiles
def test_a_late_packet_is_taken_within_the_replay_window_alone(profile):
    newest = 5000
    for behind, status in ((RECEIVE_WINDOW_PACKETS - 1, SRTP_OK), (RECEIVE_WINDOW_PACKETS, SRTP_REPLAY_OLD)):
        twin = twin_of(profile)
        late = twin.protect(rtp(newest - behind))
        with open_session(profile, SrtpDirection.INBOUND) as session:
            session.unprotect(twin.protect(rtp(newest)))
            assert in_kernel(call_unprotect, session, late)[0] == status


@profiles
def test_a_packet_changed_in_any_byte_is_refused_and_the_true_one_still_taken(profile):
    twin = twin_of(profile)
    packet = rtp(5, b"some payload")
    protected = twin.protect(packet)
    report = struct.pack("!BBHLL", 0x80, 201, 2, 7, 8)
    protected_report = twin.protect_rtcp(report)
    with open_session(profile, SrtpDirection.INBOUND) as session:
        # The first byte is left out: what it says of lengths decides before authentication.
        for place in range(1, len(protected)):
            forged = bytearray(protected)
            forged[place] ^= 0x10
            assert in_kernel(call_unprotect, session, bytes(forged))[0] == SRTP_AUTHENTICATION_FAILED, place
        assert in_kernel(call_unprotect, session, protected) == (SRTP_OK, packet)
        for place in range(1, len(protected_report)):
            forged = bytearray(protected_report)
            forged[place] ^= 0x10
            assert in_kernel(call_unprotect_rtcp, session, bytes(forged))[0] == SRTP_AUTHENTICATION_FAILED, (
                place
            )
        assert in_kernel(call_unprotect_rtcp, session, protected_report) == (SRTP_OK, report)


@profiles
@settings(deadline=None, max_examples=200)
@given(data=st.one_of(st.binary(max_size=80), rtp_headers().map(rtp_twin.build)))
def test_no_bytes_from_the_network_get_past_authentication(profile, data):
    with open_session(profile, SrtpDirection.INBOUND) as session:
        for function in (call_unprotect, call_unprotect_rtcp):
            assert in_kernel(function, session, data)[0] != SRTP_OK


@profiles
def test_ssrcs_of_one_session_do_not_disturb_each_other(profile):
    twin = twin_of(profile)
    with open_session(profile, SrtpDirection.INBOUND) as session:
        for sequence_number in range(3):
            for ssrc in (0, 7, 0xFFFFFFFF):
                packet = rtp(sequence_number, ssrc=ssrc)
                assert session.unprotect(twin.protect(packet)) == packet


@profiles
def test_a_packet_is_sent_again_only_when_that_is_allowed(profile):
    with open_session(profile, SrtpDirection.OUTBOUND, allow_repeat_tx=True) as session:
        first = session.protect(rtp(5))
        session.protect(rtp(6))
        assert session.protect(rtp(5)) == first
    with open_session(profile, SrtpDirection.OUTBOUND) as session:
        session.protect(rtp(5))
        assert in_kernel(call_protect, session, rtp(5), profile.tag_bytes)[0] == SRTP_REPLAY_FAILED


# Life of a session.


def test_session_is_gone_when_closed_and_may_be_closed_again():
    session = open_session(GCM, SrtpDirection.OUTBOUND)
    assert session.address != 0
    assert (session.profile, session.direction) == (GCM, SrtpDirection.OUTBOUND)
    session.close()
    session.close()
    assert session.address == 0
    for call in (session.protect, session.unprotect, session.protect_rtcp, session.unprotect_rtcp):
        with pytest.raises(ValueError, match="closed"):
            call(rtp(1))


def test_session_is_closed_when_its_scope_is_left():
    with open_session(CM, SrtpDirection.INBOUND) as session:
        assert session.address != 0
    assert session.address == 0


@pytest.mark.parametrize(("key_bytes", "salt_bytes"), [(16, 14), (15, 12), (17, 12), (16, 11), (0, 0)])
def test_session_refuses_keys_of_the_wrong_length(key_bytes, salt_bytes):
    with pytest.raises(ValueError, match="takes a key of 16 bytes and a salt of 12"):
        SrtpSession(GCM, bytes(key_bytes), bytes(salt_bytes), SrtpDirection.INBOUND)


def test_session_closed_before_the_interpreter_exits_leaves_no_trace():
    program = (
        "from media.srtp import SrtpDirection, SrtpProfile, SrtpSession\n"
        "for profile in SrtpProfile:\n"
        "    key, salt = bytes(profile.key_bytes), bytes(profile.salt_bytes)\n"
        "    session = SrtpSession(profile, key, salt, SrtpDirection.OUTBOUND)\n"
        "    session.close()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(media.__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert result.stdout + result.stderr == ""


def test_profiles_say_what_dtls_needs():
    assert [(profile.number, profile.openssl_name) for profile in SrtpProfile] == [
        (7, "SRTP_AEAD_AES_128_GCM"),
        (1, "SRTP_AES128_CM_SHA1_80"),
    ]
