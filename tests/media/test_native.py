"""libc as kernels call it: struct layouts against ctypes, calls against Python's own."""

import ctypes
import errno as errno_codes
import os
import select
import socket
import time

import numpy as np
import pytest
from both_ways import Guarded

from media.jit import helper
from media.native import (
    AF_INET,
    AF_INET6,
    CLOCK_MONOTONIC,
    CLOCK_REALTIME,
    EAGAIN,
    EINTR,
    IOVEC,
    MMSGHDR,
    MSG_DONTWAIT,
    MSG_TRUNC,
    POLLFD,
    POLLIN,
    TIMESPEC,
    clock_ns,
    errno,
    memcpy,
    memmove,
    ppoll,
    read,
    recvmmsg,
    sendmmsg,
    write,
)


class IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class MsgHdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("iov", ctypes.c_void_p),
        ("iov_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class MMsgHdr(ctypes.Structure):
    _fields_ = (("header", MsgHdr), ("length", ctypes.c_uint))


class PollFd(ctypes.Structure):
    _fields_ = (("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short))


class TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


@pytest.mark.parametrize(("dtype", "structure"), [(IOVEC, IoVec), (POLLFD, PollFd), (TIMESPEC, TimeSpec)])
def test_struct_layouts_are_those_of_c(dtype, structure):
    assert dtype.itemsize == ctypes.sizeof(structure)
    for name, *_ in structure._fields_:
        assert dtype.fields[name][1] == getattr(structure, name).offset
        assert dtype.fields[name][0].itemsize == getattr(structure, name).size


def test_mmsghdr_layout_is_that_of_c():
    assert MMSGHDR.itemsize == ctypes.sizeof(MMsgHdr)
    for name, *_ in MsgHdr._fields_:
        assert MMSGHDR.fields[name][1] == getattr(MsgHdr, name).offset
        assert MMSGHDR.fields[name][0].itemsize == getattr(MsgHdr, name).size
    assert MMSGHDR.fields["length"][1] == MMsgHdr.length.offset


def test_constants_are_those_of_this_system():
    assert (MSG_DONTWAIT, MSG_TRUNC) == (socket.MSG_DONTWAIT, socket.MSG_TRUNC)
    assert (CLOCK_REALTIME, CLOCK_MONOTONIC) == (time.CLOCK_REALTIME, time.CLOCK_MONOTONIC)
    assert (AF_INET, AF_INET6) == (socket.AF_INET, socket.AF_INET6)
    assert (EINTR, EAGAIN, POLLIN) == (errno_codes.EINTR, errno_codes.EAGAIN, select.POLLIN)


@helper
def call_clock(timespec, clock):
    return clock_ns(timespec, clock)


@pytest.mark.parametrize("clock", [CLOCK_MONOTONIC, CLOCK_REALTIME])
def test_clock_ns_lies_between_two_readings_of_pythons_clock(clock):
    timespec = np.zeros(1, TIMESPEC)
    call_clock(timespec, clock)
    before = time.clock_gettime_ns(clock)
    reading = call_clock(timespec, clock)
    assert before <= reading <= time.clock_gettime_ns(clock)


@helper
def call_copy(target, source, count):
    return memcpy(target.ctypes.data, source.ctypes.data, np.uint64(count))


@helper
def call_move(target, source, count):
    return memmove(target.ctypes.data, source.ctypes.data, np.uint64(count))


def test_memcpy_and_memmove_copy_as_many_bytes_as_they_are_told():
    source = np.frombuffer(b"abcdefgh", np.uint8).copy()
    target = Guarded(b"........")
    call_copy(target.array, source, 5)
    assert bytes(target) == b"abcde..."
    overlapping = Guarded(b"abcdefgh")
    call_move(overlapping.array[2:], overlapping.array, 6)
    assert bytes(overlapping) == b"ababcdef"


@helper
def call_read(descriptor, buffer):
    count = read(np.int32(descriptor), buffer.ctypes.data, np.uint64(buffer.size))
    return count, errno()


@helper
def call_write(descriptor, buffer):
    count = write(np.int32(descriptor), buffer.ctypes.data, np.uint64(buffer.size))
    return count, errno()


def test_read_and_write_reach_an_eventfd_and_errno_tells_why_not():
    descriptor = os.eventfd(0, os.EFD_NONBLOCK)
    try:
        word = np.array([3], np.uint64).view(np.uint8)
        assert call_write(descriptor, word)[0] == 8
        assert call_write(descriptor, word)[0] == 8
        assert call_read(descriptor, word)[0] == 8
        assert word.view(np.uint64)[0] == 6
        assert call_read(descriptor, word) == (-1, errno_codes.EAGAIN)
    finally:
        os.close(descriptor)
    assert call_read(-1, word) == (-1, errno_codes.EBADF)


@helper
def call_send(descriptor, messages):
    return sendmmsg(
        np.int32(descriptor), messages.ctypes.data, np.uint32(messages.size), np.int32(MSG_DONTWAIT)
    )


@helper
def call_receive(descriptor, messages):
    count = recvmmsg(
        np.int32(descriptor),
        messages.ctypes.data,
        np.uint32(messages.size),
        np.int32(MSG_DONTWAIT),
        np.uint64(0),
    )
    return count, errno()


@helper
def call_poll(entries, timeout):
    return ppoll(entries.ctypes.data, np.uint64(entries.size), timeout.ctypes.data, np.uint64(0))


def messages_over(buffers, lengths, addresses):
    """MMSGHDR array of one vector each, and the vectors, which must stay alive."""
    vectors = np.zeros(len(buffers), IOVEC)
    vectors["base"] = [buffer.ctypes.data for buffer in buffers]
    vectors["length"] = lengths
    messages = np.zeros(len(buffers), MMSGHDR)
    messages["iov"] = vectors.ctypes.data + np.arange(len(buffers)) * IOVEC.itemsize
    messages["iov_count"] = 1
    messages["name"] = [address.ctypes.data for address in addresses]
    messages["name_length"] = 16
    return messages, vectors


def test_datagrams_cross_the_loopback_in_batches():
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
    ):
        for each in (sender, receiver):
            each.bind(("127.0.0.1", 0))
        target = np.zeros(16, np.uint8)
        target[:2] = np.frombuffer(np.uint16(AF_INET).tobytes(), np.uint8)
        target[2:4] = list(receiver.getsockname()[1].to_bytes(2, "big"))
        target[4:8] = [127, 0, 0, 1]
        empty, vectors = messages_over(np.zeros((1, 16), np.uint8), [16], [target])
        assert call_receive(receiver.fileno(), empty) == (-1, errno_codes.EAGAIN)

        payloads = np.arange(3 * 16, dtype=np.uint8).reshape(3, 16)
        messages, vectors = messages_over(payloads, [16, 5, 16], [target] * 3)
        assert call_send(sender.fileno(), messages) == 3
        assert messages["length"].tolist() == [16, 5, 16]

        entries = np.zeros(1, POLLFD)
        entries["fd"] = receiver.fileno()
        entries["events"] = POLLIN
        timeout = np.zeros(1, TIMESPEC)
        timeout["seconds"] = 10
        assert call_poll(entries, timeout) == 1
        assert entries["revents"][0] == POLLIN

        arrived = np.zeros((4, 16), np.uint8)
        sources = np.zeros((4, 16), np.uint8)
        messages, vectors = messages_over(arrived, [16, 16, 8, 16], list(sources))
        assert call_receive(receiver.fileno(), messages)[0] == 3
        assert messages["length"].tolist() == [16, 5, 8, 0]
        assert [bool(flags & MSG_TRUNC) for flags in messages["flags"]] == [False, False, True, False]
        assert arrived[0].tolist() == payloads[0].tolist()
        assert arrived[1, :5].tolist() == payloads[1, :5].tolist()
        assert int.from_bytes(sources[0, 2:4].tobytes(), "big") == sender.getsockname()[1]
        assert vectors.size == 4
        timeout["seconds"] = 0
        assert call_poll(entries, timeout) == 0
