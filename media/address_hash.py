"""From source address to peer: open addressing, linear probing, deletion by backward shift (no tombstones).

A key is three words taken from the socket address as the kernel hands it out: family and port, and the 16 bytes of an
IPv6 address (zero for an `AF_INET` socket, whose address sits in the first word).
"""

from typing import Any

import numpy as np

from media.jit import helper, kernel
from media.memory import record_at, words_at
from media.native import AF_INET6
from media.tables import ADDRESS

ADDRESS_SIZE = ADDRESS.itemsize
_PORT_AND_FAMILY = 0xFFFFFFFF
_MIX_0 = np.int64(-7046029254386353131)  # odd 64-bit constants (golden ratio; splitmix64's multipliers)
_MIX_1 = np.int64(-4658895280553007687)
_MIX_2 = np.int64(-7723592293110705685)


@helper
def load_key(sockaddr: int, key: np.ndarray) -> None:
    """Write the key of the socket address at address `sockaddr` to `key`, int64 [3]."""
    words = words_at(sockaddr, 3)
    if (words[0] & 0xFFFF) == AF_INET6:
        key[0] = words[0] & _PORT_AND_FAMILY
        key[1] = words[1]
        key[2] = words[2]
    else:
        key[0] = words[0]
        key[1] = 0
        key[2] = 0


@helper
def _bucket(key: np.ndarray, mask: int) -> int:
    mixed = key[0] * _MIX_0 ^ key[1] * _MIX_1 ^ key[2] * _MIX_2
    mixed = (mixed ^ (mixed >> 29)) * _MIX_1
    return (mixed >> 20) & mask


@helper
def _slot(context: Any, index: int) -> Any:
    return record_at(ADDRESS, context.addresses + index * ADDRESS_SIZE)


@helper
def _holds(slot: Any, key: np.ndarray) -> bool:
    return slot.key[0] == key[0] and slot.key[1] == key[1] and slot.key[2] == key[2]


@kernel
def find_peer(context: Any, key: np.ndarray) -> int:
    """Row of the peer bound to `key`, -1 when none is."""
    index = _bucket(key, context.address_mask)
    for _ in range(context.address_mask + 1):
        slot = _slot(context, index)
        if slot.peer == 0:
            return -1
        if _holds(slot, key):
            return slot.peer - 1
        index = (index + 1) & context.address_mask
    return -1


@helper
def _is_free_behind(context: Any, index: int) -> bool:
    """Whether there is another free slot. The table is half empty, so it is not far."""
    for distance in range(1, context.address_mask + 1):
        if _slot(context, (index + distance) & context.address_mask).peer == 0:
            return True
    return False


@kernel
def bind_key(context: Any, key: np.ndarray, peer: int) -> bool:
    """Bind `key` to `peer`, replacing an earlier binding of the same key. False when the table is full.

    One slot stays free: that is where a run ends for `unbind_key`.
    """
    index = _bucket(key, context.address_mask)
    for _ in range(context.address_mask + 1):
        slot = _slot(context, index)
        if slot.peer == 0 and not _is_free_behind(context, index):
            return False
        if slot.peer == 0 or _holds(slot, key):
            slot.key[0] = key[0]
            slot.key[1] = key[1]
            slot.key[2] = key[2]
            slot.peer = peer + 1
            return True
        index = (index + 1) & context.address_mask
    return False


@kernel
def unbind_key(context: Any, key: np.ndarray, peer: int) -> None:
    """Remove the binding of `key` if it belongs to `peer`, and close the gap it leaves."""
    mask = context.address_mask
    index = _bucket(key, mask)
    for _ in range(mask + 1):
        slot = _slot(context, index)
        if slot.peer == 0:
            return
        if _holds(slot, key):
            break
        index = (index + 1) & mask
    if _slot(context, index).peer != peer + 1:
        return
    gap = index
    probe = (gap + 1) & mask
    while _slot(context, probe).peer != 0:
        candidate = _slot(context, probe)
        home = _bucket(candidate.key, mask)
        # The entry may move into the gap only if its home does not lie after the gap (cyclically).
        if ((probe - home) & mask) >= ((probe - gap) & mask):
            hole = _slot(context, gap)
            hole.key[0] = candidate.key[0]
            hole.key[1] = candidate.key[1]
            hole.key[2] = candidate.key[2]
            hole.peer = candidate.peer
            gap = probe
        probe = (probe + 1) & mask
    _slot(context, gap).peer = 0
