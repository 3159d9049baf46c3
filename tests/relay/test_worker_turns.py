"""A worker and the tasks of the Trio thread: nobody is held up for long, and nobody is woken for nothing."""

import os
import socket
import time
from contextlib import contextmanager

import numpy as np
import trio

from media.operations import Operation
from media.ring import push_records
from media.state import Capacity, SharedMemory
from media.tables import EVENT, EVENT_UNKNOWN_STREAM
from relay.worker import EVENT_BATCH, TURN_NS, Worker

SMALL = Capacity(peers=16, tracks=16, inbound=16, outbound=16, history=16, commands=16, events=128, taps=16)
SLOW_NS = TURN_NS // 2


class SlowHandler:
    """Takes half a turn for every event, as a flight of a DTLS handshake does."""

    def __init__(self):
        self.handled = []

    def discover_stream(self, worker, peer_row, ssrc, payload_type, mid):
        until_ns = time.monotonic_ns() + SLOW_NS
        while time.monotonic_ns() < until_ns:
            pass
        self.handled.append(ssrc)

    def tell_overload(self, event):
        raise AssertionError(event)


@contextmanager
def small_worker():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        worker = Worker(
            index=0,
            shared=SharedMemory(1, SMALL),
            capacity=SMALL,
            socket=udp,
            keyframe_interval_ns=1,
            real_time=False,
        )
        yield worker
        worker.release()


async def test_commands_posted_in_one_go_wake_the_kernel_once(kernels):
    with small_worker() as worker, trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker._wake_kernel)
            for posts in (5, 1):
                for _ in range(posts):
                    worker.post(Operation.CLOSE_PEER, 0)
                await trio.lowlevel.wait_readable(worker._wake_fd)
                assert os.eventfd_read(worker._wake_fd) == 1
            nursery.cancel_scope.cancel()


async def test_stop_wakes_the_kernel_at_once(kernels):
    with small_worker() as worker:
        worker.post(Operation.STOP, 0)
        assert os.eventfd_read(worker._wake_fd) == 1


async def test_other_tasks_get_their_turn_amid_a_batch_of_slow_events(kernels):
    with small_worker() as worker:
        events = np.zeros(EVENT_BATCH, EVENT)
        events["kind"] = EVENT_UNKNOWN_STREAM
        events["ssrc"] = np.arange(EVENT_BATCH)
        assert push_records(worker.memory.events, worker.memory.event_cursors, events) == EVENT_BATCH
        handler, seen = SlowHandler(), []
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(worker._pump_events, handler)
                os.eventfd_write(worker._event_fd, 1)
                while len(handler.handled) < EVENT_BATCH:
                    await trio.lowlevel.checkpoint()
                    seen.append(len(handler.handled))
                nursery.cancel_scope.cancel()
    assert handler.handled == list(range(EVENT_BATCH))
    # Two slow events fill a turn, and Trio may let the pump run twice before this task runs again.
    assert max(np.diff([0, *seen])) <= 4
