"""Packets lost between a publisher and the relay: noticed by their sequence numbers, asked for by NACK (RFC 4585).

Per inbound stream at most MISSING_SPAN numbers are remembered; a larger gap is left to the next keyframe. A number is
asked for at once, then again every RETRY_NS until it comes or MAX_ATTEMPTS are used up.
"""

from typing import Any

from media.jit import kernel
from media.keyframe_requests import want_keyframe
from media.memory import bytes_at, inbound_at, packets_at, peer_at, track_at, words_at
from media.rtcp import write_nack
from media.send import queue_rtcp
from media.tables import MISSING_SPAN, NONE, PACKET_BYTES
from media.verdicts import Verdict

RETRY_NS = 60_000_000
MAX_ATTEMPTS = 5
WANTED_WORDS = 8  # numbers asked for in one packet


@kernel
def note_arrival(context: Any, inbound_row: int, advance: int) -> bool:
    """Account for the packet at hand, which advances its stream by `advance` (0 or less: late, or a repair).

    Returns: False when it is late, or a repair, and nobody waits for it (any more).
    """
    if advance == 1:
        return True
    inbound = inbound_at(context, inbound_row)
    if track_at(context, inbound.track).shed != 0:
        inbound.missing_count = 0  # nobody waits for what a worker under too much load has lost
        return bool(advance > 0)
    sequence = packets_at(context.packet)[0].sequence_number
    if advance <= 0:
        for index in range(inbound.missing_count):
            if inbound.missing_sequence[index] == sequence:
                _forget(inbound, index)
                return True
        # Never one number twice, by itself and as RTX: if the publisher put other bytes under it, subscribers' SRTP
        # would use its keystream for both.
        return False
    gap = advance - 1
    if gap > MISSING_SPAN - inbound.missing_count:
        inbound.missing_count = 0
        want_keyframe(context, inbound_row)
        return True
    first = inbound.missing_count
    for step in range(gap):
        index = first + step
        inbound.missing_sequence[index] = (sequence - gap + step) & 0xFFFF
        inbound.missing_attempts[index] = 0
        inbound.missing_asked_ns[index] = 0
    inbound.missing_count = first + gap
    context.repairs_pending = 1
    ask_again(context, inbound_row)
    return True


@kernel
def ask_again(context: Any, inbound_row: int) -> None:
    """Ask for what is due; give up on what has been asked for too often."""
    inbound = inbound_at(context, inbound_row)
    if inbound.peer == NONE:
        return
    due = words_at(context.wanted, WANTED_WORDS)
    wanted = 0
    index = 0
    while index < inbound.missing_count:
        if context.now_ns - inbound.missing_asked_ns[index] < RETRY_NS:
            index += 1
            continue
        if inbound.missing_attempts[index] >= MAX_ATTEMPTS:
            _forget(inbound, index)
            continue
        inbound.missing_asked_ns[index] = context.now_ns
        inbound.missing_attempts[index] += 1
        due[wanted] = inbound.missing_sequence[index]
        wanted += 1
        index += 1
        if wanted == WANTED_WORDS:
            _ask(context, inbound, wanted)
            wanted = 0
    if wanted != 0:
        _ask(context, inbound, wanted)


@kernel
def _ask(context: Any, inbound: Any, wanted: int) -> None:
    sequences = words_at(context.wanted, WANTED_WORDS)
    report = bytes_at(context.report, PACKET_BYTES)
    peer = peer_at(context, inbound.peer)
    length = write_nack(report, 0, peer.rtcp_ssrc, inbound.ssrc, sequences, wanted)
    if queue_rtcp(context, inbound.peer, length):
        words_at(context.counters, 64)[Verdict.RETRANSMISSION_REQUESTED] += wanted


@kernel
def _forget(inbound: Any, index: int) -> None:
    """Take one number off the list, keeping the order of the rest."""
    for later in range(index + 1, inbound.missing_count):
        inbound.missing_sequence[later - 1] = inbound.missing_sequence[later]
        inbound.missing_attempts[later - 1] = inbound.missing_attempts[later]
        inbound.missing_asked_ns[later - 1] = inbound.missing_asked_ns[later]
    inbound.missing_count -= 1
