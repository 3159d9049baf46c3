"""Runs of datagrams to one destination, given to the kernel as one message: every byte and the order stay."""

import random
from contextlib import AsyncExitStack

import pytest
import trio
from client_sdp import audio
from media_peer import LOOPBACK, open_publisher, open_subscriber

from relay import open_relay

pytestmark = pytest.mark.usefixtures("kernels")

PACKETS = 400


@pytest.mark.parametrize("segmentation", [1, 0], ids=["in_runs", "one_by_one"])
async def test_burst_of_mixed_sizes_arrives_whole_and_in_order(segmentation):
    source = random.Random(7)
    # Mostly runs of equal length, as media has, with longer and shorter ones between.
    lengths = [source.choice((80, 80, 80, 80, 80, 81, 30, 1000, 1200, 1320)) for _ in range(PACKETS)]
    with trio.fail_after(20):
        async with (
            open_relay(LOOPBACK) as router,
            open_publisher(router, audio("0", "sendonly", ssrc=7)) as (ada, (track,)),
            AsyncExitStack() as stack,
        ):
            context = router.workers[0].memory.context
            context["segmentation"] = segmentation
            listeners = [
                await stack.enter_async_context(open_subscriber(router, (audio("2", "recvonly"), track)))
                for _ in range(4)
            ]
            said = [source.randbytes(length) for length in lengths]
            for attempt in range(10):
                batches = int(context["batches"][0])
                first = attempt * PACKETS
                burst = [
                    ada.protect_rtp(ada.media_packet("0", number, 960 * number, payload))
                    for number, payload in enumerate(said, first)
                ]
                for datagram in burst:
                    ada.send_datagram(datagram)
                for listener in listeners:
                    packets = await listener.take_rtp(PACKETS)
                    assert [packet.payload for packet in packets] == said
                # Else the worker took each as it came: nothing was put together, and nothing is proved.
                if int(context["batches"][0]) - batches < PACKETS:
                    break
            else:
                pytest.fail("the worker never took two packets at once")
            assert int(context["segmentation"][0]) == segmentation
