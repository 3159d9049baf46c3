"""Loops around the relay's kernels, compiled, so that what is timed is the kernel and not the call from Python.

Inputs differ from one round to the next: nothing can be computed once for all of them. Every function counts the rounds
that came out right, and the caller checks it.
"""

from typing import Any

import numpy as np

from media.address_hash import bind_key, find_peer, load_key
from media.aead import packet_index, protect_rtp
from media.extensions import canonicalize_extensions
from media.ingress import receive_datagram
from media.jit import integer, kernel
from media.keyframes import is_keyframe
from media.memory import packets_at, peer_at, record_at, words_at
from media.native import SRTP_OK, memcpy, srtp_protect, srtp_unprotect
from media.reception import update_reception
from media.rtp import parse_rtp, write_u16
from media.tables import CONTEXT, PEER

Array = Any  # ndarray; mypy does not know the fields of structured ones


@kernel
def repeat_parse(packets: Array, length: int, meta: Array, times: int) -> int:
    """Parse the packets in turn. Returns how many were well-formed."""
    good = integer(0)
    for index in range(times):
        if parse_rtp(packets[index % packets.shape[0]], length, meta, 0):
            good += 1
    return good


@kernel
def repeat_canonicalize(
    packets: Array, length: int, meta: Array, extension_in: Array, names: Array, scratch: Array, times: int
) -> int:
    """Copy, parse and canonicalize the packets in turn. Returns how many elements were kept."""
    kept = integer(0)
    for index in range(times):
        packet = packets[index % packets.shape[0]]
        memcpy(scratch.ctypes.data, packet.ctypes.data, np.uintp(length))
        parse_rtp(scratch, length, meta, 0)
        canonicalize_extensions(scratch, meta, 0, extension_in, names)
        kept += integer(meta[0].element_count)
    return kept


@kernel
def bind_all(context_address: int, sockaddrs: Array) -> int:
    """Bind row i to socket address i. Returns how many found room."""
    context = record_at(CONTEXT, context_address)
    key = words_at(context.key, 3)
    bound = integer(0)
    for row in range(sockaddrs.shape[0]):
        load_key(integer(sockaddrs[row].ctypes.data), key)
        if bind_key(context, key, row):
            bound += 1
    return bound


@kernel
def repeat_find(context_address: int, sockaddrs: Array, times: int) -> int:
    """Look the addresses up in turn. Returns how many rows were the right ones."""
    context = record_at(CONTEXT, context_address)
    key = words_at(context.key, 3)
    right = integer(0)
    for index in range(times):
        row = index % sockaddrs.shape[0]
        load_key(integer(sockaddrs[row].ctypes.data), key)
        if find_peer(context, key) == row:
            right += 1
    return right


@kernel
def repeat_reception(context_address: int, times: int) -> int:
    """Account for packets in order. Returns by how much they advanced."""
    context = record_at(CONTEXT, context_address)
    meta = packets_at(context.packet)
    advanced = integer(0)
    for _ in range(times):
        meta[0].sequence_number = (meta[0].sequence_number + 1) & 0xFFFF
        meta[0].timestamp = (meta[0].timestamp + 960) & 0xFFFFFFFF
        context.now_ns += 20_000_000
        advanced += update_reception(context, 0)
    return advanced


@kernel
def repeat_keyframe(packets: Array, start: int, length: int, codec: int, times: int) -> int:
    """Look at the payloads in turn. Returns how many begin a keyframe."""
    found = integer(0)
    for index in range(times):
        if is_keyframe(packets[index % packets.shape[0]], start, length, codec):
            found += 1
    return found


@kernel
def repeat_protect(
    session: int, packet: Array, scratch: Array, lengths: Array, first: int, times: int
) -> int:
    """Protect copies of `packet`, numbered from `first`, by libsrtp. Returns how many it did."""
    good = integer(0)
    for index in range(times):
        memcpy(scratch.ctypes.data, packet.ctypes.data, np.uintp(packet.size))
        write_u16(scratch, 2, first + index)
        lengths[0] = packet.size
        if srtp_protect(np.uintp(session), scratch.ctypes.data, lengths.ctypes.data) == SRTP_OK:
            good += 1
    return good


@kernel
def repeat_protect_aead(
    context_address: int, peer_address: int, packet: Array, scratch: Array, first: int, times: int
) -> int:
    """As `repeat_protect`, by OpenSSL's cipher, as the relay does it for AEAD_AES_128_GCM."""
    context, peer = record_at(CONTEXT, context_address), record_at(PEER, peer_address)
    good = integer(0)
    for index in range(times):
        memcpy(scratch.ctypes.data, packet.ctypes.data, np.uintp(packet.size))
        write_u16(scratch, 2, first + index)
        number = packet_index(integer(first + index - 1), (first + index) & 0xFFFF)
        place = integer(scratch.ctypes.data)
        if protect_rtp(context, peer, place, integer(packet.size), number) != 0:
            good += 1
    return good


@kernel
def repeat_unprotect(session: int, datagrams: Array, length: int, scratch: Array, lengths: Array) -> int:
    """Unprotect a copy of each datagram once. Returns how many it did."""
    good = integer(0)
    for index in range(datagrams.shape[0]):
        memcpy(scratch.ctypes.data, datagrams[index].ctypes.data, np.uintp(length))
        lengths[0] = length
        if srtp_unprotect(np.uintp(session), scratch.ctypes.data, lengths.ctypes.data) == SRTP_OK:
            good += 1
    return good


@kernel
def repeat_forward(context_address: int, datagrams: Array, length: int, scratch: Array, sockaddr: int) -> int:
    """Receive a copy of each datagram once, up to the full send queue, which is then forgotten.

    Returns how many datagrams were queued.
    """
    context = record_at(CONTEXT, context_address)
    queued = integer(0)
    for index in range(datagrams.shape[0]):
        memcpy(scratch.ctypes.data, datagrams[index].ctypes.data, np.uintp(length))
        receive_datagram(context, integer(scratch.ctypes.data), sockaddr, length)
        queued += context.send_count
        context.send_count = 0
        context.send_cursor = 0
        for row in range(context.peer_limit):
            peer_at(context, row).pending_last = 0
    return queued
