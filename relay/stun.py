"""STUN messages as ICE uses them: a total parser and an encoder (RFC 8489, RFC 5389; attributes of RFC 8445).

Values and the FINGERPRINT are decoded by aioice's parser. What that parser does not look at is checked here: the magic
cookie, the two zero bits, the 4-byte alignment, attributes that run over the end, and comprehension-required
attributes that we do not understand. The encoder is ours because aioice cannot write UNKNOWN-ATTRIBUTES and takes
14 us for a signed answer where this one takes 3.3 us (`timeit`, one EPYC core).

Not here: long-term credentials, MESSAGE-INTEGRITY-SHA256 (ignored after MESSAGE-INTEGRITY, as the RFC says), STUN over
TCP.
"""

import hmac
import ipaddress
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from aioice import stun

from relay.errors import LocalProtocolError

HEADER_BYTES: Final = 20
MAGIC_COOKIE: Final = 0x2112A442
TRANSACTION_ID_BYTES: Final = 12
_FINGERPRINT_MASK: Final = 0x5354554E  # RFC 8489 section 14.7
_INTEGRITY_ATTRIBUTE_BYTES: Final = 24
_FINGERPRINT_ATTRIBUTE_BYTES: Final = 8
_HEADER: Final = struct.Struct("!HHI12s")
_PAIR: Final = struct.Struct("!HH")

Address = tuple[str, int]
"""Host as canonical text and UDP port; an IPv4-mapped IPv6 host is written as IPv4. See `normalise_address`."""


class MessageType(IntEnum):
    """The message types of the Binding method."""

    BINDING_REQUEST = 0x0001
    BINDING_INDICATION = 0x0011
    BINDING_SUCCESS = 0x0101
    BINDING_ERROR = 0x0111


class Attribute(IntEnum):
    """Attributes we read or write. Types below 0x8000 are comprehension-required."""

    MAPPED_ADDRESS = 0x0001
    USERNAME = 0x0006
    MESSAGE_INTEGRITY = 0x0008
    ERROR_CODE = 0x0009
    UNKNOWN_ATTRIBUTES = 0x000A
    REALM = 0x0014
    NONCE = 0x0015
    XOR_MAPPED_ADDRESS = 0x0020
    PRIORITY = 0x0024
    USE_CANDIDATE = 0x0025
    SOFTWARE = 0x8022
    FINGERPRINT = 0x8028
    ICE_CONTROLLED = 0x8029
    ICE_CONTROLLING = 0x802A


_UNDERSTOOD: Final = frozenset(Attribute)
_COMPREHENSION_OPTIONAL: Final = 0x8000


@dataclass(frozen=True, slots=True)
class StunMessage:
    """One well-formed message whose FINGERPRINT, when there is one, is right. Nothing of it is authenticated yet."""

    message_type: int
    transaction_id: bytes
    attributes: dict[str, Any]
    unknown_attributes: tuple[int, ...]
    """Comprehension-required types that we do not understand, of the part that MESSAGE-INTEGRITY covers."""
    signed: bytes | None
    """The bytes before MESSAGE-INTEGRITY; None when that attribute is absent."""

    def is_signed_with(self, password: bytes) -> bool:
        """Whether MESSAGE-INTEGRITY is present and right."""
        if self.signed is None:
            return False
        expected = hmac.digest(password, _with_length(self.signed, _INTEGRITY_ATTRIBUTE_BYTES), "sha1")
        return hmac.compare_digest(expected, self.attributes["MESSAGE-INTEGRITY"])


def normalise_address(host: str, port: int) -> Address:
    """Return the one spelling of an address that the relay uses.

    Raises LocalProtocolError when `host` is not an IP address in text: no socket reports such a source.
    """
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError as error:
        raise LocalProtocolError(f"{host!r} is not an IP address in text form") from error
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return str(parsed), port


def walk_attributes_untrusted(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (type, offset of the value, length of the value) of each attribute in turn.

    Raises ValueError, possibly after some attributes, when `data` is not one whole STUN message.
    """
    if len(data) < HEADER_BYTES or data[0] > 3 or int.from_bytes(data[4:8]) != MAGIC_COOKIE:
        raise ValueError("not a STUN header")
    if len(data) % 4 or int.from_bytes(data[2:4]) != len(data) - HEADER_BYTES:
        raise ValueError("the message length is wrong")
    position = HEADER_BYTES
    while position < len(data):  # both are multiples of four, so a whole attribute header is there
        attribute, length = _PAIR.unpack_from(data, position)
        position += 4
        if position + length > len(data):
            raise ValueError("an attribute runs over the end")
        yield attribute, position, length
        position += (length + 3) & ~3


def parse_stun_untrusted(data: bytes) -> StunMessage | None:
    """Parse one datagram; None when it is not a well-formed STUN message or its FINGERPRINT is wrong."""
    unknown: list[int] = []
    signed: bytes | None = None
    try:
        for attribute, position, length in walk_attributes_untrusted(data):
            if signed is not None:
                continue  # not authenticated: to be ignored, but it has to be well-formed
            if attribute == Attribute.MESSAGE_INTEGRITY:
                if length != _INTEGRITY_ATTRIBUTE_BYTES - 4:
                    return None
                signed = data[: position - 4]
            elif attribute < _COMPREHENSION_OPTIONAL and attribute not in _UNDERSTOOD:
                unknown.append(attribute)
        message = stun.parse_message(data)
    except (ValueError, struct.error):
        return None
    return StunMessage(
        message_type=int.from_bytes(data[:2]),
        transaction_id=message.transaction_id,
        attributes=message.attributes,
        unknown_attributes=tuple(unknown),
        signed=signed,
    )


def encode_stun(
    message_type: MessageType,
    transaction_id: bytes,
    attributes: Iterable[tuple[Attribute, bytes]],
    password: bytes | None = None,
) -> bytes:
    """Encode a message with FINGERPRINT, and with MESSAGE-INTEGRITY before it when a password is given."""
    parts = [_HEADER.pack(message_type, 0, MAGIC_COOKIE, transaction_id)]
    parts += [_encode_attribute(attribute, value) for attribute, value in attributes]
    body = b"".join(parts)
    if password is not None:
        body = _with_length(body, _INTEGRITY_ATTRIBUTE_BYTES)
        body += _encode_attribute(Attribute.MESSAGE_INTEGRITY, hmac.digest(password, body, "sha1"))
    body = _with_length(body, _FINGERPRINT_ATTRIBUTE_BYTES)
    fingerprint = zlib.crc32(body) ^ _FINGERPRINT_MASK
    return body + _encode_attribute(Attribute.FINGERPRINT, fingerprint.to_bytes(4))


def encode_xor_address(address: Address, transaction_id: bytes) -> bytes:
    """Encode the value of XOR-MAPPED-ADDRESS (RFC 8489 section 14.2)."""
    packed = ipaddress.ip_address(address[0]).packed
    mask = (MAGIC_COOKIE.to_bytes(4) + transaction_id)[: len(packed)]
    xored = int.from_bytes(packed) ^ int.from_bytes(mask)
    family = 1 if len(packed) == 4 else 2
    return _PAIR.pack(family, address[1] ^ (MAGIC_COOKIE >> 16)) + xored.to_bytes(len(packed))


def encode_error_code(code: int, reason: str) -> bytes:
    """Encode the value of ERROR-CODE (RFC 8489 section 14.8)."""
    return _PAIR.pack(0, (code // 100 << 8) | code % 100) + reason.encode()


def _encode_attribute(attribute: Attribute, value: bytes) -> bytes:
    return _PAIR.pack(attribute, len(value)) + value + bytes(-len(value) % 4)


def _with_length(message: bytes, still_to_come_bytes: int) -> bytes:
    """Return the message with the length it has once an attribute of that size has been appended."""
    return message[:2] + (len(message) - HEADER_BYTES + still_to_come_bytes).to_bytes(2) + message[4:]
