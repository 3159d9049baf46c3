"""Overload: a worker that cannot keep up sheds the least important media first, and recovers by itself.

**When.** Load is judged by how long packets wait in the socket's receive queue, not by how many there are: thousands of
small buffers' worth may be a second of work or a millisecond. After a batch that emptied the queue nothing can have
waited longer than the round before it took; after a full one the system's receive time stamp of the last packet tells.
As in CoDel (RFC 8289) it is the *shortest* wait of a window that counts: a burst passes, a standing queue does not.
Packets the system had to drop, or a tap nearly full, count as well. Two windows in a row raise `shedding` by one, but
not while the queue is shrinking. A flood that is dropped at the door is no overload: nothing that is sent causes it.

**What.** Each packet has a grade, its track's claim to be heard; packets whose grade is at most `shedding` go to nobody
and are counted for each subscriber. They are still received, decrypted and reported on, so their publishers see no loss.
RTCP, STUN, DTLS and repairs of what was sent pass. So does audio whose loudness is not known, and what goes through
audio slots (`media.slots`), for that is the loudest already.

**Back again.** After `hold` without overload, and with time to spare, `shedding` falls by one. Each track resumes as after
a mute: numbering goes on without a gap, and video waits for a keyframe. Tracks come back one per window while there is
time for one more like the last, so that they do not make the next overload; where only some fit, the others stay shed. A level
that has to be raised again soon after it fell is held twice as long.
"""

from typing import Any

import numpy as np

from media.forward import resume_routes
from media.jit import helper, integer, kernel
from media.memory import indices_at, packets_at, peer_at, record_at, track_at, words_at
from media.native import (
    CLOCK_REALTIME,
    SIOCGSTAMPNS,
    SO_MEMINFO,
    SO_MEMINFO_DROPS,
    SO_MEMINFO_WORDS,
    SOL_SOCKET,
    TIMESPEC,
    clock_gettime,
    getsockopt,
    ioctl,
)
from media.send import COUNTER_WORDS
from media.tables import AUDIO, NONE, RECEIVE_BATCH
from media.verdicts import Verdict

# Grades of a packet, least important first: a level of shedding sheds its own grade and those below.
OTHERS_VIDEO = 1
SPEAKERS_VIDEO = 2
QUIET_AUDIO = 3
NEVER_SHED = 4

TARGET_NS = 40_000_000
"""Packets that wait longer than this are heard and seen to be late; a full round of 64 packets to 200 takes 30 ms."""

WINDOW_NS = 50_000_000

MIN_HOLD_NS = 1_000_000_000
MAX_HOLD_DOUBLINGS = 5
PROBATION_NS = 5_000_000_000
"""An overload this soon after a recovery shows that the recovery came too early."""

BUSY_LIMIT_PERMILLE = 900
"""A worker busier than this takes nothing back."""

SPEAKING_DBOV = 50
"""Smoothed level at or above which (numerically at or below) somebody is heard; a quiet voice shows 40 to 50."""

SPEAKING_HOLD_NS = 2_000_000_000
"""Somebody who was heard this recently still speaks: pauses between sentences are not the end."""

NO_WAIT = 1 << 62


@helper
def note_batch(context: Any, received: int, round_ns: int) -> None:
    """Note how long the batch just received has waited. `round_ns`: since the previous look at the socket."""
    context.received += received
    waited = integer(round_ns)
    if received == RECEIVE_BATCH:
        waited = max(waited, _queue_wait(context))
    context.shortest_wait_ns = min(integer(context.shortest_wait_ns), waited)


@kernel
def _queue_wait(context: Any) -> int:
    """How long the packet received last was in the queue.

    The first call switches the time stamps on (some 25 ns a packet): a worker that is never behind never pays for them.
    """
    if ioctl(np.int32(context.socket), np.uint64(SIOCGSTAMPNS), context.clock) != 0:
        return 0
    time = record_at(TIMESPEC, context.clock)
    arrived = time.seconds * 1_000_000_000 + time.nanoseconds
    clock_gettime(np.int32(CLOCK_REALTIME), context.clock)
    return time.seconds * 1_000_000_000 + time.nanoseconds - arrived


@helper
def note_speaker(context: Any, inbound: Any, track: Any) -> None:
    """Keep account of who is heard. A video packet learns from its peer whether its publisher speaks, and tells taps."""
    if track.kind == AUDIO:
        if track.level_dbov <= SPEAKING_DBOV:
            track.loud_ns = context.now_ns
            if inbound.peer != NONE:
                peer_at(context, inbound.peer).loud_ns = context.now_ns
    elif inbound.peer != NONE:
        heard_ns = peer_at(context, inbound.peer).loud_ns
        packets_at(context.packet)[0].speaking = context.now_ns - heard_ns < SPEAKING_HOLD_NS


@helper
def is_shed(context: Any, inbound: Any, track: Any) -> bool:
    """Whether the packet at hand goes to nobody; it is counted then."""
    if context.shedding == 0 and track.shed == 0:
        return False
    return _judge(context, inbound, track)


@kernel
def _judge(context: Any, inbound: Any, track: Any) -> bool:
    grade = _grade(context, track)
    if grade <= context.shedding:
        context.shed_tracks += track.shed == 0
        track.shed = grade
    elif track.shed != 0 and grade > OTHERS_VIDEO:
        resume_track(context, inbound.track)  # at once: whoever begins to speak is to be seen and heard
    if track.shed == 0:
        return False
    words_at(context.counters, COUNTER_WORDS)[Verdict.ROUTE_SHED_VIDEO + track.shed - 1] += (
        track.outbound_count
    )
    return True


@helper
def _grade(context: Any, track: Any) -> int:
    if track.kind == AUDIO:
        if track.level_ns == 0 or context.now_ns - track.loud_ns < SPEAKING_HOLD_NS:
            return integer(NEVER_SHED)
        return integer(QUIET_AUDIO)
    if packets_at(context.packet)[0].speaking != 0:
        return integer(SPEAKERS_VIDEO)
    return integer(OTHERS_VIDEO)


@kernel
def resume_track(context: Any, track_row: int) -> None:
    """Forward a track again."""
    track = track_at(context, track_row)
    track.shed = 0
    track.pauses += 1  # mirrors hear of it with the next packet
    context.shed_tracks -= 1
    context.events_pending |= context.shed_tracks == 0
    resume_routes(context, track_row)


@kernel
def forget_track(context: Any, track: Any) -> None:
    """A track ends; it may have been shed."""
    if track.shed != 0:
        track.shed = 0
        context.shed_tracks -= 1
        context.events_pending |= context.shed_tracks == 0


@kernel
def watch_load(context: Any) -> None:
    """Close the window that is over, if it is: shed more, or less, or as before. Called every tick."""
    elapsed = context.now_ns - context.window_start_ns
    if elapsed < WINDOW_NS:
        return
    waited = integer(context.shortest_wait_ns)
    if waited == NO_WAIT:
        waited = integer(0)  # nothing came
    context.wait_ns = waited
    lost = _lost_packets(context)
    overloaded = _is_sending(context) and (lost or waited > TARGET_NS)
    busy_permille = (context.busy_ns - context.window_busy_ns) * 1000 // elapsed
    if overloaded:
        _note_overload(context, waited, lost)
    else:
        context.overloaded_windows = 0
        if context.shedding != 0:
            _lower_when_calm(context)
        if context.shed_tracks != 0:
            _resume_next(context, busy_permille)
    context.window_start_ns = context.now_ns
    context.window_busy_ns = context.busy_ns
    context.shortest_wait_ns = NO_WAIT


@helper
def _lost_packets(context: Any) -> bool:
    """Whether packets have been lost in front of the worker since the last window."""
    memory = indices_at(context.socket_memory, SO_MEMINFO_WORDS + 1)
    memory[SO_MEMINFO_WORDS] = SO_MEMINFO_WORDS * 4
    length = context.socket_memory + SO_MEMINFO_WORDS * 4
    level, option = np.int32(SOL_SOCKET), np.int32(SO_MEMINFO)
    getsockopt(np.int32(context.socket), level, option, context.socket_memory, length)
    dropped = integer(memory[SO_MEMINFO_DROPS])
    lost = dropped != context.socket_drops or context.tap_pressed != 0
    context.socket_drops = dropped
    context.tap_pressed = 0
    return lost


@helper
def _is_sending(context: Any) -> bool:
    """Whether sending is a good part of the work: where it is not, there is nothing to shed."""
    counters = words_at(context.counters, COUNTER_WORDS)
    copies = counters[Verdict.DATAGRAM_SENT]
    for grade in range(OTHERS_VIDEO, NEVER_SHED):
        copies += counters[Verdict.ROUTE_SHED_VIDEO + grade - 1]
    sending = 2 * (copies - context.window_copies) >= context.received - context.window_received
    context.window_copies = copies
    context.window_received = context.received
    return sending


@kernel
def _note_overload(context: Any, waited: int, lost: bool) -> None:
    _begin_calm(context)
    context.resumed_permille = 1000
    context.overloaded_windows += 1
    shrinking = waited < context.reference_wait_ns and not lost
    context.reference_wait_ns = waited
    if context.overloaded_windows < 2 or shrinking or context.shedding == QUIET_AUDIO:
        return
    if context.shedding < context.lowered_from:
        early = context.now_ns - context.lowered_ns < PROBATION_NS
        doublings = context.hold_doublings + 1 if early else 0
        context.hold_doublings = min(integer(MAX_HOLD_DOUBLINGS), integer(doublings))
        context.lowered_from = 0
    context.overloaded_windows = 0
    context.shedding += 1
    context.events_pending = 1


@helper
def _begin_calm(context: Any) -> None:
    context.calm_since_ns = context.now_ns
    context.calm_busy_ns = context.busy_ns


@kernel
def _lower_when_calm(context: Any) -> None:
    calm_ns = context.now_ns - context.calm_since_ns
    if calm_ns < MIN_HOLD_NS << context.hold_doublings:
        return
    busy_permille = (context.busy_ns - context.calm_busy_ns) * 1000 // calm_ns
    _begin_calm(context)
    if busy_permille < BUSY_LIMIT_PERMILLE:
        context.lowered_from = context.shedding
        context.lowered_ns = context.now_ns
        context.shedding -= 1
        context.events_pending = 1


@kernel
def _resume_next(context: Any, busy_permille: int) -> None:
    """Forward the next track again that only waits for its turn, if it fits should it cost what the last one did."""
    cost = max(integer(0), busy_permille - context.resumed_permille)
    if busy_permille + cost >= BUSY_LIMIT_PERMILLE:
        return
    context.resumed_permille = busy_permille
    for _ in range(context.track_limit):
        context.resume_cursor = (context.resume_cursor + 1) % context.track_limit
        if track_at(context, context.resume_cursor).shed > context.shedding:
            resume_track(context, integer(context.resume_cursor))
            return
