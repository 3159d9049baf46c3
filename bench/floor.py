"""The floor under any relay on this machine: what the bare send call delivers on loopback, in the same run.

One thread, on the relay's core, does nothing but `sendmmsg` of datagrams that lie ready, from one socket to as many
others as there will be subscribers; another, on the generator's core, reads and drops them. A relay does the same and
decrypts, copies, encrypts and decides as well: its rate divided by this one says how close to the floor it is.
"""

import select
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import CLOCK_THREAD_CPUTIME_ID, clock_gettime_ns, monotonic_ns
from typing import Any, Final

import numpy as np
import trio

from bench.histogram import Int64Array
from bench.machine import Pinning, pinned_thread
from bench.native import EPOLL_EVENT, epoll_wait
from bench.sockets import open_media_socket, raw_address
from bench.tables import EVENT_BATCH, RECEIVE_BATCH, SLOT_BYTES
from media.atomics import load_acquire
from media.jit import kernel
from media.native import CLOCK_MONOTONIC, IOVEC, MMSGHDR, MSG_DONTWAIT, TIMESPEC, clock_ns, recvmmsg, sendmmsg

Array = Any  # ndarray; mypy does not know the fields of structured ones

SEND_BATCH: Final = 128
MAX_RECEIVERS: Final = 1_000
SRTP_TAG_BYTES: Final = 16


@dataclass(frozen=True)
class SendFloor:
    """What the bare send call reached."""

    sent_per_s: float
    delivered_per_s: float
    cpu_ns_per_packet: float


async def measure_send_floor(
    receivers: int, size: int, pinning: Pinning, duration_s: float = 1.0
) -> SendFloor:
    """Measure for `duration_s`; datagrams have `size` bytes of RTP and SRTP's tag, as the relay would send them."""
    receivers = min(receivers, MAX_RECEIVERS)
    await trio.to_thread.run_sync(_compile)
    async with _receiving(receivers, pinning.client_cpu) as (addresses, received):
        headers, _owned = _messages(addresses, size + SRTP_TAG_BYTES)
        timespec = np.zeros(1, TIMESPEC)
        with open_media_socket(socket.AF_INET, "127.0.0.1") as sender:
            fd = sender.fileno()

            def send() -> tuple[int, int, int]:
                with pinned_thread(pinning.server_cpu):
                    began_ns, cpu_ns = monotonic_ns(), clock_gettime_ns(CLOCK_THREAD_CPUTIME_ID)
                    sent = send_bare(fd, headers, began_ns + round(duration_s * 1e9), timespec)
                    return sent, monotonic_ns() - began_ns, clock_gettime_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_ns

            sent, elapsed_ns, cpu_ns = await trio.to_thread.run_sync(send, thread_name="bench floor")
    return SendFloor(
        sent_per_s=sent / elapsed_ns * 1e9,
        delivered_per_s=int(received[0]) / elapsed_ns * 1e9,
        cpu_ns_per_packet=cpu_ns / max(sent, 1),
    )


@kernel
def send_bare(fd: int, headers: Array, until_ns: int, timespec: Array) -> Any:
    """Send `headers` (MMSGHDR [n]) over and over until `until_ns`. *Returns* the datagrams the socket took."""
    sent = np.int64(0)
    while clock_ns(timespec, CLOCK_MONOTONIC) < until_ns:
        first = sent % headers.size
        count = min(headers.size - first, SEND_BATCH)
        accepted = sendmmsg(fd, headers[first:].ctypes.data, np.uint32(count), MSG_DONTWAIT)
        sent += max(accepted, 0)
    return sent


@kernel
def receive_bare(
    epoll_fd: int, events: Array, headers: Array, stop: Int64Array, received: Int64Array
) -> None:
    """Read and drop what arrives until `stop[0]` is set. Counts into `received[0]`."""
    while load_acquire(stop, 0) == 0:
        ready = epoll_wait(epoll_fd, events.ctypes.data, EVENT_BATCH, 0)
        for i in range(ready):
            while True:
                fd = events[i].fd
                count = recvmmsg(fd, headers.ctypes.data, RECEIVE_BATCH, MSG_DONTWAIT, np.uintp(0))
                received[0] += max(count, 0)
                if count < RECEIVE_BATCH:
                    break


def _compile() -> None:
    """Run both kernels for no time, so that compiling is not measured."""
    headers, stop = np.zeros(1, MMSGHDR), np.ones(1, np.int64)
    send_bare(-1, headers, 0, np.zeros(1, TIMESPEC))
    receive_bare(-1, np.zeros(1, EPOLL_EVENT), headers, stop, np.zeros(1, np.int64))


@asynccontextmanager
async def _receiving(count: int, cpu: int | None) -> AsyncGenerator[tuple[list[bytes], Int64Array]]:
    """Open `count` sockets and read them in a thread while the scope is open; give their addresses and the count."""
    sockets = [open_media_socket(socket.AF_INET, "127.0.0.1") for _ in range(count)]
    stop, received = np.zeros(1, np.int64), np.zeros(1, np.int64)
    headers, _owned = _receive_messages()
    try:
        with select.epoll() as epoll:
            for receiver in sockets:
                epoll.register(receiver.fileno(), select.EPOLLIN | select.EPOLLET)
            events = np.zeros(EVENT_BATCH, EPOLL_EVENT)

            def receive() -> None:
                with pinned_thread(cpu):
                    receive_bare(epoll.fileno(), events, headers, stop, received)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.to_thread.run_sync, receive)
                try:
                    yield [raw_address(receiver.getsockname()) for receiver in sockets], received
                finally:
                    stop[0] = 1
    finally:
        for receiver in sockets:
            receiver.close()


def _messages(addresses: list[bytes], length: int) -> tuple[Array, tuple[Array, ...]]:
    """One message to each address, all with the same bytes; second, the arrays they point into."""
    payload = np.zeros(length, np.uint8)
    names = np.frombuffer(b"".join(addresses), np.uint8).copy()
    name_bytes = len(addresses[0])
    vectors = np.zeros(len(addresses), IOVEC)
    vectors["base"] = payload.ctypes.data
    vectors["length"] = length
    headers = np.zeros(len(addresses), MMSGHDR)
    headers["name"] = names.ctypes.data + np.arange(len(addresses)) * name_bytes
    headers["name_length"] = name_bytes
    headers["iov"] = vectors.ctypes.data + np.arange(len(addresses)) * IOVEC.itemsize
    headers["iov_count"] = 1
    return headers, (payload, names, vectors)


def _receive_messages() -> tuple[Array, tuple[Array, ...]]:
    slots = np.zeros((RECEIVE_BATCH, SLOT_BYTES), np.uint8)
    vectors = np.zeros(RECEIVE_BATCH, IOVEC)
    vectors["base"] = slots.ctypes.data + np.arange(RECEIVE_BATCH) * SLOT_BYTES
    vectors["length"] = SLOT_BYTES
    headers = np.zeros(RECEIVE_BATCH, MMSGHDR)
    headers["iov"] = vectors.ctypes.data + np.arange(RECEIVE_BATCH) * IOVEC.itemsize
    headers["iov_count"] = 1
    return headers, (slots, vectors)
