"""SHA-1 and HMAC, against the standard library and the vectors of the standards."""

import hashlib
import hmac

import numpy as np
import pytest
from both_ways import Guarded, both
from hypothesis import given, settings
from hypothesis import strategies as st

from media.sha1 import BLOCK_BYTES, BLOCK_WORDS, DIGEST_WORDS, hash_key, hmac_sha1

# RFC 2202 section 3, those whose key fits into a block.
RFC_2202 = [
    (b"\x0b" * 20, b"Hi There", "b617318655057264e28bc0b6fb378c8ef146be00"),
    (b"Jefe", b"what do ya want for nothing?", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
    (b"\xaa" * 20, b"\xdd" * 50, "125d7342b9ac11cd91a39af48aa17b4f63f175d3"),
    (bytes(range(1, 26)), b"\xcd" * 50, "4c9007f4026250c6bc8414f9bf50c86c2d7235da"),
]


def signed(key: bytes, message: bytes) -> bytes:
    """The HMAC that both kinds of the kernels make of a message."""
    results = set()
    for make_states, sign in zip(both(hash_key), both(hmac_sha1), strict=True):
        inner, outer, digest = (np.full(DIGEST_WORDS, -1, np.int64) for _ in range(3))
        schedule = np.full(BLOCK_WORDS, -1, np.int64)
        make_states(np.frombuffer(key.ljust(BLOCK_BYTES, b"\0"), np.uint8), inner, outer, schedule)
        states = inner.tolist(), outer.tolist()
        content = Guarded(message)
        for _ in range(2):  # states serve more than one message
            sign(inner, outer, content.array, len(message), digest, schedule)
            results.add(digest.astype(">u4").tobytes())
        assert (inner.tolist(), outer.tolist()) == states
        assert bytes(content) == message
    (result,) = results
    return result


@pytest.mark.parametrize(("key", "message", "digest"), RFC_2202)
def test_hmac_is_that_of_rfc2202(key, message, digest):
    assert signed(key, message).hex() == digest


@pytest.mark.parametrize("length", range(2 * BLOCK_BYTES + 10))
def test_hmac_pads_messages_of_every_length(length):
    message = bytes(range(length))
    assert signed(b"key", message) == hmac.digest(b"key", message, hashlib.sha1)


@settings(deadline=None)
@given(key=st.binary(max_size=BLOCK_BYTES), message=st.binary(max_size=600))
def test_hmac_is_that_of_the_standard_library(key, message):
    assert signed(key, message) == hmac.digest(key, message, hashlib.sha1)


def test_key_leaves_the_states_of_sha1():
    # FIPS 180-4's own example is "abc": its padded block, with the inner pad taken off, as a key.
    block = b"abc\x80" + bytes(52) + (24).to_bytes(8)
    key = np.frombuffer(bytes(byte ^ 0x36 for byte in block), np.uint8)
    for make_states in both(hash_key):
        inner, outer = np.zeros(DIGEST_WORDS, np.int64), np.zeros(DIGEST_WORDS, np.int64)
        make_states(key, inner, outer, np.zeros(BLOCK_WORDS, np.int64))
        assert inner.astype(">u4").tobytes().hex() == "a9993e364706816aba3e25717850c26c9cd0d89d"
