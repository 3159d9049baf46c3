"""The send queue of a worker: protected datagrams, handed to the socket in batches.

Datagrams lie one behind the other in one buffer, each on a cache line of its own. At a flush those to one destination
are put together: a run of equal length goes to the kernel as one message that it cuts up again (UDP_SEGMENT), for a
fraction of the price. With one packet in there is one datagram for each destination and nothing to put together; when
the worker falls behind, batches grow, runs with them, and each datagram gets cheaper.

Socket addresses are not copied: messages point into the peers table, which does not change between two flushes.
"""

from typing import Any

import numpy as np

from media.aead import protect_rtp
from media.jit import helper, integer, kernel
from media.memory import PEER_ADDRESS, PEER_SIZE, bytes_at, count, indices_at, peer_at, record_at, words_at
from media.native import (
    EAGAIN,
    EINTR,
    EINVAL,
    EIO,
    IOVEC,
    MMSGHDR,
    MSG_DONTWAIT,
    SEGMENT_CONTROL,
    SRTP_OK,
    errno,
    sendmmsg,
    srtp_protect,
    srtp_protect_rtcp,
)
from media.tables import PENDING, SEND_BUFFER_BYTES, SEND_BYTES
from media.verdicts import Verdict

VECTOR_SIZE = IOVEC.itemsize
MESSAGE_SIZE = MMSGHDR.itemsize
CONTROL_SIZE = SEGMENT_CONTROL.itemsize
PENDING_SIZE = PENDING.itemsize

COUNTER_WORDS = 64
MAX_SEGMENTS = 64
"""UDP_MAX_SEGMENTS of Linux before 6.9; later ones take 128."""

MAX_RUN_BYTES = 65_000
"""A run is one IP datagram until it is cut: below 65,507 bytes."""

MAX_SEGMENT_BYTES = 1_400
"""A segment must fit the path MTU, or the whole run is refused; longer datagrams go alone and may be fragmented."""


@kernel
def flush_sends(context: Any) -> None:
    """Hand every queued datagram to the socket. Never waits: what a full socket buffer refuses is dropped, counted."""
    counters = words_at(context.counters, COUNTER_WORDS)
    total = _gather_messages(context)
    sent = integer(0)
    while sent < total:
        first = context.send_messages + sent * MESSAGE_SIZE
        accepted = integer(
            sendmmsg(np.int32(context.socket), first, np.uint32(total - sent), np.int32(MSG_DONTWAIT))
        )
        if accepted > 0:
            counters[Verdict.DATAGRAM_SENT] += _datagrams_in(context, sent, sent + accepted)
            sent += accepted
            continue
        reason = errno()
        if reason == EINTR:
            continue
        if reason == EAGAIN:
            counters[Verdict.SEND_BUFFER_FULL] += _datagrams_in(context, sent, total)
            break
        run = record_at(MMSGHDR, first)
        if run.iov_count > 1 and reason in (EIO, EINVAL):
            # A network device that cannot cut runs: never ask again.
            context.segmentation = 0
            _send_singly(context, first)
        else:
            # The error belongs to this message (unreachable, too big); the ones behind it may go.
            counters[Verdict.SEND_FAILED] += integer(run.iov_count)
        sent += 1
    context.send_count = 0
    context.send_cursor = 0


@kernel
def _gather_messages(context: Any) -> int:
    """Make messages of the queue: for each destination its datagrams in order, in runs. Returns how many messages."""
    messages = integer(0)
    vectors = integer(0)
    for index in range(context.send_count):
        if _pending_at(context, index).first == 0:
            continue
        peer_row = integer(_pending_at(context, index).peer)
        peer = peer_at(context, peer_row)
        peer.pending_last = 0
        at = integer(index)
        while at >= 0:
            message = record_at(MMSGHDR, context.send_messages + messages * MESSAGE_SIZE)
            message.name = context.peers + peer_row * PEER_SIZE + PEER_ADDRESS
            message.name_length = peer.address_length
            message.iov = context.send_vectors + vectors * VECTOR_SIZE
            segment = integer(_pending_at(context, at).length)
            segments = integer(0)
            gathered = integer(0)
            while at >= 0:
                pending = _pending_at(context, at)
                length = integer(pending.length)
                if segments != 0 and (
                    context.segmentation == 0
                    or segment > MAX_SEGMENT_BYTES
                    or length > segment
                    or segments == MAX_SEGMENTS
                    or gathered + length > MAX_RUN_BYTES
                ):
                    break
                vector = record_at(IOVEC, context.send_vectors + vectors * VECTOR_SIZE)
                vector.base = pending.base
                vector.length = length
                vectors += 1
                segments += 1
                gathered += length
                at = integer(pending.following) - 1
                if length < segment:
                    break  # only the last one of a run may be shorter
            message.iov_count = segments
            message.control = 0
            message.control_length = 0
            if segments > 1:
                control = context.send_controls + messages * CONTROL_SIZE
                record_at(SEGMENT_CONTROL, control).segment = segment
                message.control = control
                message.control_length = CONTROL_SIZE
            messages += 1
    return messages


@helper
def _pending_at(context: Any, index: int) -> Any:
    return record_at(PENDING, context.send_pending + integer(index) * PENDING_SIZE)


@kernel
def _datagrams_in(context: Any, first: int, end: int) -> int:
    datagrams = integer(0)
    for index in range(first, end):
        datagrams += integer(record_at(MMSGHDR, context.send_messages + index * MESSAGE_SIZE).iov_count)
    return datagrams


@kernel
def _send_singly(context: Any, place: int) -> None:
    """Send the datagrams of a run one by one."""
    run = record_at(MMSGHDR, place)
    segments = integer(run.iov_count)
    run.control = 0
    run.control_length = 0
    run.iov_count = 1
    for _ in range(segments):
        if sendmmsg(np.int32(context.socket), place, np.uint32(1), np.int32(MSG_DONTWAIT)) == 1:
            count(context, Verdict.DATAGRAM_SENT)
        else:
            count(context, Verdict.SEND_FAILED)
        run.iov += VECTOR_SIZE


@helper
def reserve_datagram(context: Any) -> int:
    """Address of SEND_BYTES of room for the next datagram. Flushes when the queue is full."""
    if context.send_count >= context.send_limit or context.send_cursor + SEND_BYTES > SEND_BUFFER_BYTES:
        flush_sends(context)
    return context.send_bytes + context.send_cursor


@helper
def queue_datagram(context: Any, peer_row: int, peer: Any, length: int) -> None:
    """Queue the `length` bytes at the reserved place for the selected address of a peer."""
    index = context.send_count
    pending = _pending_at(context, index)
    pending.base = context.send_bytes + context.send_cursor
    pending.length = length
    pending.peer = peer_row
    pending.following = 0
    pending.first = 1
    if peer.pending_last != 0:
        pending.first = 0
        _pending_at(context, peer.pending_last - 1).following = index + 1
    peer.pending_last = index + 1
    context.send_count = index + 1
    context.send_cursor += (length + 63) & ~63


@helper
def queue_rtp(context: Any, peer_row: int, peer: Any, length: int, index: int) -> bool:
    """Protect the RTP packet at the reserved place for `peer` and queue it. False when it cannot be protected.

    `index`: its SRTP packet index, as `media.aead.packet_index` tells it.
    """
    place = context.send_bytes + context.send_cursor
    if peer.aead_send != 0:
        protected = protect_rtp(context, peer, place, length, index)
    else:
        lengths = indices_at(context.packet_length, 1)
        lengths[0] = length
        failed = srtp_protect(peer.srtp_send, place, context.packet_length) != SRTP_OK
        protected = integer(0) if failed else integer(lengths[0])
    if protected == 0:
        return False
    peer.packets_sent += 1
    peer.bytes_sent += protected
    queue_datagram(context, peer_row, peer, protected)
    return True


@kernel
def queue_rtcp(context: Any, peer_row: int, length: int) -> bool:
    """Protect the compound RTCP packet composed at `context.report` for a peer and queue it."""
    peer = peer_at(context, peer_row)
    if peer.srtp_send == 0 or peer.address_length == 0:
        return False
    place = reserve_datagram(context)
    source = bytes_at(context.report, length)
    target = bytes_at(place, length)
    target[:] = source
    lengths = indices_at(context.packet_length, 1)
    lengths[0] = length
    if srtp_protect_rtcp(peer.srtp_send, place, context.packet_length) != SRTP_OK:
        count(context, Verdict.RTCP_PROTECT_FAILED)
        return False
    queue_datagram(context, peer_row, peer, integer(lengths[0]))
    return True
