"""The packets a worker keeps so that it can answer NACKs (RFC 4585 6.2.1).

One pool per worker, written round and round by all repairable inbound streams; each stream has an index from its
latest HISTORY_SPAN sequence numbers to rows of the pool. Memory is bounded whatever the number of streams; depth in
time is the pool's size divided by the packet rate. Packets are kept in canonical form, before any rewriting.
"""

from typing import Any

import numpy as np

from media.jit import helper, integer, kernel
from media.memory import (
    HISTORY_DATA,
    HISTORY_META,
    HISTORY_SIZE,
    inbound_at,
    indices_at,
    packets_at,
    record_at,
)
from media.native import memcpy
from media.tables import HISTORY, HISTORY_SPAN


@helper
def _index(context: Any, inbound_row: int) -> np.ndarray:
    return indices_at(context.history_index + integer(inbound_row) * HISTORY_SPAN * 4, HISTORY_SPAN)


@kernel
def keep_packet(context: Any, inbound_row: int, source: int) -> None:
    """Keep the packet at hand, whose bytes begin at address `source`."""
    meta = packets_at(context.packet)
    row = context.history_cursor
    context.history_cursor = (row + 1) % context.history_capacity
    address = context.history + row * HISTORY_SIZE
    kept = packets_at(address + HISTORY_META)
    kept[0] = meta[0]
    memcpy(address + HISTORY_DATA, source, meta[0].length)
    record_at(HISTORY, address).inbound = inbound_at(context, inbound_row).generation
    _index(context, inbound_row)[meta[0].sequence_number & (HISTORY_SPAN - 1)] = row + 1


@kernel
def find_kept(context: Any, inbound_row: int, sequence_number: int) -> int:
    """Address of the HISTORY record of a packet, 0 when it is no longer (or never was) kept."""
    row = integer(_index(context, inbound_row)[sequence_number & (HISTORY_SPAN - 1)]) - 1
    if row < 0:
        return 0
    address = context.history + row * HISTORY_SIZE
    if record_at(HISTORY, address).inbound != inbound_at(context, inbound_row).generation:
        return 0
    kept = packets_at(address + HISTORY_META)
    if kept[0].sequence_number != sequence_number or kept[0].ssrc != inbound_at(context, inbound_row).ssrc:
        return 0
    return address
