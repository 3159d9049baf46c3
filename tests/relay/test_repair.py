"""Repair of losses, between the relay and its subscribers and between publishers and the relay; keyframe requests."""

from dataclasses import replace

import pytest
import trio
from client_sdp import Section, audio, video
from media_peer import (
    LOOPBACK,
    RTCP_SSRC,
    TWO_WORKERS,
    MediaPeer,
    open_publisher,
    open_subscriber,
)
from rtcp_packets import FullIntraRequest, Nack, PictureLoss
from rtp_packets import DELTA, KEYFRAME
from waiting import commands_applied, eventually, wait_verdict

from media.missing import MAX_ATTEMPTS
from media.tables import HISTORY_SPAN, MISSING_SPAN
from media.worker import RETRANSMISSIONS_PER_SECOND
from relay import Capacity, RelayConfig, open_relay

pytestmark = pytest.mark.usefixtures("kernels")

both_configs = pytest.mark.parametrize("config", [LOOPBACK, TWO_WORKERS], ids=["one_worker", "two_workers"])

PUBLISHED = video("0", "sendonly", payload_type=96, rtx_payload_type=97, ssrc=10, rtx_ssrc=11)
REPAIRED = video("0", "recvonly", payload_type=100, rtx_payload_type=101)
UNREPAIRED = video("0", "recvonly", payload_type=100)


def send_picture(ada: MediaPeer, count: int, *, first: int = 65_534) -> list[bytes]:
    """A keyframe and what follows it."""
    payloads = [(DELTA if index else KEYFRAME) + b"%d" % index for index in range(count)]
    for index, payload in enumerate(payloads):
        ada.send_media("0", first + index, 3000 * index, payload)
    return payloads


def nack(ssrc: int, *sequence_numbers: int) -> Nack:
    return Nack(RTCP_SSRC, ssrc, tuple(number & 0xFFFF for number in sequence_numbers))


# Towards subscribers.


@both_configs
async def test_lost_packet_is_sent_again_as_rtx(config):
    with trio.fail_after(6):
        async with (
            open_relay(config) as router,
            open_publisher(router, PUBLISHED) as (ada, (track,)),
            open_subscriber(router, (REPAIRED, track)) as bob,
        ):
            sent = send_picture(ada, 6)
            packets = await bob.take_rtp(6)
            bob.send_rtcp(nack(bob.ssrc("0"), packets[4].sequence_number, packets[1].sequence_number))
            repairs = await bob.take_rtp(2)
            for repair, original, payload in zip(
                repairs, (packets[4], packets[1]), (sent[4], sent[1]), strict=True
            ):
                assert repair == replace(
                    original,
                    ssrc=bob.answer.sections["0"].rtx_ssrc,
                    payload_type=101,
                    sequence_number=repair.sequence_number,
                    payload=original.sequence_number.to_bytes(2) + payload,
                )
            assert repairs[1].sequence_number == (repairs[0].sequence_number + 1) & 0xFFFF
            assert router.statistics().verdicts["nack_answered"] == 2


@both_configs
async def test_lost_packet_is_sent_again_byte_for_byte_when_rtx_was_not_negotiated(config):
    with trio.fail_after(6):
        async with (
            open_relay(config) as router,
            open_publisher(router, PUBLISHED) as (ada, (track,)),
            open_subscriber(router, (UNREPAIRED, track)) as bob,
        ):
            assert bob.answer.sections["0"].rtx_ssrc is None
            bob.lose_rtp(3)
            sent = send_picture(ada, 5)
            packets = await bob.take_rtp(2)
            lost = packets[0].sequence_number - 2
            bob.send_rtcp(nack(bob.ssrc("0"), lost))
            (repair,) = await bob.take_rtp(1)
            assert bob.wire[-1] == bob.lost[1]
            assert repair.payload == sent[1]
            assert repair.sequence_number == lost & 0xFFFF


async def test_nack_before_the_first_packet_of_the_future_and_of_audio_is_in_vain():
    with trio.fail_after(6):
        async with (
            open_relay(LOOPBACK) as router,
            open_publisher(router, PUBLISHED, audio("1", "sendonly", ssrc=20)) as (ada, (picture, sound)),
            open_subscriber(router, (REPAIRED, picture), (audio("1", "recvonly"), sound)) as bob,
        ):
            bob.send_rtcp(nack(bob.ssrc("0"), 5))
            await wait_verdict(router, "nack_missed", 1)
            send_picture(ada, 3)
            last = (await bob.take_rtp(3))[-1].sequence_number
            bob.send_rtcp(nack(bob.ssrc("0"), last + 1, last - 3))
            await wait_verdict(router, "nack_missed", 3)
            ada.send_media("1", 1, 0, b"sound")
            (heard,) = await bob.take_rtp(1)
            bob.send_rtcp(nack(bob.ssrc("1"), heard.sequence_number))
            await wait_verdict(router, "nack_missed", 4)
            assert router.statistics().verdicts["nack_answered"] == 0


@pytest.mark.parametrize(
    ("capacity", "depth"), [(Capacity(), HISTORY_SPAN), (Capacity(history=16), 16)], ids=["span", "pool"]
)
async def test_history_reaches_as_far_back_as_it_says(capacity, depth):
    with trio.fail_after(6):
        async with (
            open_relay(replace(LOOPBACK, capacity=capacity)) as router,
            open_publisher(router, PUBLISHED) as (ada, (track,)),
            open_subscriber(router, (REPAIRED, track)) as bob,
        ):
            sent = send_picture(ada, depth + 1)
            packets = await bob.take_rtp(depth + 1)
            bob.send_rtcp(nack(bob.ssrc("0"), packets[0].sequence_number))
            await wait_verdict(router, "nack_missed", 1)
            bob.send_rtcp(nack(bob.ssrc("0"), packets[1].sequence_number))
            (repair,) = await bob.take_rtp(1)
            assert repair.payload[2:] == sent[1]


async def test_nacks_cost_no_more_than_the_budget_and_only_that_of_who_sends_them():
    with trio.fail_after(6):
        async with (
            open_relay(LOOPBACK) as router,
            open_publisher(router, PUBLISHED) as (ada, (track,)),
            open_subscriber(router, (REPAIRED, track)) as bob,
            open_subscriber(router, (REPAIRED, track)) as eve,
        ):
            send_picture(ada, 3)
            numbers = [packet.sequence_number for packet in await eve.take_rtp(3)]
            for _ in range(2 * RETRANSMISSIONS_PER_SECOND // 150 + 1):
                eve.send_rtcp(nack(eve.ssrc("0"), *numbers * 50))
            await wait_verdict(router, "nack_throttled", RETRANSMISSIONS_PER_SECOND // 2)
            # A second may have begun meanwhile, but not two.
            assert router.statistics().verdicts["nack_answered"] <= 2 * RETRANSMISSIONS_PER_SECOND
            (missing,) = [packet.sequence_number for packet in (await bob.take_rtp(3))[1:2]]
            bob.send_rtcp(nack(bob.ssrc("0"), missing))
            (repair,) = await bob.take_rtp(1)
            assert repair.payload[:2] == missing.to_bytes(2)


@both_configs
async def test_feedback_about_what_a_peer_is_not_sent_is_counted_and_changes_nothing(config):
    with trio.fail_after(6):
        async with (
            open_relay(config) as router,
            open_publisher(router, PUBLISHED) as (ada, (track,)),
            open_subscriber(router, (REPAIRED, track)) as bob,
            open_subscriber(router, (REPAIRED, track)) as eve,
        ):
            send_picture(ada, 2)
            (packet, _) = await bob.take_rtp(2)
            foreign = [bob.ssrc("0"), PUBLISHED.ssrc, 0, 0xFFFFFFFF, eve.ssrc("0") ^ 1 << 31]
            requests = router.statistics().verdicts["keyframe_requested"]
            for ssrc in foreign:
                eve.send_rtcp(nack(ssrc, packet.sequence_number))
                eve.send_rtcp(PictureLoss(RTCP_SSRC, ssrc), FullIntraRequest(RTCP_SSRC, ssrc))
            await wait_verdict(router, "unknown_feedback_target", 3 * len(foreign))
            verdicts = router.statistics().verdicts
            assert verdicts["nack_answered"] == 0
            assert verdicts["keyframe_requested"] == requests


async def test_nack_of_a_packet_of_before_the_switch_does_not_get_one_of_the_new_source():
    with trio.fail_after(6):
        async with (
            open_relay(replace(LOOPBACK, keyframe_interval_ms=1)) as router,
            open_publisher(router, PUBLISHED) as (ada, (adas,)),
            open_publisher(router, PUBLISHED) as (eve, (eves,)),
            open_subscriber(router, (REPAIRED, adas)) as bob,
        ):
            send_picture(ada, 3, first=100)
            send_picture(eve, 3, first=100)
            before = await bob.take_rtp(3)
            await wait_verdict(router, "rtp_accepted", 6)
            bob.relay_peer.attach("0", eves)
            await commands_applied(router)
            eve.send_media("0", 103, 9000, KEYFRAME)
            (after,) = await bob.take_rtp(1)
            bob.send_rtcp(nack(bob.ssrc("0"), *(packet.sequence_number for packet in before)))
            await wait_verdict(router, "nack_missed", 3)
            bob.send_rtcp(nack(bob.ssrc("0"), after.sequence_number))
            (repair,) = await bob.take_rtp(1)
            assert repair.payload[2:] == KEYFRAME


# Between publishers and the relay.


@both_configs
async def test_gap_of_the_publisher_is_asked_for_and_closed_by_rtx(config):
    with trio.fail_after(6):
        async with (
            open_relay(config) as router,
            open_publisher(router, PUBLISHED) as (ada, (track,)),
            open_subscriber(router, (UNREPAIRED, track)) as bob,
        ):
            ada.send_media("0", 65_534, 0, KEYFRAME)
            ada.send_media("0", 1, 9000, DELTA + b"3")
            asked = await ada.take_rtcp(Nack)
            assert asked == Nack(asked.sender, 10, (65_535, 0))
            for number, payload in ((65_535, b"1"), (0, b"2"), (0, b"2")):
                rtx = {"payload_type": 97, "ssrc": 11, "marker": True}
                ada.send_media("0", 500 + len(bob.lost), 3000, number.to_bytes(2) + DELTA + payload, **rtx)
                bob.lost.append(b"")
            ada.send_media("0", 2, 12_000, DELTA + b"4")
            packets = await bob.take_rtp(5)
            assert [packet.payload[2:] for packet in packets] == [KEYFRAME[2:], b"3", b"1", b"2", b"4"]
            first = packets[0].sequence_number
            assert [(packet.sequence_number - first) & 0xFFFF for packet in packets] == [0, 3, 1, 2, 4]
            assert packets[2].timestamp - packets[0].timestamp == 3000
            assert packets[2].marker
            assert router.statistics().verdicts["rtp_retransmission_accepted"] == 3


async def test_gap_is_closed_by_the_packet_itself_when_it_was_only_late():
    with trio.fail_after(6):
        async with (
            open_relay(LOOPBACK) as router,
            open_publisher(router, PUBLISHED) as (ada, (track,)),
            open_subscriber(router, (REPAIRED, track)) as bob,
        ):
            ada.send_media("0", 1, 0, KEYFRAME)
            late = ada.protect_rtp(ada.media_packet("0", 2, 3000, DELTA + b"late"))
            ada.send_media("0", 3, 6000, DELTA)
            assert (await ada.take_rtcp(Nack)).sequence_numbers == (2,)
            ada.send_datagram(late)
            # The answer to the NACK comes all the same, and too late.
            ada.send_media("0", 7, 3000, b"\0\2" + DELTA + b"late", payload_type=97, ssrc=11)
            ada.send_media("0", 4, 9000, DELTA)
            packets = await bob.take_rtp(4)
            first = packets[0].sequence_number
            assert [(packet.sequence_number - first) & 0xFFFF for packet in packets] == [0, 2, 1, 3]


async def test_gap_that_stays_open_is_asked_for_a_few_times_only():
    with trio.fail_after(6):
        async with (
            open_relay(LOOPBACK) as router,
            open_publisher(router, PUBLISHED) as (ada, (track,)),
            open_subscriber(router, (REPAIRED, track)),
        ):
            ada.send_media("0", 1, 0, KEYFRAME)
            ada.send_media("0", 3, 6000, DELTA)
            for _ in range(MAX_ATTEMPTS):
                assert (await ada.take_rtcp(Nack)).sequence_numbers == (2,)
            memory = router.workers[0].memory
            await eventually(lambda: not memory.inbound["missing_count"].any())
            assert router.statistics().verdicts["retransmission_requested"] == MAX_ATTEMPTS
            ada.send_media("0", 5, 9000, DELTA)
            assert (await ada.take_rtcp(Nack)).sequence_numbers == (4,)


async def test_gap_too_wide_to_close_is_left_to_a_keyframe():
    with trio.fail_after(6):
        async with (
            open_relay(replace(LOOPBACK, keyframe_interval_ms=1)) as router,
            open_publisher(router, PUBLISHED) as (ada, (track,)),
            open_subscriber(router, (REPAIRED, track)) as bob,
        ):
            ada.send_media("0", 1, 0, KEYFRAME)
            await bob.take_rtp(1)
            ada.rtcp.clear()
            ada.send_media("0", 1 + MISSING_SPAN + 2, 3000, DELTA)
            assert (await ada.take_rtcp(PictureLoss)).media == 10
            assert router.statistics().verdicts["retransmission_requested"] == 0


async def test_rtx_that_repairs_nothing_is_not_forwarded():
    with trio.fail_after(6):
        async with (
            open_relay(LOOPBACK) as router,
            open_publisher(router, PUBLISHED) as (ada, (track,)),
            open_subscriber(router, (REPAIRED, track)) as bob,
        ):
            ada.send_media("0", 1, 0, KEYFRAME)
            rtx = {"payload_type": 97, "ssrc": 11}
            ada.send_media("0", 1, 0, b"", padding=200, **rtx)
            ada.send_media("0", 2, 0, b"\0", **rtx)
            ada.send_media("0", 3, 0, b"\0\1" + KEYFRAME, **rtx)
            ada.send_media("0", 4, 0, b"\0\xff" + KEYFRAME, **rtx)
            ada.send_media("0", 5, 0, b"\0\2" + KEYFRAME, payload_type=96, ssrc=11)
            ada.send_media("0", 6, 0, b"\0\2" + KEYFRAME, payload_type=97, ssrc=10)
            ada.send_media("0", 2, 3000, DELTA)
            packets = await bob.take_rtp(2)
            assert [packet.payload for packet in packets] == [KEYFRAME, DELTA]
            await commands_applied(router)
            assert not bob.rtp


# Keyframes.


def wish(ssrc: int, *, full: bool) -> PictureLoss | FullIntraRequest:
    return FullIntraRequest(RTCP_SSRC, ssrc) if full else PictureLoss(RTCP_SSRC, ssrc)


@both_configs
async def test_wishes_for_a_keyframe_are_merged_and_throttled_and_the_last_is_not_forgotten(config):
    interval_s = 0.2
    with trio.fail_after(6):
        async with (
            open_relay(replace(config, keyframe_interval_ms=200)) as router,
            open_publisher(router, PUBLISHED) as (ada, (track,)),
            open_subscriber(router, (REPAIRED, track)) as bob,
            open_subscriber(router, (REPAIRED, track)) as eve,
        ):
            for _ in range(4):
                for listener, full in ((bob, False), (eve, True), (bob, True), (eve, False)):
                    listener.send_rtcp(wish(listener.ssrc("0"), full=full))
                assert (await ada.take_rtcp(PictureLoss)).media == 10
            times_s = [time_s for time_s, packet in ada.rtcp_arrivals if isinstance(packet, PictureLoss)]
            # In ticks of 10 ms. A busy machine may see one late, and then the next one early.
            assert times_s[-1] - times_s[0] > (len(times_s) - 1) * interval_s - 0.05
            assert times_s[-1] - times_s[0] < (len(times_s) - 1) * interval_s + 1


async def test_keyframe_that_comes_by_itself_grants_the_wish():
    with trio.fail_after(6):
        async with (
            open_relay(replace(LOOPBACK, keyframe_interval_ms=100)) as router,
            open_publisher(router, PUBLISHED) as (ada, (track,)),
            open_subscriber(router, (REPAIRED, track)) as bob,
        ):
            await ada.take_rtcp(PictureLoss)
            bob.send_rtcp(wish(bob.ssrc("0"), full=False))
            await wait_verdict(router, "keyframe_requested", 2)
            ada.send_media("0", 1, 0, KEYFRAME)
            await bob.take_rtp(1)
            asked = router.statistics().verdicts["keyframe_forwarded"]
            inbound = router.workers[0].memory.inbound
            assert not inbound["keyframe_wanted"].any()
            assert asked == 1


async def test_wish_for_a_keyframe_of_audio_is_not_passed_on():
    with trio.fail_after(6):
        async with (
            open_relay(replace(LOOPBACK, keyframe_interval_ms=1)) as router,
            open_publisher(router, audio("0", "sendonly", ssrc=7)) as (ada, (track,)),
            open_subscriber(router, (audio("0", "recvonly"), track)) as bob,
        ):
            ada.send_media("0", 1, 0, b"sound")
            await bob.take_rtp(1)
            bob.send_rtcp(wish(bob.ssrc("0"), full=False), wish(bob.ssrc("0"), full=True))
            await wait_verdict(router, "rtcp_accepted", 1)
            assert router.statistics().verdicts["keyframe_forwarded"] == 0


# Renegotiation.


async def test_repair_stream_follows_the_stream_it_repairs_to_a_new_ssrc():
    capacity = Capacity(peers=8, tracks=8, inbound=4, outbound=8)
    config = RelayConfig(host="127.0.0.1", workers=1, capacity=capacity, keyframe_interval_ms=1)
    with trio.fail_after(6):
        async with (
            open_relay(config) as router,
            open_publisher(router, PUBLISHED) as (ada, (track,)),
            open_publisher(router, replace(PUBLISHED, ssrc=50, rtx_ssrc=51)) as (bob, (bobs,)),
            open_subscriber(router, (UNREPAIRED, bobs)) as eve,
            open_subscriber(router, (UNREPAIRED, track)) as joe,
        ):
            await _test_repairs_stay_with_their_own(router, ada, bob, eve, joe)


async def _test_repairs_stay_with_their_own(
    router, ada: MediaPeer, bob: MediaPeer, eve: MediaPeer, joe: MediaPeer
):
    rtx = {"payload_type": 97, "ssrc": 11}
    bob_goes: Section = replace(PUBLISHED, ssrc=50, rtx_ssrc=51, direction="inactive")
    bob.offer(bob_goes)
    await commands_applied(router)
    ada.offer(replace(PUBLISHED, ssrc=12))
    await commands_applied(router)
    # The row of Ada's first stream is free, and the next one to open gets it sooner or later.
    (bobs,) = bob.publish(replace(PUBLISHED, ssrc=50, rtx_ssrc=51))
    eve.relay_peer.attach("0", bobs)
    await commands_applied(router)
    bob.send_media("0", 1, 0, KEYFRAME)
    bob.send_media("0", 3, 3000, DELTA)
    assert (await bob.take_rtcp(Nack)).sequence_numbers == (2,)
    ada.send_media("0", 1, 0, KEYFRAME, ssrc=12)
    ada.send_media("0", 3, 3000, DELTA, ssrc=12)
    assert (await ada.take_rtcp(Nack)).sequence_numbers == (2,)
    ada.send_media("0", 7, 3000, b"\0\2" + DELTA + b"of ada", **rtx)
    packets = await joe.take_rtp(3)
    assert packets[-1].payload == DELTA + b"of ada"
    bob.send_media("0", 4, 6000, DELTA + b"end")
    packets = await eve.take_rtp(3)
    assert [packet.payload for packet in packets] == [KEYFRAME, DELTA, DELTA + b"end"]
