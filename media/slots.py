"""Audio slots: which few of many speakers are heard, decided packet by packet.

The tracks of a lobby form a group. A group has three slots; a slot is a track without streams of its own, whose routes
lead to the listeners. A track that speaks up takes a slot, and its packets then go out along the slot's routes, by the
one switching mechanism there is (`media.forward`). Listeners negotiate three streams once, whoever comes and goes, and
one who has nothing to say costs a few comparisons a packet, or nothing when its client sends nothing.

The rules, for one packet of a track, by its RFC 6464 level:

- Who holds a slot keeps it while there is something to hear, and for RELEASE_NS after. Then the slot has lapsed: its
  last holder may go on in it as soon as it is loud again, unless another has taken it by then.
- Who holds none and is loud takes a lapsed slot at once, at its first packet: no beginning of a word is lost.
- When all slots are busy, it takes that of the least prominent holder, if that has had it for HOLD_NS and is less
  prominent by MARGIN_MILLIDB. Prominence rises fast and falls slowly, as a peak meter does, so that a pause between two
  words, or a cough, changes nothing.

That is less than the dominant speaker identification of Volfin and Cohen (2012), which weighs three time scales to name
one speaker: with three at a time the price of a wrong choice is small. Only the level counts. The V flag of RFC 6464
does not: what it means is up to the client, which need not compute it.

With several workers a track stands in two groups. `group` is where it competes for the ears of this worker's listeners, with
its neighbours and with mirrors of the other workers' best; `tap_group` is where it competes with its neighbours alone,
and whose slots feed those mirrors. A mirror has no tap group, so nothing goes round in circles.
"""

from typing import Any, Final

from media.forward import forget_stream, forward_through_slot
from media.jit import helper, integer, kernel
from media.memory import count, group_at, inbound_at, outbound_at, packets_at, track_at
from media.tables import AUDIO_SLOTS, NO_LEVEL, NONE
from media.verdicts import Verdict

START_DBOV: Final = 60
"""At least this loud, to take a slot. Speech is at 20 to 50, also far from the microphone; a quiet room is at 70 or less."""

STOP_DBOV: Final = 70
"""At least this loud, to be heard as going on: a voice that fades is not cut off."""

UNLEVELLED_DBOV: Final = 50
"""Taken for the level of a packet that has none: a publisher that negotiated no levels is heard, but gives way."""

RELEASE_NS: Final = 1_000_000_000
"""Silence after which a slot lapses. Pauses between sentences are shorter; until then silence is forwarded."""

HOLD_NS: Final = 300_000_000
"""A holder is not displaced before: about a word."""

MARGIN_MILLIDB: Final = 6_000
"""Who displaces another is louder by this, twice the amplitude; who wants back then has to be so in turn."""

DECAY_MILLIDB_PER_MS: Final = 40
"""How fast prominence falls: after 150 ms of silence an equally loud speaker may take over."""

NO_PROMINENCE: Final = 127_000
"""In millidecibels below the loudest: nothing can be heard."""

LONG_AGO_NS: Final = -(10**18)
"""Before any reading of the clock, and far enough from the end of 64 bits."""


@kernel
def offer_packet(context: Any, inbound_row: int, source: int) -> None:
    """Send the packet at hand through the slots its track holds or takes in its groups, if any."""
    meta = packets_at(context.packet)
    track_row = integer(inbound_at(context, inbound_row).track)
    track = track_at(context, track_row)
    level = integer(UNLEVELLED_DBOV if meta[0].level_dbov == NO_LEVEL else meta[0].level_dbov)
    update_prominence(track, level, context.now_ns)
    for group_row in (integer(track.group), integer(track.tap_group)):
        if group_row != NONE:
            _offer_to_group(context, group_row, track_row, inbound_row, level, source)


@kernel
def _offer_to_group(
    context: Any, group_row: int, track_row: int, inbound_row: int, level: int, source: int
) -> None:
    slot = find_slot(context, group_row, track_row, level)
    if slot == NONE:
        count(context, Verdict.SLOT_WITHHELD)
        return
    begins = slot >= AUDIO_SLOTS
    meta = packets_at(context.packet)
    marker = meta[0].marker
    if begins:
        slot -= AUDIO_SLOTS
        track_at(context, track_row).has_held_slot = 1
        meta[0].marker = 1  # the start of a talkspurt (RFC 3551 section 4.1): a good time to adapt the delay
        count(context, Verdict.SLOT_TAKEN)
    forward_through_slot(
        context, integer(group_at(context, group_row).slot[slot]), inbound_row, source, begins
    )
    meta[0].marker = marker


@kernel
def find_slot(context: Any, group_row: int, track_row: int, level: int) -> int:
    """Find the slot for a packet of this level, and note in the group what changes by it. Rules: see the module.

    Returns: its index; AUDIO_SLOTS more when the track begins there with this packet; NONE when it has to be silent.
    """
    group = group_at(context, group_row)
    now = context.now_ns
    for slot in range(AUDIO_SLOTS):
        if group.holder[slot] != track_row:
            continue
        lapsed = now - group.heard_ns[slot] > RELEASE_NS
        if level <= (START_DBOV if lapsed else STOP_DBOV):
            group.heard_ns[slot] = now
            if lapsed:
                group.since_ns[slot] = now
                return integer(slot + AUDIO_SLOTS)
        elif lapsed:
            return integer(NONE)
        return integer(slot)
    if level > START_DBOV:
        return integer(NONE)
    taken = _slot_to_take(context, group, track_row)
    if taken == NONE:
        return integer(NONE)
    group.holder[taken] = track_row
    group.since_ns[taken] = now
    group.heard_ns[taken] = now
    return taken + AUDIO_SLOTS


@kernel
def _slot_to_take(context: Any, group: Any, track_row: int) -> int:
    """The slot that has been silent for longest, if one has lapsed; else that of somebody markedly less prominent."""
    now = context.now_ns
    lapsed = integer(NONE)
    least = integer(NONE)
    bar = prominence(track_at(context, track_row), now) + MARGIN_MILLIDB
    for slot in range(AUDIO_SLOTS):
        if now - group.heard_ns[slot] > RELEASE_NS:
            if lapsed == NONE or group.heard_ns[slot] < group.heard_ns[lapsed]:
                lapsed = integer(slot)
        elif now - group.since_ns[slot] >= HOLD_NS:
            held = prominence(track_at(context, group.holder[slot]), now)
            if held >= bar:
                bar = held + 1
                least = integer(slot)
    return lapsed if lapsed != NONE else least


@helper
def prominence(track: Any, now_ns: int) -> int:
    """How far below the loudest a track is now: what it was at its last packet, faded since."""
    faded = (now_ns - track.prominence_ns) * DECAY_MILLIDB_PER_MS // 1_000_000
    return min(integer(NO_PROMINENCE), track.prominence_millidb + faded)


@helper
def update_prominence(track: Any, level: int, now_ns: int) -> None:
    """Take the level of one more packet into account: halfway up at once, never down faster than it fades."""
    faded = prominence(track, now_ns)
    present = level * 1000
    if present < faded:
        faded -= (faded - present + 1) // 2
    track.prominence_millidb = faded
    track.prominence_ns = now_ns


@kernel
def set_groups(context: Any, track_row: int, group_row: int, tap_group_row: int) -> None:
    """Let a track compete in other groups, or none; what it keeps goes on undisturbed."""
    track = track_at(context, track_row)
    if track.group != group_row:
        _leave_group(context, track_row, integer(track.group))
        track.group = group_row
    if track.tap_group != tap_group_row:
        _leave_group(context, track_row, integer(track.tap_group))
        track.tap_group = tap_group_row


@kernel
def _leave_group(context: Any, track_row: int, group_row: int) -> None:
    if group_row == NONE or track_at(context, track_row).has_held_slot == 0:
        return
    group = group_at(context, group_row)
    for slot in range(AUDIO_SLOTS):
        if group.holder[slot] == track_row:
            group.holder[slot] = NONE
            group.heard_ns[slot] = LONG_AGO_NS
        row = track_at(context, group.slot[slot]).first_outbound
        while row != NONE:
            outbound = outbound_at(context, row)
            if outbound.inbound != NONE and inbound_at(context, outbound.inbound).track == track_row:
                outbound.inbound = NONE
            row = outbound.next_of_track


@kernel
def yield_slots(context: Any, track_row: int) -> None:
    """Let the slots of a track lapse at once: it begins anew with its next packet."""
    track = track_at(context, track_row)
    for group_row in (integer(track.group), integer(track.tap_group)):
        if group_row != NONE:
            group = group_at(context, group_row)
            for slot in range(AUDIO_SLOTS):
                if group.holder[slot] == track_row:
                    group.heard_ns[slot] = LONG_AGO_NS


@kernel
def forget_stream_in_slots(context: Any, inbound_row: int) -> None:
    """`forget_stream`, for the routes of all slots its track may have held."""
    track = track_at(context, inbound_at(context, inbound_row).track)
    if track.has_held_slot == 0:
        return
    for group_row in (integer(track.group), integer(track.tap_group)):
        if group_row != NONE:
            for slot in range(AUDIO_SLOTS):
                forget_stream(context, integer(group_at(context, group_row).slot[slot]), inbound_row)


@helper
def tapped_slot(context: Any, track_row: int) -> int:
    """The slot through which a track is now sent to other workers, NONE when it is not."""
    track = track_at(context, track_row)
    if track.tap_group != NONE:
        group = group_at(context, track.tap_group)
        for slot in range(AUDIO_SLOTS):
            if group.holder[slot] == track_row and context.now_ns - group.heard_ns[slot] <= RELEASE_NS:
                return integer(group.slot[slot])
    return integer(NONE)


@kernel
def restart_mirror(context: Any, inbound_row: int) -> None:
    """Another stream comes through a mirror now: its numbering, its clock and its voice are others."""
    inbound = inbound_at(context, inbound_row)
    inbound.report_arrival_ns = 0
    track_at(context, inbound.track).prominence_millidb = NO_PROMINENCE
    forget_stream(context, inbound.track, inbound_row)
    forget_stream_in_slots(context, inbound_row)
