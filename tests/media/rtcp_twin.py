"""RTCP as RFC 3550 tells it: slow, obvious, in bytes and lists. What the kernels are compared with."""

import struct
from dataclasses import dataclass

SR, RR, SDES, BYE, APP, RTPFB, PSFB, XR = range(200, 208)


@dataclass
class Packet:
    kind: int
    count: int
    body: bytes  # without padding
    items: list[bytes]


def items_of(kind: int, count: int, body: bytes) -> list[bytes] | None:
    """The report blocks, sources or feedback items in a body. None: it is too short."""
    first = {SR: 24, RR: 4, APP: 8, RTPFB: 8, PSFB: 8, XR: 4}.get(kind, 0)
    size = {SR: 24, RR: 24, BYE: 4, (RTPFB, 1): 4, (PSFB, 4): 8}
    each = size.get(kind) or size.get((kind, count))
    if len(body) < first:
        return None
    if each is None:
        return []
    number = count if kind in (SR, RR, BYE) else (len(body) - first) // each
    if len(body) < first + number * each:
        return None
    return [body[first + index * each : first + (index + 1) * each] for index in range(number)]


def walk(data: bytes) -> tuple[list[Packet], bytes]:
    """The packets of a compound, and what is left where it is malformed."""
    packets = []
    while len(data) >= 4:
        first, kind, words = struct.unpack_from("!BBH", data)
        body, rest = data[4 : 4 + 4 * words], data[4 + 4 * words :]
        if first >> 6 != 2 or len(body) < 4 * words:
            break
        if first & 0x20:
            if not body or not 1 <= body[-1] <= len(body):
                break
            body = body[: -body[-1]]
        items = items_of(kind, first & 31, body)
        if items is None:
            break
        packets.append(Packet(kind, first & 31, body, items))
        data = rest
    return packets, data


def parse(data: bytes) -> list[Packet] | None:
    """The packets of a compound. None: malformed somewhere, or empty."""
    packets, rest = walk(data)
    return None if rest else packets or None


def sdes_items(count: int, body: bytes) -> list[tuple[int, int, bytes]]:
    """(ssrc, type, text) of the items of an SDES body, up to where it makes no sense any more."""
    found = []
    place = 0
    for _ in range(count):
        if place + 4 > len(body):
            return found
        (ssrc,) = struct.unpack_from("!L", body, place)
        place += 4
        while True:
            if place >= len(body):
                return found
            if body[place] == 0:
                place += 4 - place % 4
                break
            if place + 2 > len(body) or place + 2 + body[place + 1] > len(body):
                return found
            text = body[place + 2 : place + 2 + body[place + 1]]
            found.append((ssrc, body[place], text))
            place += 2 + len(text)
    return found
