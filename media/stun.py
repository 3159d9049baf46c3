"""Consent checks (RFC 7675) of connected peers, answered where they arrive.

A browser asks every few seconds whether it may go on sending. Of thousands of idle peers that would be all the control
plane does, and a control plane that is late would lose them all. So what is *plainly* such a check is answered here: a
binding request from the peer's selected address, named and signed with the credentials it has proved, without
anything that could change where or whether packets flow. The answer is what `relay.ice` would have sent, byte for
byte.

Everything else is left to that module, which alone decides: checks from other addresses, with new or wrong
credentials, of the wrong role, with attributes it may know and we do not, and all that is no request.

*Source*: RFC 8489 sections 5, 14.2, 14.5 and 14.7; RFC 8445 section 7.3.
"""

from typing import Any, Final

import numpy as np

from media.classify import STUN_HEADER_BYTES, STUN_MAGIC_COOKIE
from media.jit import helper, integer, kernel
from media.memory import PEER_ADDRESS, PEER_SIZE, bytes_at, peer_at, words_at
from media.native import AF_INET6
from media.rtp import read_u8, read_u16, read_u32, write_u16, write_u32
from media.send import queue_datagram, reserve_datagram
from media.sha1 import BLOCK_BYTES, BLOCK_WORDS, DIGEST_BYTES, DIGEST_WORDS, hash_key, hmac_sha1
from media.tables import NONE, SEND_BYTES, SOCKADDR_BYTES, USERNAME_BYTES

CHECKS_PER_SECOND: Final = 50
"""Of one peer, answered here; beyond that it spends the budget of the punt path. Chrome begins with 20 a second."""

MAX_CHECK_BYTES: Final = 512
"""A check takes about 100; hashing more for whoever sends it is not worth it."""

BINDING_REQUEST: Final = 0x0001
BINDING_SUCCESS: Final = 0x0101

USERNAME: Final = 0x0006
MESSAGE_INTEGRITY: Final = 0x0008
XOR_MAPPED_ADDRESS: Final = 0x0020
PRIORITY: Final = 0x0024
USE_CANDIDATE: Final = 0x0025
COMPREHENSION_OPTIONAL: Final = 0x8000  # and above
SOFTWARE: Final = 0x8022
FINGERPRINT: Final = 0x8028
ICE_CONTROLLING: Final = 0x802A
OTHER_ADDRESS: Final = (
    0x802C  # with FINGERPRINT the ends of what optional attributes have a meaning to somebody
)

_INTEGRITY_BYTES: Final = 4 + DIGEST_BYTES
_FINGERPRINT_BYTES: Final = 8
_FINGERPRINT_MASK: Final = 0x5354554E
_IPV4: Final = 1
_IPV6: Final = 2
_CRC_POLYNOMIAL: Final = 0xEDB88320


def _crc_table() -> np.ndarray[Any, np.dtype[np.int64]]:
    remainders = np.arange(256, dtype=np.int64)
    for _ in range(8):
        remainders = np.where(remainders & 1, (remainders >> 1) ^ _CRC_POLYNOMIAL, remainders >> 1)
    return remainders


_CRC: Final = _crc_table()


@kernel
def set_consent(context: Any, peer: Any, blob: int, username_length: int) -> None:
    """Learn the credentials of a peer's checks: its HMAC key and user name at `blob`. Length 0: answer none."""
    key = bytes_at(blob, BLOCK_BYTES)
    hash_key(key, peer.integrity_inner, peer.integrity_outer, words_at(context.schedule, BLOCK_WORDS))
    peer.username[:] = bytes_at(blob + BLOCK_BYTES, USERNAME_BYTES)
    peer.username_length = username_length


@kernel
def answer_consent_check(context: Any, peer_row: int, buffer: int, sockaddr: int, length: int) -> bool:
    """Answer the STUN message of `length` bytes at `buffer`, which came from an address of the peer, if it may be.

    Returns: whether it was answered; then it also counts as a sign of life. False leaves everything as it was.
    Cost: 1.2 us, of which SHA-1 0.8; 0.7 us for a forged one (20,000 in a row, CPU time, one EPYC core).
    """
    peer = peer_at(context, peer_row)
    if peer.username_length == 0 or peer.check_budget <= 0 or length > MAX_CHECK_BYTES:
        return False
    if not _is_selected(context, peer_row, sockaddr):
        return False
    packet = bytes_at(buffer, length)
    integrity = find_integrity(packet, length, peer.username, peer.username_length)
    if integrity == NONE or not _is_authentic(context, peer, packet, length, integrity):
        return False
    answer = bytes_at(reserve_datagram(context), SEND_BYTES)
    queue_datagram(context, peer_row, peer, _write_answer(context, peer, packet, sockaddr, answer))
    peer.check_budget -= 1
    peer.last_received_ns = context.now_ns
    peer.last_check_ns = context.now_ns
    return True


@helper
def _is_selected(context: Any, peer_row: int, sockaddr: int) -> bool:
    """Whether packets to the peer go to this very address. Of IPv6 the flow does not matter, the scope does."""
    selected = words_at(context.peers + integer(peer_row) * PEER_SIZE + PEER_ADDRESS, 4)
    source = words_at(sockaddr, 4)
    if (source[0] & 0xFFFF) != AF_INET6:
        return selected[0] == source[0]
    return (
        ((selected[0] ^ source[0]) & 0xFFFFFFFF) == 0
        and selected[1] == source[1]
        and selected[2] == source[2]
        and ((selected[3] ^ source[3]) & 0xFFFFFFFF) == 0
    )


@kernel
def find_integrity(packet: np.ndarray, length: int, username: np.ndarray, username_length: int) -> int:
    """Offset of MESSAGE-INTEGRITY in a plain consent check of this user, NONE when the message is anything else.

    `is_plausible_stun` must have said yes. Nothing is authenticated yet but, when there is one, the FINGERPRINT.
    """
    if read_u16(packet, 0) != BINDING_REQUEST:
        return NONE
    named = False
    offset = integer(STUN_HEADER_BYTES)
    while offset < length:  # both are multiples of four, so a whole attribute header is there
        kind = read_u16(packet, offset)
        size = read_u16(packet, offset + 2)
        value = offset + 4
        if value + size > length:
            return NONE
        if kind == MESSAGE_INTEGRITY:
            ends = size == DIGEST_BYTES and _ends_well(packet, value + size, length)
            return offset if named and ends else NONE
        if kind == USERNAME:
            if not _is_text(packet, value, size, username, username_length):
                return NONE
            named = True
        elif not _changes_nothing(packet, kind, value, size):
            return NONE
        offset = value + ((size + 3) & ~3)
    return NONE


@helper
def _is_text(packet: np.ndarray, offset: int, size: int, text: np.ndarray, length: int) -> bool:
    if size != length:
        return False
    for index in range(size):  # noqa: SIM110 - kernels have no generators
        if packet[offset + index] != text[index]:
            return False
    return True


@helper
def _changes_nothing(packet: np.ndarray, kind: int, value: int, size: int) -> bool:
    """Whether an attribute can be passed over: what checks carry, and what is optional and unknown to us."""
    if kind == PRIORITY:
        return size == 4
    if kind == USE_CANDIDATE:
        return size == 0  # the address has been selected already
    if kind == ICE_CONTROLLING:
        return size == 8
    if kind == SOFTWARE:
        for index in range(value, value + size):  # noqa: SIM110 - as above
            if packet[index] >= 0x80:
                return False  # may be no UTF-8
        return True
    return kind > OTHER_ADDRESS or COMPREHENSION_OPTIONAL <= kind < FINGERPRINT


@helper
def _ends_well(packet: np.ndarray, offset: int, length: int) -> bool:
    """Whether the message ends at `offset`, or with its FINGERPRINT from there on."""
    if offset == length:
        return True
    return (
        offset + _FINGERPRINT_BYTES == length
        and read_u16(packet, offset) == FINGERPRINT
        and read_u16(packet, offset + 2) == 4
        and read_u32(packet, offset + 4) == fingerprint(packet, offset)
    )


@kernel
def fingerprint(packet: np.ndarray, length: int) -> int:
    """FINGERPRINT of the first `length` bytes; the header must count the attribute in (RFC 8489 section 14.7)."""
    remainder = integer(0xFFFFFFFF)
    for index in range(length):
        remainder = (remainder >> 8) ^ _CRC[(remainder ^ read_u8(packet, index)) & 0xFF]
    return remainder ^ 0xFFFFFFFF ^ _FINGERPRINT_MASK


@helper
def _is_authentic(context: Any, peer: Any, packet: np.ndarray, length: int, integrity: int) -> bool:
    digest = words_at(context.digest, DIGEST_WORDS)
    _set_length(packet, integrity + _INTEGRITY_BYTES)  # as if the message ended there: RFC 8489 section 14.5
    _sign(context, peer, packet, integrity, digest)
    _set_length(packet, length)
    difference = integer(0)  # all of it, however early they differ: the time must not tell
    for index in range(DIGEST_WORDS):
        difference |= digest[index] ^ read_u32(packet, integrity + 4 + 4 * index)
    return difference == 0


@helper
def _sign(context: Any, peer: Any, packet: np.ndarray, length: int, digest: np.ndarray) -> None:
    schedule = words_at(context.schedule, BLOCK_WORDS)
    hmac_sha1(peer.integrity_inner, peer.integrity_outer, packet, length, digest, schedule)


@helper
def _set_length(packet: np.ndarray, length: int) -> None:
    write_u16(packet, 2, length - STUN_HEADER_BYTES)


@helper
def _write_answer(context: Any, peer: Any, packet: np.ndarray, sockaddr: int, answer: np.ndarray) -> int:
    """Compose the success response to the check in `packet`. Returns its length."""
    write_u16(answer, 0, BINDING_SUCCESS)
    write_u32(answer, 4, STUN_MAGIC_COOKIE)
    answer[8:STUN_HEADER_BYTES] = packet[8:STUN_HEADER_BYTES]
    integrity = _write_mapped_address(answer, STUN_HEADER_BYTES, sockaddr)
    end = integrity + _INTEGRITY_BYTES
    _set_length(answer, end)
    digest = words_at(context.digest, DIGEST_WORDS)
    _sign(context, peer, answer, integrity, digest)
    write_u16(answer, integrity, MESSAGE_INTEGRITY)
    write_u16(answer, integrity + 2, DIGEST_BYTES)
    for index in range(DIGEST_WORDS):
        write_u32(answer, integrity + 4 + 4 * index, digest[index])
    _set_length(answer, end + _FINGERPRINT_BYTES)
    checksum = fingerprint(answer, end)
    write_u16(answer, end, FINGERPRINT)
    write_u16(answer, end + 2, 4)
    write_u32(answer, end + 4, checksum)
    return end + _FINGERPRINT_BYTES


@helper
def _write_mapped_address(answer: np.ndarray, offset: int, sockaddr: int) -> int:
    """Append XOR-MAPPED-ADDRESS. An IPv4 address that an IPv6 socket shows as mapped is written as IPv4."""
    source = bytes_at(sockaddr, SOCKADDR_BYTES)
    words = words_at(sockaddr, 3)
    host = integer(4)  # where sockaddr_in has it
    size = integer(4)
    family = integer(_IPV4)
    if (words[0] & 0xFFFF) == AF_INET6:
        host = integer(8)
        if words[1] == 0 and read_u32(source, 16) == 0xFFFF:
            host += 12
        else:
            size = integer(16)
            family = integer(_IPV6)
    write_u16(answer, offset, XOR_MAPPED_ADDRESS)
    write_u16(answer, offset + 2, 4 + size)
    write_u16(answer, offset + 4, family)
    write_u16(answer, offset + 6, read_u16(source, 2) ^ (STUN_MAGIC_COOKIE >> 16))
    for index in range(size):
        # The mask is the magic cookie and, for IPv6, the transaction: bytes 4 to 19 of the header.
        answer[offset + 8 + index] = source[host + index] ^ answer[4 + index]
    return offset + 8 + size
