"""STUN parsing and encoding against the vectors of RFC 5769 and arbitrary bytes."""

import pytest
from aioice import stun as aioice_stun
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import LocalProtocolError
from relay.stun import (
    Attribute,
    MessageType,
    encode_error_code,
    encode_stun,
    encode_xor_address,
    normalise_address,
    parse_stun_untrusted,
    walk_attributes_untrusted,
)

# RFC 5769 section 2; the password of all three.
PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"
TRANSACTION_ID = bytes.fromhex("b7e7a701bc34d686fa87dfae")
SAMPLE_REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74"
    "002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020"
    "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf"
)
IPV4_RESPONSE = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220"
    "002000080001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96"
)
IPV6_RESPONSE = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220"
    "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed41"
    "80280004c8fb0b4c"
)
VECTORS = {"request": SAMPLE_REQUEST, "ipv4": IPV4_RESPONSE, "ipv6": IPV6_RESPONSE}


def signed_request(extra=(), password=PASSWORD):
    attributes = [(Attribute.USERNAME, b"evtj:h6vY"), *extra]
    return encode_stun(MessageType.BINDING_REQUEST, TRANSACTION_ID, attributes, password)


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
def test_parse_accepts_rfc5769_vectors_with_their_password_only(vector):
    message = parse_stun_untrusted(vector)
    assert message is not None
    assert message.transaction_id == TRANSACTION_ID
    assert message.unknown_attributes == ()
    assert message.is_signed_with(PASSWORD)
    assert not message.is_signed_with(PASSWORD + b"x")


def test_parse_reads_the_values_of_the_rfc5769_request():
    message = parse_stun_untrusted(SAMPLE_REQUEST)
    assert message.message_type == MessageType.BINDING_REQUEST
    assert message.attributes["USERNAME"] == "evtj:h6vY"
    assert message.attributes["PRIORITY"] == 0x6E0001FF
    assert message.attributes["ICE-CONTROLLED"] == 0x932FF9B151263B36
    assert message.attributes["SOFTWARE"] == "STUN test client"


@pytest.mark.parametrize(
    ("vector", "address"),
    [
        (IPV4_RESPONSE, ("192.0.2.1", 32853)),
        (IPV6_RESPONSE, ("2001:db8:1234:5678:11:2233:4455:6677", 32853)),
    ],
    ids=["ipv4", "ipv6"],
)
def test_xor_address_of_rfc5769_responses_is_read_and_written(vector, address):
    assert parse_stun_untrusted(vector).attributes["XOR-MAPPED-ADDRESS"] == address
    assert encode_xor_address(address, TRANSACTION_ID) in vector


def test_encode_writes_the_rfc5769_ipv4_response_up_to_its_padding():
    attributes = [
        (Attribute.SOFTWARE, b"test vector "),  # the RFC pads with a space, which is part of the signature
        (Attribute.XOR_MAPPED_ADDRESS, encode_xor_address(("192.0.2.1", 32853), TRANSACTION_ID)),
    ]
    encoded = encode_stun(MessageType.BINDING_SUCCESS, TRANSACTION_ID, attributes, PASSWORD)
    assert encoded[:22] + b"\x00\x0b" + encoded[24:48] == IPV4_RESPONSE[:48]
    assert len(encoded) == len(IPV4_RESPONSE)


@given(
    transaction_id=st.binary(min_size=12, max_size=12),
    username=st.text(max_size=80),
    priority=st.integers(0, 2**32 - 1),
    host=st.ip_addresses(),
    port=st.integers(0, 65535),
)
def test_encode_is_understood_by_aioice(transaction_id, username, priority, host, port):
    encoded = encode_stun(
        MessageType.BINDING_REQUEST,
        transaction_id,
        [
            (Attribute.USERNAME, username.encode()),
            (Attribute.PRIORITY, priority.to_bytes(4)),
            (Attribute.XOR_MAPPED_ADDRESS, encode_xor_address((str(host), port), transaction_id)),
            (Attribute.ERROR_CODE, encode_error_code(487, "Role Conflict")),
            (Attribute.USE_CANDIDATE, b""),
        ],
        PASSWORD,
    )
    message = aioice_stun.parse_message(encoded)
    assert message.transaction_id == transaction_id
    assert message.check_message_integrity(PASSWORD)
    assert message.attributes["USERNAME"] == username
    assert message.attributes["PRIORITY"] == priority
    assert message.attributes["XOR-MAPPED-ADDRESS"] == (str(host), port)
    assert message.attributes["ERROR-CODE"] == (487, "Role Conflict")
    assert "USE-CANDIDATE" in message.attributes


def test_parse_reads_what_aioice_writes():
    theirs = aioice_stun.Message(
        aioice_stun.Method.BINDING,
        aioice_stun.Class.REQUEST,
        TRANSACTION_ID,
        {"USERNAME": "evtj:h6vY", "PRIORITY": 1, "ICE-CONTROLLING": 2, "USE-CANDIDATE": None},
    )
    theirs.add_message_integrity(PASSWORD)
    message = parse_stun_untrusted(bytes(theirs))
    assert message.is_signed_with(PASSWORD)
    assert message.attributes.keys() >= {"USERNAME", "ICE-CONTROLLING", "USE-CANDIDATE"}


@given(data=st.binary(max_size=200))
def test_parse_refuses_arbitrary_bytes_without_raising(data):
    assert parse_stun_untrusted(data) is None


@given(
    body=st.lists(
        st.tuples(
            st.sampled_from([*Attribute, 0x0003, 0x0005, 0x000C, 0x7777, 0xC057]), st.binary(max_size=30)
        )
    ),
    length_error=st.sampled_from([0, 0, 0, 4, -4]),
)
def test_parse_survives_well_framed_nonsense(body, length_error):
    message = encode_stun(MessageType.BINDING_REQUEST, TRANSACTION_ID, body)
    length = int.from_bytes(message[2:4]) + length_error
    parse_stun_untrusted(message[:2] + max(length, 0).to_bytes(2) + message[4:])


@given(position=st.integers(0, len(SAMPLE_REQUEST) * 8 - 1))
def test_parse_refuses_or_disbelieves_any_flipped_bit(position):
    flipped = bytearray(SAMPLE_REQUEST)
    flipped[position // 8] ^= 1 << position % 8
    message = parse_stun_untrusted(bytes(flipped))
    in_fingerprint_header = (
        position // 8 >= len(SAMPLE_REQUEST) - 8
    )  # outside the signature: may become ignorable
    assert message is None or not message.is_signed_with(PASSWORD) or in_fingerprint_header


@pytest.mark.parametrize("length", range(len(SAMPLE_REQUEST)))
def test_parse_refuses_every_truncation(length):
    assert parse_stun_untrusted(SAMPLE_REQUEST[:length]) is None


# Without FINGERPRINT, which would give away every one of the changes below.
PLAIN = SAMPLE_REQUEST[:2] + b"\x00\x50" + SAMPLE_REQUEST[4:-8]


def test_parse_does_without_a_fingerprint():
    assert parse_stun_untrusted(PLAIN).is_signed_with(PASSWORD)


@pytest.mark.parametrize(
    "data",
    [
        PLAIN[:4] + b"\x21\x12\xa4\x43" + PLAIN[8:],
        b"\x40" + PLAIN[1:],
        b"\x80" + PLAIN[1:],
        PLAIN + b"\0\0\0\0",
        PLAIN[:2] + b"\x00\x52" + PLAIN[4:] + b"\0\0",
        PLAIN[:2] + b"\x00\x4c" + PLAIN[4:-24] + b"\x00\x08\x00\x10" + PLAIN[-20:-4],
        SAMPLE_REQUEST[:-4] + b"\0\0\0\0",
    ],
    ids=[
        "cookie",
        "second bit",
        "first bit",
        "trailing bytes",
        "alignment",
        "short signature",
        "fingerprint",
    ],
)
def test_parse_refuses_bad_framing(data):
    assert parse_stun_untrusted(data) is None


def test_parse_tells_unknown_required_attributes_but_not_optional_ones():
    message = parse_stun_untrusted(
        signed_request([(0x7F01, b"abc"), (0xC057, b"wxyz"), (0x0003, b"\0\0\0\0")])
    )
    assert message.unknown_attributes == (0x7F01, 0x0003)


def test_parse_ignores_what_follows_message_integrity():
    signed = encode_stun(
        MessageType.BINDING_REQUEST, TRANSACTION_ID, [(Attribute.USERNAME, b"evtj:h6vY")], PASSWORD
    )[:-8]
    for late in ((Attribute.USE_CANDIDATE, b""), (0x7F01, b""), (Attribute.USERNAME, b"else:where")):
        tail = late[0].to_bytes(2) + len(late[1]).to_bytes(2) + late[1] + bytes(-len(late[1]) % 4)
        whole = signed[:2] + (len(signed) - 20 + len(tail)).to_bytes(2) + signed[4:] + tail
        message = parse_stun_untrusted(whole)
        assert message.is_signed_with(PASSWORD)
        assert message.unknown_attributes == ()
        assert message.attributes.keys() == {"USERNAME", "MESSAGE-INTEGRITY"}
        assert message.attributes["USERNAME"] == "evtj:h6vY"


def test_message_without_integrity_is_signed_by_nobody():
    assert not parse_stun_untrusted(signed_request(password=None)).is_signed_with(b"")


def test_walk_raises_value_error_only_where_the_message_ends():
    attributes = walk_attributes_untrusted(SAMPLE_REQUEST[:2] + b"\x00\x08" + SAMPLE_REQUEST[4:28])
    with pytest.raises(ValueError, match="runs over the end"):
        list(attributes)


@pytest.mark.parametrize(
    ("host", "normal"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:0201", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
    ],
)
def test_normalise_address_writes_one_spelling(host, normal):
    assert normalise_address(host, 5) == (normal, 5)


def test_normalise_address_names_what_is_no_address():
    with pytest.raises(LocalProtocolError, match=r"'example\.org' is not an IP address"):
        normalise_address("example.org", 5)
