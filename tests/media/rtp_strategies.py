"""Arbitrary RTP packets, well-formed ones mostly, for hypothesis."""

import rtp_twin
from hypothesis import strategies as st

from media import codecs

u8 = st.integers(0, 0xFF)
u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)

ONE_BYTE_ELEMENT = st.tuples(st.integers(1, 14), st.binary(min_size=1, max_size=16))
TWO_BYTE_ELEMENT = st.tuples(st.integers(1, 20), st.binary(max_size=40))


@st.composite
def extension_blocks(draw):
    """(profile, block): elements with padding between them, now and then a stop or bytes of no sense behind."""
    profile = draw(st.sampled_from([0xBEDE, 0xBEDE, 0x1000, 0x1007, 0x0000, 0x1010, 0xBEDF]))
    element = TWO_BYTE_ELEMENT if rtp_twin.is_two_byte(profile) else ONE_BYTE_ELEMENT
    pieces = [
        rtp_twin.block_of(profile, [each])[: None if draw(st.booleans()) else 1 + len(each[1])]
        for each in draw(st.lists(element, max_size=12))
    ]
    block = (
        b"".join(pieces)
        + draw(st.sampled_from([b"", b"", b"\0", b"\xf0", b"\x05"]))
        + draw(st.binary(max_size=6))
    )
    return profile, block + bytes(-len(block) % 4)


@st.composite
def rtp_headers(draw):
    """A well-formed packet as the twin's `Header`."""
    profile, block = draw(st.one_of(st.just((None, b"")), extension_blocks()))
    padding_count = draw(st.one_of(st.just(0), st.integers(1, 40)))
    padding = bytes(padding_count - 1) + bytes([padding_count]) if padding_count else b""
    return rtp_twin.Header(
        bool(padding),
        draw(st.integers(0, 1)),
        draw(st.integers(0, 127)),
        draw(u16),
        draw(u32),
        draw(u32),
        draw(st.binary(max_size=15)) * 4,
        profile,
        block,
        draw(st.binary(max_size=60)),
        padding,
    )


@st.composite
def rtp_packets(draw):
    """Bytes: a well-formed packet, cut short or with a byte changed now and then, or no packet at all."""
    data = rtp_twin.build(draw(rtp_headers()))
    damage = draw(st.sampled_from(["none", "cut", "change", "noise"]))
    if damage == "cut":
        return data[: draw(st.integers(0, len(data)))]
    if damage == "change":
        place = draw(st.integers(0, min(len(data) - 1, 80)))
        return data[:place] + bytes([draw(u8)]) + data[place + 1 :]
    if damage == "noise":
        return draw(st.binary(max_size=120))
    return data


extension_maps = st.lists(
    st.sampled_from([*range(14), *codecs.FORWARDED_EXTENSIONS]), min_size=16, max_size=16
)
wire_maps = st.lists(st.sampled_from([*range(16), *[0] * 10]), min_size=16, max_size=16)
