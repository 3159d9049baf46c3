"""The bare send call, measured between sockets of this machine."""

import socket
from contextlib import suppress

import pytest
import trio

from bench.floor import measure_send_floor
from bench.machine import Pinning
from bench.sockets import open_media_socket, raw_address, read_udp_drops, socket_inode


@pytest.mark.parametrize("receivers", [1, 10])
async def test_floor_counts_what_is_sent_and_delivered(receivers):
    with trio.fail_after(60):
        floor = await measure_send_floor(receivers, 120, Pinning(None, None), duration_s=0.1)
    assert 0 < floor.delivered_per_s <= floor.sent_per_s
    assert floor.cpu_ns_per_packet > 0


def test_raw_addresses_are_what_the_system_takes():
    with open_media_socket(socket.AF_INET, "127.0.0.1") as media:
        host, port = media.getsockname()
        raw = raw_address((host, port))
    assert len(raw) == 16
    assert raw[2:4] == port.to_bytes(2, "big")
    assert raw[4:8] == bytes([127, 0, 0, 1])


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_overflows_of_a_receive_buffer_are_found_by_socket_and_by_port(family, host):
    with open_media_socket(family, host) as full, open_media_socket(family, host) as sender:
        full.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(50):
            sender.sendto(bytes(1000), full.getsockname())
        drops = read_udp_drops()
        received = 0
        with suppress(BlockingIOError):
            while full.recv(2000):
                received += 1
        assert received < 50
        assert drops.of_inodes([socket_inode(full)]) == 50 - received
        assert drops.of_ports([full.getsockname()[1]]) == 50 - received
        assert drops.of_inodes([socket_inode(sender)]) == 0
