"""SHA-1 (FIPS 180-4) and HMAC over it (RFC 2104), which is how STUN signs.

SHA-1 no longer withstands those who look for collisions. HMAC does not rest on that, and browsers sign with no other.

A key is kept as the two states its padded blocks leave behind, so that a message costs its own blocks and one more.
Words are int64 with values below 2**32. *Shapes* throughout: states and digests int64 [5], `schedule` scratch int64 [16].
"""

from typing import Final

import numpy as np

from media.jit import helper, integer, kernel
from media.rtp import read_u8, read_u32

BLOCK_BYTES: Final = 64
DIGEST_BYTES: Final = 20
DIGEST_WORDS: Final = DIGEST_BYTES // 4
BLOCK_WORDS: Final = BLOCK_BYTES // 4
_INNER_PAD: Final = 0x36363636
_OUTER_PAD: Final = 0x5C5C5C5C
_WORD: Final = 0xFFFFFFFF


@kernel
def hash_key(key: np.ndarray, inner: np.ndarray, outer: np.ndarray, schedule: np.ndarray) -> None:
    """Turn an HMAC key, padded with zeros to BLOCK_BYTES, into the states that `hmac_sha1` begins with."""
    for index in range(BLOCK_WORDS):
        schedule[index] = read_u32(key, 4 * index) ^ _INNER_PAD
    _start(inner)
    _compress(inner, schedule)
    for index in range(BLOCK_WORDS):
        schedule[index] = read_u32(key, 4 * index) ^ _OUTER_PAD
    _start(outer)
    _compress(outer, schedule)


@kernel
def hmac_sha1(
    inner: np.ndarray,
    outer: np.ndarray,
    message: np.ndarray,
    length: int,
    digest: np.ndarray,
    schedule: np.ndarray,
) -> None:
    """Write the HMAC of the first `length` bytes of `message` to `digest`, as words."""
    for index in range(DIGEST_WORDS):
        digest[index] = inner[index]
    _finish(digest, message, length, schedule)
    for index in range(DIGEST_WORDS):
        schedule[index] = digest[index]
        digest[index] = outer[index]
    schedule[DIGEST_WORDS] = 0x80000000  # the end of the message, and its length with the key's block
    schedule[DIGEST_WORDS + 1 : BLOCK_WORDS - 1] = 0
    schedule[BLOCK_WORDS - 1] = (BLOCK_BYTES + DIGEST_BYTES) * 8
    _compress(digest, schedule)


@helper
def _start(state: np.ndarray) -> None:
    state[0] = 0x67452301
    state[1] = 0xEFCDAB89
    state[2] = 0x98BADCFE
    state[3] = 0x10325476
    state[4] = 0xC3D2E1F0


@helper
def _finish(state: np.ndarray, message: np.ndarray, length: int, schedule: np.ndarray) -> None:
    """Hash `length` bytes and their padding into a state that holds one block already."""
    start = integer(0)
    while length - start >= BLOCK_BYTES:
        for index in range(BLOCK_WORDS):
            schedule[index] = read_u32(message, start + 4 * index)
        _compress(state, schedule)
        start += BLOCK_BYTES
    for index in range(BLOCK_WORDS):
        schedule[index] = _padded_word(message, start + 4 * index, length)
    if length - start > BLOCK_BYTES - 9:  # no room behind the end mark for the length
        _compress(state, schedule)
        schedule[:] = 0
    schedule[BLOCK_WORDS - 1] = (BLOCK_BYTES + length) * 8  # its upper word is 0: datagrams are short
    _compress(state, schedule)


@helper
def _padded_word(message: np.ndarray, offset: int, length: int) -> int:
    word = integer(0)
    for at in range(offset, offset + 4):
        word <<= 8
        if at < length:
            word |= read_u8(message, at)
        elif at == length:
            word |= 0x80
    return word


@helper
def _rotate(word: int, bits: int) -> int:
    return ((word << bits) | (word >> (32 - bits))) & _WORD


@kernel
def _compress(state: np.ndarray, schedule: np.ndarray) -> None:
    """Mix one block, whose words are in `schedule`, into `state` (FIPS 180-4 section 6.1.3); the schedule is used up."""
    a, b, c, d, e = state[0], state[1], state[2], state[3], state[4]
    for step in range(80):
        slot = step & 15
        if step >= 16:
            word = schedule[(step - 3) & 15] ^ schedule[(step - 8) & 15] ^ schedule[(step - 14) & 15]
            schedule[slot] = _rotate(word ^ schedule[slot], 1)
        if step < 20:
            mixed = ((b & c) | (~b & d)) + 0x5A827999
        elif step < 40:
            mixed = (b ^ c ^ d) + 0x6ED9EBA1
        elif step < 60:
            mixed = ((b & c) | (b & d) | (c & d)) + 0x8F1BBCDC
        else:
            mixed = (b ^ c ^ d) + 0xCA62C1D6
        mixed = (_rotate(a, 5) + mixed + e + schedule[slot]) & _WORD
        e = d
        d = c
        c = _rotate(b, 30)
        b = a
        a = mixed
    state[0] = (state[0] + a) & _WORD
    state[1] = (state[1] + b) & _WORD
    state[2] = (state[2] + c) & _WORD
    state[3] = (state[3] + d) & _WORD
    state[4] = (state[4] + e) & _WORD
