"""Full tables: what does not fit is refused, and nothing is left half done."""

from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
import trio
from client_sdp import audio
from media_peer import (
    LOOPBACK,
    TWO_WORKERS,
    open_peer,
    open_publisher,
)
from waiting import commands_applied, rows_in_use, wait_verdict

from media.state import Capacity
from relay import (
    CapacityError,
    open_relay,
)

pytestmark = pytest.mark.usefixtures("kernels")


async def test_peers_beyond_the_capacity_are_refused_until_one_leaves():
    capacity = Capacity(peers=2, tracks=1, inbound=1, outbound=1)
    with trio.fail_after(8):
        async with open_relay(replace(TWO_WORKERS, capacity=capacity)) as router:
            peers = [router.add_peer(str(number)) for number in range(4)]
            before = rows_in_use(router)
            with pytest.raises(CapacityError, match="peer"):
                router.add_peer("one too many")
            assert rows_in_use(router) == before
            assert router.statistics().peers == 4
            peers[1].close("over")
            await commands_applied(router)
            router.add_peer("fits")


@pytest.mark.parametrize("short_of", ["tracks", "inbound", "outbound"])
@pytest.mark.parametrize("config", [LOOPBACK, TWO_WORKERS], ids=["one_worker", "two_workers"])
async def test_offer_beyond_the_capacity_changes_nothing(config, short_of):
    generous = {"peers": 8, "tracks": 8, "inbound": 8, "outbound": 8}
    capacity = Capacity(**{**generous, short_of: 2})
    with trio.fail_after(8):
        async with open_relay(replace(config, capacity=capacity)) as router, AsyncExitStack() as stack:
            ada, bob, eve, joe = [await stack.enter_async_context(open_peer(router)) for _ in range(4)]
            tracks = ada.publish(audio("0", "sendonly", ssrc=1), audio("1", "sendonly", ssrc=2))
            before = rows_in_use(router)
            offers = [
                lambda: ada.publish(*(audio(str(mid), "sendonly", ssrc=1 + mid) for mid in range(3))),
                lambda: bob.subscribe(*((audio(str(mid), "recvonly"), tracks[mid % 2]) for mid in range(3))),
                lambda: eve.subscribe(*((audio(str(mid), "recvonly"), tracks[mid % 2]) for mid in range(3))),
                lambda: joe.subscribe(*((audio(str(mid), "recvonly"), tracks[mid % 2]) for mid in range(2))),
            ]
            refused = 0
            for peer, offer in zip((ada, bob, eve, joe), offers, strict=True):
                state = (dict(peer.relay_peer.tracks), dict(peer.relay_peer.subscriptions))
                before = rows_in_use(router)
                try:
                    offer()
                except CapacityError:
                    refused += 1
                    assert rows_in_use(router) == before
                    assert (peer.relay_peer.tracks, peer.relay_peer.subscriptions) == state
            assert refused
            for peer in (ada, bob, eve, joe):
                peer.relay_peer.close("over")
            await commands_applied(router)
            assert {count for worker in rows_in_use(router) for count in worker.values()} == {0}


@pytest.mark.parametrize("short_of", ["tracks", "inbound", "outbound"])
async def test_attach_that_needs_a_mirror_beyond_the_capacity_changes_nothing(short_of):
    generous = {"peers": 8, "tracks": 8, "inbound": 8, "outbound": 8}
    capacity = Capacity(**{**generous, short_of: 2})
    with trio.fail_after(8):
        async with open_relay(replace(TWO_WORKERS, capacity=capacity)) as router, AsyncExitStack() as stack:
            ada, bob, eve = [await stack.enter_async_context(open_peer(router)) for _ in range(3)]
            (near,) = eve.publish(audio("9", "sendonly", ssrc=9))
            adas = ada.publish(audio("0", "sendonly", ssrc=1))
            bobs = bob.publish(audio("0", "sendonly", ssrc=1), audio("1", "sendonly", ssrc=2))
            assert ada.relay_peer.worker is eve.relay_peer.worker is not bob.relay_peer.worker
            refused = 0
            for peer, tracks in ((bob, [*adas, near]), (ada, bobs), (eve, bobs)):
                sections = {section.mid: section for section in peer.sections.values()}
                sections["5"] = audio("5", "recvonly")
                try:
                    peer.offer(*sections.values())
                except CapacityError:
                    refused += 1
                    continue
                for track in tracks:
                    before, state = rows_in_use(router), dict(peer.relay_peer.subscriptions)
                    try:
                        peer.relay_peer.attach("5", track)
                    except CapacityError:
                        refused += 1
                        assert rows_in_use(router) == before
                        assert peer.relay_peer.subscriptions == state
                    await commands_applied(router)
            assert refused
            for peer in (ada, bob, eve):
                peer.relay_peer.close("over")
            await commands_applied(router)
            assert {count for worker in rows_in_use(router) for count in worker.values()} == {0}


async def test_stream_discovered_when_the_table_is_full_is_not_heard_and_harms_nobody():
    capacity = Capacity(peers=4, tracks=4, inbound=1, outbound=4)
    with trio.fail_after(8):
        async with (
            open_relay(replace(LOOPBACK, capacity=capacity)) as router,
            open_publisher(router, audio("0", "sendonly", ssrc=1)) as (ada, (track,)),
            open_publisher(router, audio("0", "sendonly")) as (bob, (unheard,)),
            open_peer(router) as eve,
        ):
            bob.send_media("0", 1, 0, b"who?", ssrc=99)
            await wait_verdict(router, "rtp_unknown_stream", 1)
            await commands_applied(router)
            assert not unheard.ssrcs
            ada.send_media("0", 1, 0, b"fine")
            await wait_verdict(router, "rtp_accepted", 1)
            eve.offer(audio("0", "inactive"))
            await eve.connect()
            assert track.statistics().packets_received == 1
