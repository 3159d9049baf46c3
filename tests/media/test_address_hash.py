"""The hash from source address to peer, against a dict."""

import ipaddress
import struct

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from media.address_hash import bind_key, find_peer, load_key, unbind_key
from media.jit import helper
from media.memory import record_at
from media.native import AF_INET, AF_INET6
from media.tables import ADDRESS, CONTEXT, SOCKADDR_BYTES


@helper
def find(context, key):
    return find_peer(record_at(CONTEXT, context), key)


@helper
def bind(context, key, peer):
    return bind_key(record_at(CONTEXT, context), key, peer)


@helper
def unbind(context, key, peer):
    unbind_key(record_at(CONTEXT, context), key, peer)


@helper
def load(sockaddr, key):
    load_key(sockaddr, key)


def sockaddr(host, port, flow=0, scope=0):
    address = ipaddress.ip_address(host)
    if address.version == 4:
        data = struct.pack("=H", AF_INET) + struct.pack("!H", port) + address.packed
    else:
        data = (
            struct.pack("=H", AF_INET6)
            + struct.pack("!HL", port, flow)
            + address.packed
            + struct.pack("=L", scope)
        )
    return data.ljust(SOCKADDR_BYTES, b"\0")


def key_of(data):
    buffer = np.frombuffer(data, np.uint8).copy()
    key = np.full(3, -1, np.int64)
    load(buffer.ctypes.data, key)
    return tuple(key.tolist())


def test_keys_differ_when_address_port_or_family_differ_and_only_then():
    addresses = [
        sockaddr(host, port)
        for host in ("127.0.0.1", "127.0.0.2", "128.0.0.1", "::1", "::2", "1::1", "::ffff:127.0.0.1")
        for port in (1, 2, 256, 65535)
    ]
    assert len({key_of(each) for each in addresses}) == len(addresses)
    assert key_of(sockaddr("::1", 5)) == key_of(sockaddr("::1", 5, flow=77, scope=3))


class Table:
    def __init__(self, capacity):
        self._rows = np.zeros(capacity, ADDRESS)
        self._context = np.zeros(1, CONTEXT)
        self._context["addresses"] = self._rows.ctypes.data
        self._context["address_mask"] = capacity - 1
        self.address = self._context.ctypes.data

    def find(self, key):
        return find(self.address, np.array(key, np.int64))

    def bind(self, key, peer):
        return bind(self.address, np.array(key, np.int64), peer)

    def unbind(self, key, peer):
        unbind(self.address, np.array(key, np.int64), peer)


KEYS = [key_of(sockaddr("10.0.0.1", port)) for port in range(1, 15)] + [
    key_of(sockaddr(f"2001:db8::{host}", 9)) for host in range(6)
]


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(st.sampled_from(["bind", "bind", "unbind"]), st.sampled_from(KEYS), st.integers(0, 3)))
)
@example([*(("bind", key, 0) for key in KEYS), *(("unbind", key, 0) for key in KEYS)])
def test_table_agrees_with_a_dict_and_keeps_the_last_slot_free(operations):
    capacity = 16
    table = Table(capacity)
    twin = {}
    for operation, key, peer in operations:
        if operation == "bind":
            if key in twin or len(twin) < capacity - 1:
                assert table.bind(key, peer)
                twin[key] = peer
            else:
                assert not table.bind(key, peer)
        else:
            table.unbind(key, peer)
            if twin.get(key) == peer:
                del twin[key]
        assert [table.find(each) for each in KEYS] == [twin.get(each, -1) for each in KEYS]


def test_table_of_many_addresses_finds_each_of_them():
    table = Table(4096)
    keys = [key_of(sockaddr(f"10.0.{index >> 8}.{index & 255}", 50000 + index % 7)) for index in range(2048)]
    for peer, key in enumerate(keys):
        assert table.bind(key, peer)
    assert [table.find(key) for key in keys] == list(range(2048))
    for peer, key in enumerate(keys):
        if peer % 3:
            table.unbind(key, peer)
    assert [table.find(key) for key in keys] == [-1 if peer % 3 else peer for peer in range(2048)]
