"""Splitting bytes into DTLS records and filling datagrams with them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.dtls_records import HEADER_BYTES, pack_datagrams, split_records_untrusted


def record(body=b"", content_type=22, version=b"\xfe\xfd"):
    return bytes([content_type]) + version + bytes(8) + len(body).to_bytes(2) + body


bodies = st.lists(st.binary(max_size=300), max_size=20)


@given(bodies=bodies, tail=st.binary(max_size=HEADER_BYTES - 1))
def test_split_returns_the_whole_records_and_drops_the_rest(bodies, tail):
    records = [record(body) for body in bodies]
    assert split_records_untrusted(b"".join(records) + tail) == records


@pytest.mark.parametrize(
    "stranger",
    [
        record(content_type=24),
        record(content_type=63),
        record(content_type=0),
        record(version=b"\x03\x03"),
        b"\x2f" + bytes(30),  # the unified header of DTLS 1.3
    ],
)
def test_split_stops_at_what_is_no_record_of_dtls_1_2(stranger):
    good = record(b"good", version=b"\xfe\xff")
    assert split_records_untrusted(stranger) == []
    assert split_records_untrusted(good + stranger + good) == [good]


def test_split_drops_a_truncated_record():
    whole = record(b"good")
    for length in range(len(whole)):
        assert split_records_untrusted(whole + whole[:length]) == [whole]


@given(data=st.binary(max_size=100))
def test_split_is_total(data):
    assert data.startswith(b"".join(split_records_untrusted(data)))


@given(bodies=bodies, limit_bytes=st.integers(HEADER_BYTES, 700))
def test_pack_keeps_order_and_limit(bodies, limit_bytes):
    records = [record(body) for body in bodies]
    datagrams = pack_datagrams(records, limit_bytes)
    assert b"".join(datagrams) == b"".join(records)
    for datagram in datagrams:
        contents = split_records_untrusted(datagram)
        assert b"".join(contents) == datagram
        assert len(datagram) <= limit_bytes or len(contents) == 1
    for one, following in itertools.pairwise(datagrams):
        assert len(one) + len(split_records_untrusted(following)[0]) > limit_bytes
