"""Applies the control plane's commands to a worker's tables, between batches.

A command whose operation or row is out of range is counted and changes nothing.
"""

from typing import Any

from media.jit import helper, kernel
from media.memory import count, record_at
from media.operations import Operation
from media.outbound_rows import apply_to_outbound
from media.peer_rows import apply_to_peer
from media.ring import release_slot, slot_to_read
from media.send import flush_sends
from media.tables import COMMAND
from media.track_rows import apply_to_group, apply_to_inbound, apply_to_track
from media.verdicts import Verdict

COMMAND_SIZE = COMMAND.itemsize
COMMAND_BLOB = COMMAND.fields["blob"][1]  # type: ignore[index]


@kernel
def apply_commands(context: Any) -> None:
    """Apply every command in the ring. The send queue must be empty: rows change under its messages."""
    while True:
        index = slot_to_read(context.command_cursors, context.command_mask)
        if index < 0:
            return
        _apply(context, context.commands + index * COMMAND_SIZE)
        if context.send_count != 0:
            # A command may have asked for a keyframe; the next one may change the row its message points into.
            flush_sends(context)
        release_slot(context.command_cursors)
        context.acknowledgement_pending = 1


@kernel
def _apply(context: Any, place: int) -> None:
    command = record_at(COMMAND, place)
    operation = command.operation
    if operation == Operation.STOP:
        context.stopping = 1
    elif operation < Operation.STOP or operation > Operation.CLOSE_GROUP:
        count(context, Verdict.COMMAND_REJECTED)
    elif operation <= Operation.CLOSE_PEER:
        if _in_range(context, command.row, context.peer_capacity):
            apply_to_peer(context, command, place + COMMAND_BLOB)
    elif operation <= Operation.CLOSE_TRACK:
        if _in_range(context, command.row, context.track_capacity):
            apply_to_track(context, command)
    elif operation <= Operation.CLOSE_INBOUND:
        if _in_range(context, command.row, context.inbound_capacity):
            apply_to_inbound(context, command)
    elif operation <= Operation.CLOSE_OUTBOUND:
        if _in_range(context, command.row, context.outbound_capacity):
            apply_to_outbound(context, command, place + COMMAND_BLOB)
    elif _in_range(context, command.row, context.group_capacity):
        apply_to_group(context, command)


@helper
def _in_range(context: Any, row: int, capacity: int) -> bool:
    if row < 0 or row >= capacity:
        count(context, Verdict.COMMAND_REJECTED)
        return False
    return True
