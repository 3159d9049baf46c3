"""Typed views of raw addresses, for kernels.

A worker's tables are reached through one `CONTEXT` record that holds their addresses. Passing that one pointer keeps
calls between kernels cheap (an array argument is seven words) and free of reference counting. The arrays behind the
addresses are owned by Python (`media.state`), which outlives the kernel.
"""

from typing import Any

import numpy as np
from numba import carray, types

from media.jit import helper, integer, intrinsic
from media.tables import EVENT, GROUP, HISTORY, INBOUND, OUTBOUND, PACKET, PEER, TAP, TRACK

PEER_SIZE = PEER.itemsize
TRACK_SIZE = TRACK.itemsize
INBOUND_SIZE = INBOUND.itemsize
OUTBOUND_SIZE = OUTBOUND.itemsize
GROUP_SIZE = GROUP.itemsize
HISTORY_SIZE = HISTORY.itemsize
TAP_SIZE = TAP.itemsize
EVENT_SIZE = EVENT.itemsize
HISTORY_DATA = HISTORY.fields["data"][1]  # type: ignore[index]
HISTORY_META = HISTORY.fields["meta"][1]  # type: ignore[index]
TAP_DATA = TAP.fields["data"][1]  # type: ignore[index]
TAP_META = TAP.fields["meta"][1]  # type: ignore[index]
EVENT_DATA = EVENT.fields["data"][1]  # type: ignore[index]
EVENT_ADDRESS = EVENT.fields["address"][1]  # type: ignore[index]
PEER_ADDRESS = PEER.fields["address"][1]  # type: ignore[index]


@intrinsic
def record_at(_typing: Any, dtype: Any, _address: Any) -> Any:
    """The record of structured `dtype` at `address` (int64)."""
    if not isinstance(dtype, types.DType) or not isinstance(dtype.dtype, types.Record):
        return None

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[1], context.get_value_type(signature.return_type))

    return dtype.dtype(dtype, types.int64), codegen


@intrinsic
def pointer_at(_typing: Any, element: Any, _address: Any) -> Any:
    """`address` (int64) as a pointer to `element` (a number type or a structured dtype), for `carray`."""
    if not isinstance(element, types.NumberClass | types.DType):
        return None

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[1], context.get_value_type(signature.return_type))

    return types.CPointer(element.dtype)(element, types.int64), codegen


@helper
def bytes_at(address: int, length: int) -> np.ndarray:
    """uint8 [length] at `address`."""
    return carray(pointer_at(np.uint8, address), (length,))


@helper
def words_at(address: int, length: int) -> np.ndarray:
    """int64 [length] at `address`."""
    return carray(pointer_at(np.int64, address), (length,))


@helper
def indices_at(address: int, length: int) -> np.ndarray:
    """int32 [length] at `address`."""
    return carray(pointer_at(np.int32, address), (length,))


@helper
def floats_at(address: int, length: int) -> np.ndarray:
    """float32 [length] at `address`."""
    return carray(pointer_at(np.float32, address), (length,))


@helper
def shorts_at(address: int, length: int) -> np.ndarray:
    """int16 [length] at `address`."""
    return carray(pointer_at(np.int16, address), (length,))


@helper
def peer_at(context: Any, row: int) -> Any:
    """Row of the peers table."""
    return record_at(PEER, context.peers + integer(row) * PEER_SIZE)


@helper
def track_at(context: Any, row: int) -> Any:
    """Row of the tracks table."""
    return record_at(TRACK, context.tracks + integer(row) * TRACK_SIZE)


@helper
def inbound_at(context: Any, row: int) -> Any:
    """Row of the inbound streams table."""
    return record_at(INBOUND, context.inbound + integer(row) * INBOUND_SIZE)


@helper
def outbound_at(context: Any, row: int) -> Any:
    """Row of the outbound streams table."""
    return record_at(OUTBOUND, context.outbound + integer(row) * OUTBOUND_SIZE)


@helper
def group_at(context: Any, row: int) -> Any:
    """Row of the groups table."""
    return record_at(GROUP, context.groups + integer(row) * GROUP_SIZE)


@helper
def packets_at(address: int) -> np.ndarray:
    """PACKET [1] at `address`."""
    return carray(pointer_at(PACKET, address), (1,))


@helper
def count(context: Any, verdict: int) -> None:
    """Add one to a verdict's counter."""
    words_at(context.counters, 64)[verdict] += 1
