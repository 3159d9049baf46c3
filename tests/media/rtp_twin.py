"""RTP as the RFCs tell it: slow, obvious, in bytes and lists. What the kernels are compared with."""

import struct
from dataclasses import dataclass, field

from media import codecs
from media.tables import MAX_ELEMENTS, NO_LEVEL

FORWARDED = set(codecs.FORWARDED_EXTENSIONS)


@dataclass
class Header:
    padding: bool
    marker: int
    payload_type: int
    sequence_number: int
    timestamp: int
    ssrc: int
    sources: bytes
    profile: int | None  # None: no extension block
    block: bytes
    payload: bytes
    padding_bytes: bytes

    @property
    def header_length(self):
        return 12 + len(self.sources) + (0 if self.profile is None else 4 + len(self.block))


def parse(data: bytes) -> Header | None:
    """RFC 3550 section 5.1. None: malformed."""
    if len(data) < 12:
        return None
    first, second, sequence_number, timestamp, ssrc = struct.unpack_from("!BBHLL", data)
    if first >> 6 != 2:
        return None
    rest = data[12:]
    source_bytes = 4 * (first & 15)
    if len(rest) < source_bytes:
        return None
    sources, rest = rest[:source_bytes], rest[source_bytes:]
    profile, block = None, b""
    if first & 0x10:
        if len(rest) < 4:
            return None
        profile, words = struct.unpack_from("!HH", rest)
        block, rest = rest[4 : 4 + 4 * words], rest[4 + 4 * words :]
        if len(block) < 4 * words:
            return None
    padding = b""
    if first & 0x20:
        if not rest or not 1 <= rest[-1] <= len(rest):
            return None
        count = rest[-1]
        rest, padding = rest[:-count], rest[-count:]
    return Header(
        bool(first & 0x20),
        second >> 7,
        second & 0x7F,
        sequence_number,
        timestamp,
        ssrc,
        sources,
        profile,
        block,
        rest,
        padding,
    )


def build(header: Header) -> bytes:
    """The reverse of `parse`."""
    first = 0x80 | header.padding << 5 | (header.profile is not None) << 4 | len(header.sources) // 4
    data = struct.pack(
        "!BBHLL",
        first,
        header.marker << 7 | header.payload_type,
        header.sequence_number,
        header.timestamp,
        header.ssrc,
    )
    data += header.sources
    if header.profile is not None:
        data += struct.pack("!HH", header.profile, len(header.block) // 4) + header.block
    return data + header.payload + header.padding_bytes


def is_two_byte(profile: int) -> bool:
    return profile >> 4 == 0x100


def elements_of(profile: int, block: bytes) -> list[tuple[int, bytes]]:
    """RFC 8285 sections 4.2 and 4.3: the (id, value) pairs of a block, up to where it makes no sense any more."""
    elements = []
    while block:
        if block[0] == 0:
            block = block[1:]
            continue
        if is_two_byte(profile):
            if len(block) < 2:
                break
            wire, size, block = block[0], block[1], block[2:]
        elif profile == 0xBEDE:
            wire, size, block = block[0] >> 4, (block[0] & 15) + 1, block[1:]
            if wire in (0, 15):
                break
        else:
            break
        if len(block) < size:
            break
        elements.append((wire, block[:size]))
        block = block[size:]
    return elements


def block_of(profile: int, elements: list[tuple[int, bytes]]) -> bytes:
    """The reverse of `elements_of`."""
    block = b""
    for wire, value in elements:
        block += bytes([wire, len(value)]) if is_two_byte(profile) else bytes([wire << 4 | (len(value) - 1)])
        block += value
    return block + bytes(-len(block) % 4)


@dataclass
class Canonical:
    packet: bytes
    elements: list[tuple[int, bytes]] = field(default_factory=list)
    mid: bytes = b""
    rid: bytes = b""
    level_dbov: int = NO_LEVEL
    voiced: int = 0


def canonicalize(header: Header, extension_in: dict[int, int]) -> Canonical:
    """What `canonicalize_extensions` promises."""
    if header.profile is None:
        return Canonical(build(header))
    canonical = Canonical(b"")
    for wire, value in elements_of(header.profile, header.block):
        extension = extension_in.get(wire, 0)
        if extension == codecs.MID and len(value) <= 32:
            canonical.mid = value
        if extension in (codecs.RID, codecs.REPAIRED_RID) and len(value) <= 32:
            canonical.rid = value
        if extension == codecs.AUDIO_LEVEL and value:
            canonical.level_dbov = value[0] & 127
            canonical.voiced = value[0] >> 7
        if extension in FORWARDED and len(canonical.elements) < MAX_ELEMENTS:
            canonical.elements.append((extension, value))
    rewritten = Header(**vars(header))
    if canonical.elements:
        rewritten.block = block_of(header.profile, canonical.elements)
    else:
        rewritten.profile = None
        rewritten.block = b""
    canonical.packet = build(rewritten)
    return canonical
