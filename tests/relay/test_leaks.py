"""Coming and going leaves nothing behind."""

import gc
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import trio
from client_sdp import audio, video
from media_peer import TWO_WORKERS, open_peer, open_publisher, open_subscriber
from rtp_packets import KEYFRAME
from waiting import commands_applied

from media.srtp import SrtpSession
from media.state import WorkerMemory
from relay import Router, open_relay

pytestmark = pytest.mark.usefixtures("kernels")


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def threads_in_use() -> list[str]:
    """Without those that Trio keeps for a while in case they are wanted again."""
    return [one.name for one in threading.enumerate() if not one.name.startswith("Trio thread")]


def holdings(router: Router) -> dict[str, object]:
    """What a call could leave behind, but for memory.

    Types are compared, not tested by isinstance: that would follow another test's weak proxies to nowhere.
    """
    gc.collect()
    return {
        "rows": [dict(worker.rows) for worker in router.statistics().workers],
        "peers": router.statistics().peers,
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "threads": len(threads_in_use()),
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        "ufrags": len(router._by_ufrag),
        "by_row": len(router._by_row),
        "addresses": [
            int(np.count_nonzero(worker.memory._buffers["addresses"]["peer"])) for worker in router.workers
        ],
        "open": [int(worker.memory.context["open_peers"][0]) for worker in router.workers],
        "srtp": sum(one.address != 0 for one in gc.get_objects() if type(one) is SrtpSession),
        "waiting": [len(worker._retirements) + len(worker._overflow) for worker in router.workers],
    }


async def test_a_thousand_calls_leave_nothing_behind():
    with trio.fail_after(60):
        async with (
            open_relay(TWO_WORKERS) as router,
            open_publisher(router, audio("0", "sendonly", ssrc=1), video("1", "sendonly", ssrc=2)) as (
                ada,
                tracks,
            ),
        ):
            wanted = [(audio("0", "recvonly"), tracks[0]), (video("1", "recvonly"), tracks[1])]
            sequence_number = 0

            async def call(*, connected: bool) -> None:
                nonlocal sequence_number
                if not connected:
                    peer = router.add_peer("in passing")
                    peer.close("gone before it came")
                async with open_peer(router) as bob, open_peer(router) as eve:
                    bobs = bob.publish(
                        audio("0", "sendonly", ssrc=5), video("1", "sendonly", ssrc=6, rtx_ssrc=7)
                    )
                    eve.subscribe(
                        *wanted, (audio("2", "recvonly"), bobs[0]), (video("3", "recvonly"), bobs[1])
                    )
                    eve.relay_peer.detach("2")
                    eve.relay_peer.attach("1", bobs[1])
                    if not connected:
                        return
                    await eve.connect()
                    sequence_number += 1
                    ada.send_media("0", sequence_number, 960 * sequence_number, b"sound")
                    await eve.take_rtp(1)
                    eve.close_dtls()
                    async for _ in eve.relay_peer.events:
                        pass

            for connected in (True, False):
                await call(connected=connected)
            await commands_applied(router)
            before, bytes_before = holdings(router), resident_bytes()
            for number in range(1000):
                await call(connected=number % 10 == 0)
            await commands_applied(router)
            assert holdings(router) == before
            # Allocators and lazily touched tables keep a little; a leak of one peer a call would be 100 MB.
            assert resident_bytes() - bytes_before < 32 << 20
            ada.send_media("0", 40_000, 0, b"still here")
            assert tracks[0].statistics().subscribers == 0


async def test_keys_live_until_the_worker_has_let_go_of_them():
    with trio.fail_after(20):
        async with (
            open_relay(TWO_WORKERS) as router,
            open_publisher(router, audio("0", "sendonly", ssrc=1)) as (ada, _),
        ):
            keys = ada.relay_peer.transport._keys
            worker, row = ada.relay_peer.worker, ada.relay_peer.row.index
            assert keys.values == tuple(
                int(worker.memory.peers[name][row]) for name in ("srtp_receive", "srtp_send", "aead_send")
            )
            ada.relay_peer.close("over")
            # The command is on its way; nothing is freed before this task lets the acknowledgement in.
            assert all(keys.values)
            await commands_applied(router)
            assert not any(keys.values)
            assert worker.memory.peers["srtp_send"][row] == 0


async def test_relays_one_after_the_other_leave_no_descriptor_thread_or_memory():
    with trio.fail_after(60):

        async def once() -> None:
            async with (
                open_relay(TWO_WORKERS) as router,
                open_publisher(router, video("0", "sendonly", ssrc=1)) as (ada, (track,)),
                open_subscriber(router, (video("0", "recvonly"), track)) as bob,
            ):
                ada.send_media("0", 1, 0, KEYFRAME)
                await bob.take_rtp(1)

        def held() -> Counter[str]:
            gc.collect()
            return Counter(
                str(one.readlink()).split("[")[0] for one in Path("/proc/self/fd").iterdir() if one.exists()
            )

        def native_owners() -> int:
            """Resident memory would say less: the allocator keeps large blocks."""
            gc.collect()
            return sum(type(one) in {WorkerMemory, SrtpSession} for one in gc.get_objects())

        await once()
        before, threads, owners = held(), len(threads_in_use()), native_owners()
        for _ in range(10):
            await once()
        assert held() == before
        assert len(threads_in_use()) == threads
        # Not zero: other tests' relays live on in what pytest and Hypothesis remember of them.
        assert native_owners() <= owners
