"""From a publisher to its subscribers, over real sockets: numbers, order, switching, keyframes, several workers."""

from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import pairwise

import pytest
import trio
from client_sdp import audio, video
from media_peer import (
    CM,
    GCM,
    LOOPBACK,
    TWO_WORKERS,
    open_peer,
    open_publisher,
    open_subscriber,
)
from rtcp_packets import PictureLoss
from rtp_packets import DELTA, KEYFRAME, RtpPacket
from waiting import commands_applied, eventually, wait_verdict

from relay import RelayConfig, open_relay

pytestmark = pytest.mark.usefixtures("kernels")

both_configs = pytest.mark.parametrize("config", [LOOPBACK, TWO_WORKERS], ids=["one_worker", "two_workers"])


def numbers(packets: list[RtpPacket]) -> list[int]:
    return [packet.sequence_number for packet in packets]


def payloads(packets: list[RtpPacket]) -> list[bytes]:
    return [packet.payload for packet in packets]


def assert_continuous(packets: list[RtpPacket]) -> None:
    first = packets[0].sequence_number
    assert numbers(packets) == [(first + step) & 0xFFFF for step in range(len(packets))]


@both_configs
async def test_packet_arrives_in_the_numbers_of_each_subscriber(config):
    with trio.fail_after(20):
        async with (
            open_relay(config) as router,
            open_publisher(router, audio("0", "sendonly", level_id=1, ssrc=7)) as (ada, (track,)),
            AsyncExitStack() as stack,
        ):
            listeners = []
            for payload_type, level_id, profile in ((111, 1, GCM), (96, 9, CM), (63, 14, CM), (127, 3, GCM)):
                section = audio("2", "recvonly", payload_type=payload_type, level_id=level_id, mid_id=5)
                peer = open_subscriber(router, (section, track), profile=profile)
                listeners.append((await stack.enter_async_context(peer), section))
            sent = [
                ada.send_media(
                    "0",
                    65533 + index,
                    0xFFFFFF00 + 960 * index,
                    bytes([index]) * (40 + 200 * index),
                    marker=index == 0,
                    extensions=((1, b"\x85"), (4, b"0")),
                    csrcs=(5, 6)[:index],
                )
                for index in range(6)
            ]
            for listener, section in listeners:
                packets = await listener.take_rtp(6)
                (level_id, _) = section.extensions.values()
                assert_continuous(packets)
                assert packets == [
                    replace(
                        packet,
                        payload_type=section.payload_type,
                        ssrc=listener.ssrc("2"),
                        sequence_number=received.sequence_number,
                        extensions=((level_id, b"\x85"),),
                    )
                    for packet, received in zip(sent, packets, strict=True)
                ]
                assert listener.answer.sections["2"].cname == ada.relay_peer.id
            verdicts = router.statistics().verdicts
            assert verdicts["rtp_accepted"] == 6
            assert verdicts["route_sent"] == 24
            assert verdicts["route_tapped"] == (6 if config is TWO_WORKERS else 0)


@both_configs
async def test_two_byte_header_extensions_stay_two_byte(config):
    with trio.fail_after(20):
        async with (
            open_relay(config) as router,
            open_publisher(router, audio("0", "sendonly", level_id=11, ssrc=7)) as (ada, (track,)),
            open_subscriber(router, (audio("2", "recvonly", level_id=2), track)) as bob,
        ):
            ada.send_media(
                "0", 1, 1, b"x", two_byte=True, extensions=((11, b"\x85"), (4, b"0"), (99, b"unknown"))
            )
            (packet,) = await bob.take_rtp(1)
            assert packet.two_byte
            assert packet.extensions == ((2, b"\x85"),)
            assert packet.payload == b"x"


async def test_packets_flow_over_ipv6_and_from_ipv4_to_ipv6():
    with trio.fail_after(20):
        async with (
            open_relay(RelayConfig(host="::1", workers=1)) as router,
            open_publisher(router, audio("0", "sendonly", ssrc=7)) as (ada, (track,)),
            open_subscriber(router, (audio("0", "recvonly"), track)) as bob,
        ):
            assert bob.address[0] == "::1"
            ada.send_media("0", 1, 1, b"six")
            assert payloads(await bob.take_rtp(1)) == [b"six"]
        dual = RelayConfig(host="::", public_addresses=("127.0.0.1",), workers=1)
        async with (
            open_relay(dual) as router,
            open_publisher(router, audio("0", "sendonly", ssrc=7), candidate_host="127.0.0.1") as (
                ada,
                (track,),
            ),
            open_subscriber(router, (audio("0", "recvonly"), track), candidate_host="::1") as bob,
        ):
            assert ada.address[0] == "127.0.0.1"
            ada.send_media("0", 1, 1, b"four to six")
            assert payloads(await bob.take_rtp(1)) == [b"four to six"]


async def test_packet_as_long_as_a_path_carries_arrives_whole():
    with trio.fail_after(20):
        async with (
            open_relay(LOOPBACK) as router,
            open_publisher(router, audio("0", "sendonly", ssrc=7)) as (ada, (track,)),
            open_subscriber(router, (audio("0", "recvonly"), track), profile=CM) as bob,
        ):
            payload = bytes(range(256)) * 5
            ada.send_media("0", 1, 1, payload)
            (packet,) = await bob.take_rtp(1)
            assert packet.payload == payload


async def test_order_gaps_and_lateness_are_passed_on_and_duplicates_are_not():
    with trio.fail_after(20):
        async with (
            open_relay(LOOPBACK) as router,
            open_publisher(router, audio("0", "sendonly", ssrc=7)) as (ada, (track,)),
            open_subscriber(router, (audio("0", "recvonly"), track)) as bob,
        ):
            order = [65530, 65531, 65534, 65532, 3, 65535, 1, 10]
            wire = {
                number: ada.protect_rtp(ada.media_packet("0", number, number, b"%d" % number))
                for number in order
            }
            for number in order:
                ada.send_datagram(wire[number])
                ada.send_datagram(wire[number])
            packets = await bob.take_rtp(len(order))
            assert payloads(packets) == [b"%d" % number for number in order]
            first = packets[0].sequence_number
            assert numbers(packets) == [(first + number - order[0]) & 0xFFFF for number in order]
            await wait_verdict(router, "rtp_replayed", len(order))


@both_configs
async def test_mute_is_a_pause_and_not_a_loss(config):
    with trio.fail_after(20):
        async with (
            open_relay(config) as router,
            open_publisher(router, audio("0", "sendonly", ssrc=7)) as (ada, (track,)),
            open_subscriber(router, (audio("0", "recvonly"), track)) as bob,
        ):
            ada.send_media("0", 10, 0, b"a")
            (before,) = await bob.take_rtp(1)
            track.set_muted(True)
            assert track.muted
            await commands_applied(router)
            for index in range(5):
                ada.send_media("0", 11 + index, 960 * (1 + index), b"unheard")
            await wait_verdict(router, "rtp_muted", 5)
            track.set_muted(False)
            await commands_applied(router)
            ada.send_media("0", 16, 960 * 6, b"b")
            (after,) = await bob.take_rtp(1)
            assert after.payload == b"b"
            assert_continuous([before, after])
            assert after.timestamp - before.timestamp == 960 * 6


@both_configs
async def test_unmuted_video_begins_with_a_keyframe_that_is_asked_for(config):
    quick = replace(config, keyframe_interval_ms=1)
    with trio.fail_after(20):
        async with (
            open_relay(quick) as router,
            open_publisher(router, video("0", "sendonly", ssrc=7)) as (ada, (track,)),
            open_subscriber(router, (video("0", "recvonly"), track)) as bob,
        ):
            ada.send_media("0", 1, 0, KEYFRAME)
            await bob.take_rtp(1)
            track.set_muted(True)
            await commands_applied(router)
            ada.rtcp.clear()
            track.set_muted(False)
            await commands_applied(router)
            assert (await ada.take_rtcp(PictureLoss)).media == 7
            ada.send_media("0", 5, 3000, DELTA)
            ada.send_media("0", 6, 6000, KEYFRAME)
            (packet,) = await bob.take_rtp(1)
            assert packet.payload == KEYFRAME


@both_configs
async def test_video_begins_with_a_keyframe(config):
    with trio.fail_after(20):
        async with (
            open_relay(config) as router,
            open_publisher(router, video("0", "sendonly", ssrc=7)) as (ada, (track,)),
            open_subscriber(router, (video("0", "recvonly"), track)) as bob,
        ):
            for index in range(3):
                ada.send_media("0", index, 0, DELTA)
            assert (await ada.take_rtcp(PictureLoss)).media == 7
            ada.send_media("0", 3, 3000, KEYFRAME)
            ada.send_media("0", 4, 6000, DELTA)
            packets = await bob.take_rtp(2)
            assert payloads(packets) == [KEYFRAME, DELTA]
            assert_continuous(packets)
            assert router.statistics().verdicts["route_awaiting_keyframe"] == 3


async def test_subscriber_that_connects_late_begins_with_a_keyframe_it_asks_for():
    with trio.fail_after(20):
        async with (
            open_relay(replace(LOOPBACK, keyframe_interval_ms=1)) as router,
            open_publisher(router, video("0", "sendonly", ssrc=7)) as (ada, (track,)),
            open_peer(router) as bob,
        ):
            bob.subscribe((video("0", "recvonly"), track))
            ada.send_media("0", 1, 0, KEYFRAME)
            await wait_verdict(router, "route_not_connected", 1)
            ada.rtcp.clear()
            await bob.connect()
            assert (await ada.take_rtcp(PictureLoss)).media == 7
            ada.send_media("0", 2, 3000, DELTA)
            ada.send_media("0", 3, 6000, KEYFRAME)
            assert payloads(await bob.take_rtp(1)) == [KEYFRAME]


@both_configs
async def test_subscription_may_come_before_the_publisher_is_connected(config):
    with trio.fail_after(20):
        async with open_relay(config) as router, open_peer(router) as ada:
            (track,) = ada.publish(video("0", "sendonly", ssrc=7))
            async with open_subscriber(router, (video("0", "recvonly"), track)) as bob:
                await ada.connect()
                ada.send_media("0", 1, 0, DELTA)
                await ada.take_rtcp(PictureLoss)
                ada.send_media("0", 2, 0, KEYFRAME)
                assert payloads(await bob.take_rtp(1)) == [KEYFRAME]


@both_configs
async def test_section_can_switch_between_tracks_and_the_numbering_goes_on(config):
    with trio.fail_after(20):
        async with (
            open_relay(config) as router,
            open_publisher(router, audio("0", "sendonly", ssrc=1)) as (ada, (adas,)),
            open_publisher(router, audio("0", "sendonly", ssrc=2)) as (bob, (bobs,)),
            open_subscriber(router, (audio("0", "recvonly"), adas)) as eve,
        ):
            packets = []
            began_s = trio.current_time()
            ada.send_media("0", 40_000, 0x80000000, b"a0")
            packets += await eve.take_rtp(1)
            eve.relay_peer.attach("0", bobs)
            assert eve.relay_peer.subscriptions == {"0": bobs}
            await commands_applied(router)
            ada.send_media("0", 40_001, 0x80000000 + 960, b"unheard")
            bob.send_media("0", 5, 77, b"b0")
            bob.send_media("0", 6, 77 + 960, b"b1")
            packets += await eve.take_rtp(2)
            eve.relay_peer.detach("0")
            assert eve.relay_peer.subscriptions == {"0": None}
            await commands_applied(router)
            bob.send_media("0", 7, 77 + 960 * 2, b"unheard")
            await wait_verdict(router, "rtp_accepted", 5)
            eve.relay_peer.attach("0", adas)
            await commands_applied(router)
            ada.send_media("0", 40_700, 12345, b"a1")
            packets += await eve.take_rtp(1)
            ticks = (trio.current_time() - began_s) * 48_000
            assert payloads(packets) == [b"a0", b"b0", b"b1", b"a1"]
            assert_continuous(packets)
            assert {packet.ssrc for packet in packets} == {eve.ssrc("0")}
            steps = [right.timestamp - left.timestamp for left, right in pairwise(packets)]
            assert steps[1] == 960
            assert all(step > 0 for step in steps)
            assert sum(steps) <= ticks + 960


async def test_late_packet_of_before_the_switch_is_not_sent():
    with trio.fail_after(20):
        async with (
            open_relay(LOOPBACK) as router,
            open_publisher(router, audio("0", "sendonly", ssrc=1)) as (ada, (track,)),
            open_peer(router) as bob,
        ):
            bob.offer(audio("0", "recvonly"))
            await bob.connect()
            ada.send_media("0", 100, 0, b"before")
            await wait_verdict(router, "rtp_accepted", 1)
            bob.relay_peer.attach("0", track)
            await commands_applied(router)
            ada.send_media("0", 102, 0, b"first")
            ada.send_media("0", 101, 0, b"too old")
            ada.send_media("0", 103, 0, b"second")
            packets = await bob.take_rtp(2)
            assert payloads(packets) == [b"first", b"second"]
            assert_continuous(packets)
            assert router.statistics().verdicts["route_too_old"] == 1


@both_configs
async def test_publisher_that_changes_its_ssrc_by_a_new_offer_goes_on(config):
    with trio.fail_after(20):
        async with (
            open_relay(config) as router,
            open_publisher(router, audio("0", "sendonly", ssrc=1)) as (ada, (track,)),
            open_subscriber(router, (audio("0", "recvonly"), track)) as bob,
        ):
            ada.send_media("0", 60_000, 0xF0000000, b"a0")
            ada.send_media("0", 60_001, 0xF0000000 + 960, b"a1")
            packets = await bob.take_rtp(2)
            result = ada.offer(audio("0", "sendonly", ssrc=2))
            assert result.published == {"0": track}
            assert not result.unpublished
            await commands_applied(router)
            began_s = trio.current_time()
            ada.send_media("0", 3, 500, b"b0")
            ada.send_media("0", 4, 500 + 960, b"b1")
            packets += await bob.take_rtp(2)
            assert payloads(packets) == [b"a0", b"a1", b"b0", b"b1"]
            assert_continuous(packets)
            step = packets[2].timestamp - packets[1].timestamp
            assert 0 < step <= (trio.current_time() - began_s + 1) * 48_000
            assert packets[3].timestamp - packets[2].timestamp == 960


@both_configs
async def test_ssrc_that_no_offer_named_is_found_by_its_mid(config):
    with trio.fail_after(20):
        async with (
            open_relay(config) as router,
            open_publisher(router, audio("0", "sendonly"), audio("1", "sendonly")) as (ada, (_, track)),
            open_subscriber(router, (audio("0", "recvonly"), track)) as bob,
        ):
            ada.send_media("1", 1, 0, b"who?", ssrc=99, extensions=((4, b"1"),))
            await wait_verdict(router, "rtp_unknown_stream", 1)
            await eventually(lambda: track.ssrcs)
            await commands_applied(router)
            assert track.ssrcs == {99}
            ada.send_media("1", 2, 960, b"1", ssrc=99, extensions=((4, b"1"),))
            ada.send_media("1", 3, 1920, b"2", ssrc=99)
            assert payloads(await bob.take_rtp(2)) == [b"1", b"2"]


async def test_ssrc_without_a_mid_belongs_to_the_only_track_of_its_kind():
    with trio.fail_after(20):
        async with (
            open_relay(LOOPBACK) as router,
            open_publisher(router, audio("0", "sendonly"), video("1", "sendonly")) as (ada, (sound, picture)),
            open_subscriber(router, (audio("0", "recvonly"), sound)) as bob,
        ):
            ada.send_media("0", 1, 0, b"who?", ssrc=99)
            await eventually(lambda: sound.ssrcs)
            await commands_applied(router)
            assert not picture.ssrcs
            ada.send_media("0", 2, 960, b"1", ssrc=99)
            assert payloads(await bob.take_rtp(1)) == [b"1"]


async def test_retransmission_stream_found_by_its_mid_is_not_taken_for_the_media():
    with trio.fail_after(20):
        section = video("0", "sendonly", payload_type=96, rtx_payload_type=97)
        async with (
            open_relay(LOOPBACK) as router,
            open_publisher(router, section) as (ada, (track,)),
            open_subscriber(router, (video("0", "recvonly"), track)) as bob,
        ):
            ada.send_media("0", 1, 0, KEYFRAME, ssrc=99, extensions=((4, b"0"),))
            await eventually(lambda: track.ssrcs)
            await commands_applied(router)
            ada.send_media("0", 2, 0, KEYFRAME, ssrc=99)
            ada.send_media("0", 4, 3000, DELTA, ssrc=99)
            number = 900
            repair = {"ssrc": 100, "payload_type": 97, "extensions": ((4, b"0"),)}

            def repaired() -> int:
                # At most one unknown stream is looked into in 20 ms.
                nonlocal number
                ada.send_media("0", number, 3000, b"\0\3" + DELTA + b"repair", **repair)
                number += 1
                return router.statistics().verdicts["rtp_retransmission_accepted"]

            await eventually(repaired)
            assert track.ssrcs == {99}
            ada.send_media("0", 5, 6000, DELTA, ssrc=99)
            packets = await bob.take_rtp(4)
            assert payloads(packets) == [KEYFRAME, DELTA, DELTA + b"repair", DELTA]


@both_configs
async def test_track_that_ends_and_begins_again_is_a_new_one(config):
    with trio.fail_after(20):
        section = audio("0", "sendonly", ssrc=1)
        async with (
            open_relay(config) as router,
            open_publisher(router, section) as (ada, (first,)),
            open_subscriber(router, (audio("0", "recvonly"), first)) as bob,
        ):
            ada.send_media("0", 1, 0, b"first")
            packets = await bob.take_rtp(1)
            result = ada.offer(replace(section, direction="inactive"))
            assert result.unpublished == (first,)
            assert first.closed
            assert bob.relay_peer.subscriptions == {"0": None}
            (second,) = ada.publish(section)
            assert second is not first
            bob.relay_peer.attach("0", second)
            await commands_applied(router)
            ada.send_media("0", 2, 960, b"second")
            packets += await bob.take_rtp(1)
            assert payloads(packets) == [b"first", b"second"]
            assert_continuous(packets)


async def test_codec_the_subscriber_does_not_know_is_withheld_without_a_gap():
    both = replace(video("0", "sendonly", ssrc=1), payload_types={"VP8": 96, "H264": 102})
    idr = b"\x65\x88"
    with trio.fail_after(20):
        async with (
            open_relay(LOOPBACK) as router,
            open_publisher(router, both) as (ada, (track,)),
            open_subscriber(router, (video("0", "recvonly", payload_type=120), track)) as bob,
            open_subscriber(router, (replace(both, mid="5", direction="recvonly", ssrc=None), track)) as eve,
        ):
            ada.send_media("0", 1, 0, KEYFRAME)
            ada.send_media("0", 2, 3000, idr, payload_type=102)
            ada.send_media("0", 3, 6000, KEYFRAME)
            packets = await bob.take_rtp(2)
            assert payloads(packets) == [KEYFRAME, KEYFRAME]
            assert_continuous(packets)
            packets = await eve.take_rtp(3)
            assert [packet.payload_type for packet in packets] == [96, 102, 96]
            assert router.statistics().verdicts["route_codec_unsupported"] == 1


async def test_one_peer_publishes_and_subscribes_on_one_section():
    with trio.fail_after(20):
        async with (
            open_relay(LOOPBACK) as router,
            open_publisher(router, audio("0", "sendrecv", ssrc=1)) as (ada, (adas,)),
            open_peer(router) as bob,
        ):
            section = audio("0", "sendrecv", ssrc=2)
            result = bob.offer(section, publish=["0"], subscribe={"0": adas})
            assert bob.answer.sections["0"].direction == "sendrecv"
            await bob.connect()
            ada.offer(audio("0", "sendrecv", ssrc=1), subscribe={"0": result.published["0"]})
            await commands_applied(router)
            ada.send_media("0", 1, 0, b"from ada")
            bob.send_media("0", 1, 0, b"from bob")
            assert payloads(await bob.take_rtp(1)) == [b"from ada"]
            assert payloads(await ada.take_rtp(1)) == [b"from bob"]


async def test_levels_follow_the_voice_and_fall_silent():
    with trio.fail_after(20):
        async with (
            open_relay(LOOPBACK) as router,
            open_publisher(router, audio("0", "sendonly", ssrc=1)) as (ada, (track,)),
        ):
            assert track.level_dbov == 127
            for index in range(40):
                ada.send_media("0", index, 960 * index, b"voice", extensions=((1, bytes([0x80 | 20])),))
            await wait_verdict(router, "rtp_accepted", 40)
            assert track.level_dbov == 20
            track.set_muted(True)
            assert track.level_dbov == 127
            statistics = track.statistics()
            assert statistics.packets_received == 40
            assert statistics.packets_lost == 0
