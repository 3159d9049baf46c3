"""A storm of events and the other tasks of the Trio thread: nobody is held up for long."""

import os
import socket
import time

import numpy as np
import trio

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


async def test_other_tasks_get_their_turn_amid_a_batch_of_slow_events(kernels):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        worker = Worker(
            index=0, shared=SharedMemory(1, SMALL), capacity=SMALL, socket=udp, keyframe_interval_ns=1
        )
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
        worker.release()
