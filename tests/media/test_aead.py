"""RTP protected by OpenSSL directly, against the vectors of RFC 7714, libsrtp and the independent twin."""

import numpy as np
import pytest
import rtp_twin
import srtp_twin
from hypothesis import given, settings
from hypothesis import strategies as st
from rtp_strategies import rtp_headers

from media.aead import (
    IV_BYTES,
    SALT_BYTES,
    TAG_BYTES,
    AeadContext,
    derive_session_keys,
    packet_index,
    protect_rtp,
)
from media.jit import helper
from media.memory import record_at
from media.srtp import SrtpDirection, SrtpProfile, SrtpSession
from media.tables import CONTEXT, HISTORY_SPAN, PEER

MASTER_KEY = bytes(range(16))
MASTER_SALT = bytes(range(100, 112))


@helper
def _protect(context, peer, place, length, index):
    return protect_rtp(record_at(CONTEXT, context), record_at(PEER, peer), place, length, index)


@helper
def _packet_index(highest, sequence_number):
    return packet_index(highest, sequence_number)


class Sender:
    """The rows `protect_rtp` looks at, for one peer."""

    def __init__(self, key: bytes, salt: bytes):
        self._cipher = AeadContext(key, salt)
        self._iv = np.zeros(IV_BYTES, np.uint8)
        self._context = np.zeros(1, CONTEXT)
        self._context["iv"] = self._iv.ctypes.data
        self._peer = np.zeros(1, PEER)
        self._peer["aead_send"] = self._cipher.address
        self._peer["salt_send"][0, :3] = np.frombuffer(salt, ">u4")

    def protect(self, packet: bytes, index: int) -> bytes | None:
        """None when it is refused; nothing beyond the tag may be touched."""
        room = np.full(len(packet) + TAG_BYTES + 8, 0xA5, np.uint8)
        room[: len(packet)] = np.frombuffer(packet, np.uint8)
        length = _protect(
            self._context.ctypes.data, self._peer.ctypes.data, room.ctypes.data, len(packet), index
        )
        assert (room[max(length, len(packet)) :] == 0xA5).all()
        return room[:length].tobytes() if length else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._cipher.close()


def test_rtp_is_protected_as_in_rfc_7714_section_16_1():
    packet = bytes.fromhex("8040f17b8041f8d35501a0b2") + b"Gallia est omnis divisa in partes tres"
    with Sender(bytes(range(16)), b"Quid pro quo") as sender:
        assert sender.protect(packet, 0xF17B).hex() == (
            "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf"
            "8833899d7f27beb16a9152cf765ee4390cce"
        )


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=12, max_size=12))
def test_session_keys_are_those_of_the_twin(master_key, master_salt):
    keys = srtp_twin.session_keys(master_key, master_salt, srtp_twin.RTP_LABELS)
    assert derive_session_keys(master_key, master_salt) == (keys.cipher_key, keys.cipher_salt[:SALT_BYTES])


@settings(max_examples=200)
@given(rtp_headers(), st.integers(0, (1 << 32) - 1))
def test_protects_as_the_twin_does(header, rollovers):
    packet = rtp_twin.build(header)
    keys = srtp_twin.session_keys(MASTER_KEY, MASTER_SALT, srtp_twin.RTP_LABELS)
    with Sender(*derive_session_keys(MASTER_KEY, MASTER_SALT)) as sender:
        index = rollovers << 16 | header.sequence_number
        assert sender.protect(packet, index) == srtp_twin.gcm_rtp(keys, packet, rollovers)


def test_a_receiver_with_libsrtp_follows_the_stream_over_two_wraps():
    highest = 32_000
    with (
        Sender(*derive_session_keys(MASTER_KEY, MASTER_SALT)) as sender,
        SrtpSession(SrtpProfile.AEAD_AES_128_GCM, MASTER_KEY, MASTER_SALT, SrtpDirection.INBOUND) as receiver,
    ):
        for number in range(highest, highest + 2 * 65_536, 97):
            packet = bytes.fromhex("806f") + (number & 0xFFFF).to_bytes(2, "big") + bytes(8) + b"sound"
            index = _packet_index(highest, number & 0xFFFF)
            assert index == number
            highest = index
            assert receiver.unprotect(sender.protect(packet, index)) == packet


def test_a_repeat_is_the_same_bytes():
    packet = bytes.fromhex("806f0001") + bytes(8) + b"once more"
    with Sender(*derive_session_keys(MASTER_KEY, MASTER_SALT)) as sender:
        assert sender.protect(packet, 1) == sender.protect(packet, 1)


def test_packet_without_payload_is_authenticated():
    packet = bytes.fromhex("806f0001") + bytes(8)
    with (
        Sender(*derive_session_keys(MASTER_KEY, MASTER_SALT)) as sender,
        SrtpSession(SrtpProfile.AEAD_AES_128_GCM, MASTER_KEY, MASTER_SALT, SrtpDirection.INBOUND) as receiver,
    ):
        assert receiver.unprotect(sender.protect(packet, 1)) == packet


@given(st.integers(0, 1 << 40), st.integers(0, 0xFFFF))
def test_index_is_the_nearest_and_never_one_that_a_new_packet_may_have_used(highest, sequence_number):
    index = _packet_index(highest, sequence_number)
    if index < 0:
        behind = (highest - sequence_number) & 0xFFFF
        assert behind >= min(HISTORY_SPAN, highest + 1)
    else:
        assert index & 0xFFFF == sequence_number
        assert -HISTORY_SPAN < index - highest < 1 << 15


def test_what_is_older_than_the_history_is_refused():
    assert _packet_index(70_000, (70_000 - HISTORY_SPAN + 1) & 0xFFFF) == 70_000 - HISTORY_SPAN + 1
    assert _packet_index(70_000, (70_000 - HISTORY_SPAN) & 0xFFFF) == -1
    assert _packet_index(3, 0xFFFF) == -1  # before the first packet there was none
    with Sender(*derive_session_keys(MASTER_KEY, MASTER_SALT)) as sender:
        assert sender.protect(bytes.fromhex("806fffff") + bytes(8) + b"old", -1) is None


@pytest.mark.parametrize(("key", "salt"), [(bytes(15), bytes(12)), (bytes(16), bytes(14))])
def test_keys_of_the_wrong_length_are_refused(key, salt):
    with pytest.raises(ValueError, match="16 bytes and a salt of 12"):
        AeadContext(key, salt)


def test_closing_twice_is_harmless():
    cipher = AeadContext(bytes(16), bytes(12))
    cipher.close()
    cipher.close()
    assert cipher.address == 0
