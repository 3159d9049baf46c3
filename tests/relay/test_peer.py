"""A peer's public face: offers section by section, tracks, attachment."""

import re
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
import trio
from client_sdp import audio, video
from media_peer import (
    LOOPBACK,
    TWO_WORKERS,
    open_peer,
    open_publisher,
    open_subscriber,
)
from rtcp_packets import Nack
from rtp_packets import KEYFRAME
from waiting import commands_applied, rows_in_use, wait_verdict

from media.state import Capacity
from relay import (
    CapacityError,
    LocalProtocolError,
    PeerState,
    RemoteProtocolError,
    open_relay,
)

pytestmark = pytest.mark.usefixtures("kernels")


async def test_offer_that_is_refused_changes_nothing():
    with trio.fail_after(8):
        async with open_relay(LOOPBACK) as router, open_peer(router) as ada, open_peer(router) as bob:
            (track,) = ada.publish(audio("0", "sendonly", ssrc=1))
            before = rows_in_use(router)
            with pytest.raises(RemoteProtocolError) as caught:
                bob.offer(audio("0", "recvonly"), subscribe={"9": track})
            assert caught.value.code == "unknown_mid"
            with pytest.raises(RemoteProtocolError) as caught:
                bob.relay_peer.accept_offer("nonsense")
            assert caught.value.code == "invalid_sdp"
            assert rows_in_use(router) == before
            assert bob.relay_peer.state is PeerState.NEW
            assert not bob.relay_peer.subscriptions


async def test_sections_are_refused_one_by_one():
    with trio.fail_after(8):
        async with open_relay(LOOPBACK) as router, open_peer(router) as ada, open_peer(router) as bob:
            (track,) = ada.publish(audio("0", "sendonly", ssrc=1))
            (other,) = ada.publish(audio("0", "sendonly", ssrc=1))
            assert other is track
            sections = (
                audio("a", "recvonly"),
                video("b", "recvonly"),
                audio("c", "sendonly", ssrc=2),
                audio("d", "recvonly"),
                replace(audio("e", "recvonly"), port=0),
                audio("f", "recvonly"),
            )
            gone = ada.offer(audio("0", "inactive")).unpublished[0]
            (track,) = ada.publish(audio("0", "sendonly", ssrc=1))
            result = bob.offer(
                *sections,
                publish=["c", "f"],
                subscribe={"a": track, "b": track, "c": track, "d": gone, "e": track},
            )
            assert {mid: refusal.code for mid, refusal in result.refused.items()} == {
                "b": "kind_mismatch",
                "c": "not_receiving",
                "d": "unknown_track",
                "e": "stopped",
                "f": "not_sending",
            }
            assert result.subscribed == {"a": track}
            assert set(result.published) == {"c"}
            directions = {mid: one.direction for mid, one in bob.answer.sections.items()}
            assert directions == {
                "a": "sendonly",
                "b": "sendonly",
                "c": "recvonly",
                "d": "sendonly",
                "e": "inactive",
                "f": "sendonly",
            }


async def test_section_that_comes_back_as_another_kind_starts_over():
    with trio.fail_after(8):
        async with (
            open_relay(LOOPBACK) as router,
            open_publisher(router, audio("0", "sendrecv", ssrc=1)) as (ada, (sound,)),
            open_publisher(router, audio("0", "sendonly", ssrc=1)) as (_, (other,)),
        ):
            ada.offer(audio("0", "sendrecv", ssrc=1), subscribe={"0": other})
            result = ada.offer(video("0", "sendrecv", ssrc=2), publish=["0"])
            assert result.unpublished == (sound,)
            assert sound.closed
            assert result.published["0"].kind == "video"
            assert result.subscribed == {}
            with pytest.raises(LocalProtocolError):
                ada.relay_peer.attach("0", other)


async def test_section_that_disappears_ends_what_it_carried():
    with trio.fail_after(8):
        async with open_relay(LOOPBACK) as router, open_peer(router) as ada, open_peer(router) as bob:
            first, second = ada.publish(audio("0", "sendonly", ssrc=1), audio("1", "sendonly", ssrc=2))
            bob.subscribe((audio("0", "recvonly"), first), (audio("1", "recvonly"), second))
            result = ada.offer(audio("0", "sendonly", ssrc=1), replace(audio("1", "sendonly"), port=0))
            assert result.unpublished == (second,)
            assert result.published == {"0": first}
            assert bob.relay_peer.subscriptions == {"0": first, "1": None}
            bob.offer(audio("0", "recvonly"), audio("1", "inactive"))
            assert bob.relay_peer.subscriptions == {"0": first}
            await commands_applied(router)
            assert rows_in_use(router)[0] == {
                "peer": 2,
                "track": 1,
                "inbound": 1,
                "outbound": 1,
                "group": 0,
            }


async def test_many_ice_restarts_leave_two_ufrags_behind():
    with trio.fail_after(8):
        async with (
            open_relay(LOOPBACK) as router,
            open_publisher(router, audio("0", "sendonly", ssrc=1)) as (ada, _),
        ):
            for _ in range(50):
                ada.renew_credentials()
                ada.offer(audio("0", "sendonly", ssrc=1))
            assert len(router._by_ufrag) == 2
            ada.relay_peer.close("over")
            assert not router._by_ufrag


async def test_attach_that_cannot_be_leaves_the_section_as_it_was():
    with trio.fail_after(8):
        async with (
            open_relay(LOOPBACK) as router,
            open_publisher(
                router,
                audio("0", "sendonly", ssrc=1),
                audio("1", "sendonly", ssrc=2),
                video("2", "sendonly", ssrc=3),
            ) as (ada, (sound, gone, picture)),
            open_subscriber(router, (audio("0", "recvonly"), sound)) as bob,
        ):
            ada.offer(audio("0", "sendonly", ssrc=1), audio("1", "inactive"), video("2", "sendonly", ssrc=3))
            assert gone.closed
            for mid, track in (("0", gone), ("0", picture), ("9", sound)):
                with pytest.raises(LocalProtocolError):
                    bob.relay_peer.attach(mid, track)
            assert bob.relay_peer.subscriptions == {"0": sound}
            await commands_applied(router)
            ada.send_media("0", 1, 0, b"still here")
            assert (await bob.take_rtp(1))[0].payload == b"still here"


@pytest.mark.parametrize("config", [LOOPBACK, TWO_WORKERS], ids=["one_worker", "two_workers"])
async def test_subscribers_are_counted_whichever_worker_they_live_on(config):
    with trio.fail_after(8):
        async with open_relay(config) as router, open_peer(router) as ada, AsyncExitStack() as stack:
            (track,) = ada.publish(audio("0", "sendonly", ssrc=1))
            peers = [await stack.enter_async_context(open_peer(router)) for _ in range(5)]
            for peer in peers:
                peer.subscribe((audio("0", "recvonly"), track))
            await commands_applied(router)
            assert track.statistics().subscribers == 5
            peers[0].relay_peer.detach("0")
            peers[1].relay_peer.close("over")
            peers[2].offer(audio("0", "inactive"))
            await commands_applied(router)
            assert track.statistics().subscribers == 2
            for peer in peers[3:]:
                peer.relay_peer.detach("0")
            await commands_applied(router)
            assert track.statistics().subscribers == 0
            assert sum(worker["track"] for worker in rows_in_use(router)) == 1


async def test_no_ssrc_is_ever_used_twice_under_the_keys_of_a_peer(monkeypatch):
    monkeypatch.setattr("relay.subscription.PREFIXES", 21)
    few = replace(LOOPBACK, workers=1, capacity=Capacity(outbound=2))
    with trio.fail_after(8):
        async with open_relay(few) as router, open_peer(router) as ada, open_peer(router) as bob:
            (track,) = ada.publish(video("0", "sendonly", ssrc=1))
            sent: list[str] = []
            for number in range(20):
                mid = str(number)
                result = bob.offer(video(mid, "recvonly"), subscribe={mid: track})
                sent += re.findall(r"a=ssrc:(\d+) cname", result.sdp)
                await commands_applied(router)
            with pytest.raises(CapacityError, match="make a new one"):
                bob.offer(video("last", "recvonly"), subscribe={"last": track})
            assert len(sent) == len(set(sent)) == 20
            assert bob.relay_peer.state is not PeerState.CLOSED


async def test_row_that_is_used_again_brings_nothing_of_its_former_life():
    """A parked stream must not go on with the clock or the history of whoever gets its former source's row."""
    capacity = Capacity(peers=4, tracks=2, inbound=1, outbound=1)
    with trio.fail_after(8):
        async with (
            open_relay(replace(LOOPBACK, capacity=capacity, keyframe_interval_ms=1)) as router,
            open_publisher(router, video("0", "sendonly", ssrc=1)) as (ada, (first,)),
            open_peer(router) as bob,
            open_subscriber(router, (video("0", "recvonly"), first)) as eve,
        ):
            bob.offer(video("0", "inactive"))
            await bob.connect()
            for index in range(3):
                ada.send_media("0", 500 + index, 0x10000 + 3000 * index, KEYFRAME + b"ada")
            packets = await eve.take_rtp(3)
            eve.relay_peer.detach("0")
            ada.offer(video("0", "inactive"))
            await commands_applied(router)
            (second,) = bob.publish(video("0", "sendonly", ssrc=2))
            await commands_applied(router)
            for index in range(3):
                bob.send_media("0", 500 + index, 0x99990000 + 3000 * index, KEYFRAME + b"bob")
            await wait_verdict(router, "rtp_accepted", 6)
            eve.send_rtcp(Nack(9, eve.ssrc("0"), tuple(packet.sequence_number for packet in packets)))
            await wait_verdict(router, "nack_missed", 3)
            eve.relay_peer.attach("0", second)
            await commands_applied(router)
            bob.send_media("0", 503, 0x99990000, KEYFRAME + b"bob")
            (packet,) = await eve.take_rtp(1)
            assert packet.sequence_number == (packets[-1].sequence_number + 1) & 0xFFFF
            assert 0 < packet.timestamp - packets[-1].timestamp < 20 * 90_000
