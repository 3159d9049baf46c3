"""Which messages are plain consent checks, and the checksum they end with.

That the answers are those of the ICE agent is shown in tests/relay/test_consent.py.
"""

import zlib

import numpy as np
import pytest
from both_ways import Guarded, both
from hypothesis import given, settings
from hypothesis import strategies as st

from media.stun import MESSAGE_INTEGRITY, find_integrity, fingerprint
from media.tables import NONE, USERNAME_BYTES

NAME = b"LOCALufr:rem0"
HEADER = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(range(12))
INTEGRITY = b"\x00\x08\x00\x14" + bytes(range(20))
NAMED = b"\x00\x06\x00\x0dLOCALufr:rem0\0\0\0"
CONTROLLING = b"\x80\x2a\x00\x08" + bytes(8)
PRIORITY = b"\x00\x24\x00\x04\x6e\x7f\x1e\xff"
NOMINATION = b"\x00\x25\x00\x00"

# RFC 5769 sections 2.1 to 2.3
VECTORS = [
    (
        "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74"
        "002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020"
        "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf"
    ),
    (
        "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220"
        "002000080001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96"
    ),
    (
        "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220"
        "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed41"
        "80280004c8fb0b4c"
    ),
]


def whole(*attributes: bytes, fingerprinted: bool = False) -> bytes:
    body = b"".join(attributes)
    length = len(body) + 8 * fingerprinted
    message = HEADER[:2] + length.to_bytes(2) + HEADER[4:] + body
    if fingerprinted:
        message += b"\x80\x28\x00\x04" + (zlib.crc32(message) ^ 0x5354554E).to_bytes(4)
    return message


def integrity_of(message: bytes, name: bytes = NAME) -> int:
    """What both kinds of `find_integrity` say; nothing is written, nothing read outside of the message."""
    username = np.frombuffer(name.ljust(USERNAME_BYTES, b"\xaa"), np.uint8)
    found = set()
    for function in both(find_integrity):
        packet = Guarded(message)
        found.add(int(function(packet.array, len(message), username, len(name))))
        assert bytes(packet) == message
    (offset,) = found
    return offset


@pytest.mark.parametrize("vector", VECTORS)
def test_fingerprint_is_that_of_rfc5769(vector):
    data = bytes.fromhex(vector)
    for function in both(fingerprint):
        assert function(Guarded(data).array, len(data) - 8) == int.from_bytes(data[-4:])


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_fingerprint_is_the_crc_of_zlib(data):
    for function in both(fingerprint):
        assert function(Guarded(data).array, len(data)) == zlib.crc32(data) ^ 0x5354554E


@pytest.mark.parametrize("fingerprinted", [False, True])
@pytest.mark.parametrize(
    "attributes",
    [
        (NAMED,),
        (NAMED, CONTROLLING, NOMINATION, PRIORITY),
        (PRIORITY, CONTROLLING, NAMED),
        (NAMED, b"\xc0\x57\x00\x04\x00\x01\x00\x0a", CONTROLLING),  # Chrome: GOOG-NETWORK-INFO
        (b"\x80\x22\x00\x05aBc 1\0\0\0", NAMED),  # SOFTWARE, as libnice and pion send it
        (NAMED, b"\xff\xff\x00\x01x\xee\xee\xee"),
        (NAMED, NAMED),
    ],
)
def test_checks_as_clients_send_them_are_plain(attributes, fingerprinted):
    message = whole(*attributes, INTEGRITY, fingerprinted=fingerprinted)
    offset = integrity_of(message)
    assert offset == 20 + sum(map(len, attributes))
    assert message[offset : offset + 2] == MESSAGE_INTEGRITY.to_bytes(2)


@pytest.mark.parametrize(
    "message",
    [
        whole(),
        whole(NAMED),
        whole(INTEGRITY),
        whole(INTEGRITY, NAMED),
        whole(NAMED.replace(b"LOCAL", b"other"), INTEGRITY),
        whole(NAMED, NAMED.replace(b"rem0", b"rem1"), INTEGRITY),
        whole(NAMED[:3] + b"\x0c" + NAMED[4:], INTEGRITY),
        whole(NAMED, INTEGRITY, PRIORITY),
        whole(NAMED, INTEGRITY, b"\x00\x1c\x00\x20" + bytes(32)),  # MESSAGE-INTEGRITY-SHA256
        whole(NAMED, INTEGRITY, b"\x80\x28\x00\x04\0\0\0\0"),  # a wrong FINGERPRINT
        whole(NAMED, INTEGRITY, b"\x80\x28\x00\x00"),
        whole(NAMED, b"\x80\x28\x00\x04\0\0\0\0", INTEGRITY),
        whole(NAMED, INTEGRITY, fingerprinted=True) + b"\0\0\0\0",
        whole(NAMED, b"\x80\x29\x00\x08" + bytes(8), INTEGRITY),  # ICE-CONTROLLED
        whole(NAMED, b"\x80\x2a\x00\x04" + bytes(4), INTEGRITY),
        whole(NAMED, b"\x00\x24\x00\x08" + bytes(8), INTEGRITY),
        whole(NAMED, b"\x00\x25\x00\x04" + bytes(4), INTEGRITY),
        whole(NAMED, b"\x7f\x01\x00\x00", INTEGRITY),
        whole(NAMED, b"\x00\x14\x00\x04none", INTEGRITY),  # REALM
        whole(NAMED, b"\x80\x22\x00\x02\xc3\xa4\0\0", INTEGRITY),  # not ASCII
        whole(NAMED, b"\x80\x2b\x00\x08" + bytes(8), INTEGRITY),  # RESPONSE-ORIGIN
        whole(NAMED, b"\x00\x08\x00\x10" + bytes(16)),
        whole(NAMED, b"\x00\x08\x00\x18" + bytes(20)),  # runs over the end
        b"\x00\x11" + whole(NAMED, INTEGRITY)[2:],
        b"\x01\x01" + whole(NAMED, INTEGRITY)[2:],
        b"\x00\x03" + whole(NAMED, INTEGRITY)[2:],
    ],
)
def test_anything_else_is_left_to_the_control_plane(message):
    assert integrity_of(message) == NONE


@pytest.mark.parametrize("name", [NAME[:-1], NAME + b"x", b"LOCALufr:", NAME.swapcase()])
def test_check_of_another_user_is_not_plain(name):
    assert integrity_of(whole(NAMED, INTEGRITY), name) == NONE


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from([NAMED, CONTROLLING, PRIORITY, INTEGRITY])
        | st.tuples(st.integers(0, 65535), st.integers(0, 40), st.binary(max_size=40)).map(
            lambda parts: parts[0].to_bytes(2) + parts[1].to_bytes(2) + parts[2]
        )
    )
)
def test_any_message_of_the_right_length_has_a_verdict(attributes):
    body = b"".join(attributes)
    message = whole(body + bytes(-len(body) % 4))
    offset = integrity_of(message)
    assert offset == NONE or message[offset : offset + 4] == INTEGRITY[:4]
