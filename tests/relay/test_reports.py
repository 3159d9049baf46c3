"""Sender and receiver reports, made for each hop (RFC 3550 section 6.4)."""

from itertools import pairwise
from time import time

import pytest
import trio
from client_sdp import audio, video
from media_peer import LOOPBACK, RTCP_SSRC, TWO_WORKERS, MediaPeer, open_publisher, open_subscriber
from rtcp_packets import ReceiverReport, ReportBlock, SenderReport, SourceDescription
from rtp_packets import KEYFRAME
from waiting import eventually

from media.thread_loop import NTP_EPOCH_S
from relay import open_relay

pytestmark = pytest.mark.usefixtures("kernels")

both_configs = pytest.mark.parametrize("config", [LOOPBACK, TWO_WORKERS], ids=["one_worker", "two_workers"])

SECOND = 1 << 32
"""Of NTP's 32.32 fixed point."""


def block_reaches(highest_sequence: int):
    """A condition: the report has a block about a stream that has come so far, wraps included."""
    return lambda report: any(block.highest_sequence == highest_sequence for block in report.blocks)


async def test_publisher_learns_how_its_stream_arrives():
    with trio.fail_after(20):
        async with (
            open_relay(LOOPBACK) as router,
            open_publisher(router, audio("0", "sendonly", ssrc=7), video("1", "sendonly", ssrc=8)) as (
                ada,
                _,
            ),
        ):
            # The sender's clock runs 100 ms between packets that are sent at once: all of it is jitter.
            step, first, last = 4800, 65_500, 65_536 + 63
            middle = 0x12345678
            ada.send_rtcp(SenderReport(7, 0xAAAA << 48 | middle << 16 | 0xBBBB, 0))
            sent_s = trio.current_time()
            ada.send_media("0", first, 0, b"sound")
            # The next report will be a second later, when all the others have arrived.
            await ada.take_rtcp(ReceiverReport, block_reaches(first))
            numbers = [number for number in range(first + 1, last + 1) if number % 10]
            wire = [
                ada.protect_rtp(ada.media_packet("0", number, step * (number - first))) for number in numbers
            ]
            for datagram in wire:
                ada.send_datagram(datagram)
            report = await ada.take_rtcp(ReceiverReport, block_reaches(last))
            arrived_s = trio.current_time()
            (block,) = report.blocks  # nothing is said of the stream that has not begun
            lost = last - first - len(numbers)
            assert block.ssrc == 7
            assert block.cumulative_lost == lost
            assert block.fraction_lost == 256 * lost // (last - first)
            # J += (|D| - J) / 16, and D is the missing time of each step (A.8), but for the first, which waited.
            jitter = 48_000 / 16
            for sooner, later in pairwise(numbers):
                jitter += (step * (later - sooner) - jitter) / 16
            assert block.jitter == pytest.approx(jitter, rel=0.1)
            assert block.last_report == middle
            assert 0 <= block.delay / 65_536 <= arrived_s - sent_s + 0.001

            ada.send_media("0", 64, step * 64, b"sound")
            again = await ada.take_rtcp(ReceiverReport, block_reaches(last + 1))
            assert again.blocks[0].fraction_lost == 0  # since the last report
            assert again.blocks[0].cumulative_lost == lost
            assert again.blocks[0].delay > block.delay


@both_configs
async def test_subscriber_is_told_one_clock_for_all_streams_of_a_publisher(config):
    with trio.fail_after(20):
        async with (
            open_relay(config) as router,
            open_publisher(router, audio("0", "sendonly", ssrc=7), video("1", "sendonly", ssrc=8)) as (
                ada,
                tracks,
            ),
            open_subscriber(
                router, (audio("a", "recvonly"), tracks[0]), (video("v", "recvonly"), tracks[1])
            ) as bob,
        ):
            # The publisher's wall clock is decades off. At its time T both streams read these timestamps.
            its_time, sound_at, picture_at = 5 * SECOND, 0xFFFFFF00, 1_000_000
            offsets, cnames, lines = {}, {}, {}
            ada.send_media("0", 10, sound_at - 4800, b"sound")
            ada.send_media("1", 10, picture_at - 9000, KEYFRAME)
            for packet in await bob.take_rtp(2):
                source = sound_at - 4800 if packet.payload == b"sound" else picture_at - 9000
                offsets[packet.ssrc] = packet.timestamp - source
            ada.send_rtcp(SenderReport(7, its_time, sound_at), SenderReport(8, its_time, picture_at))
            reported_s = time()
            for mid, rate, at in (("a", 48_000, sound_at), ("v", 90_000, picture_at)):
                ssrc = bob.ssrc(mid)
                report = await bob.take_rtcp(SenderReport, lambda one, ssrc=ssrc: one.ssrc == ssrc)
                bob.rtcp = [packet for _, packet in bob.rtcp_arrivals]
                ticks = (report.timestamp - offsets[ssrc] - at + 0x80000000) % SECOND - 0x80000000
                # When, by the relay's clock, did the publisher say T?
                lines[mid] = report.ntp / SECOND - ticks / rate
                assert ticks >= 0
                assert report.packets == 1
                assert report.octets == len(b"sound" if mid == "a" else KEYFRAME)
                description = await bob.take_rtcp(SourceDescription, lambda one, ssrc=ssrc: one.ssrc == ssrc)
                cnames[mid] = description.cname
                bob.rtcp = [packet for _, packet in bob.rtcp_arrivals]
            assert lines["a"] == pytest.approx(lines["v"], abs=0.001)
            assert lines["a"] - NTP_EPOCH_S == pytest.approx(reported_s, abs=0.5)
            assert set(cnames.values()) == {ada.relay_peer.id} == {bob.answer.sections["a"].cname}


async def test_nothing_is_told_of_a_clock_that_is_not_known():
    with trio.fail_after(20):
        async with (
            open_relay(LOOPBACK) as router,
            open_publisher(router, audio("0", "sendonly", ssrc=7)) as (ada, (track,)),
            open_subscriber(router, (audio("0", "recvonly"), track)) as bob,
        ):
            ada.send_media("0", 1, 0, b"sound")
            await bob.take_rtp(1)
            await two_reports(ada)
            assert not any(isinstance(packet, SenderReport) for packet in bob.rtcp)


async def two_reports(peer: MediaPeer) -> None:
    """Reports to all peers go out within the same second."""
    for _ in range(2):
        await peer.take_rtcp(ReceiverReport)


async def test_clock_of_the_former_source_is_not_told_of_the_next():
    with trio.fail_after(20):
        async with (
            open_relay(LOOPBACK) as router,
            open_publisher(router, audio("0", "sendonly", ssrc=7)) as (ada, (adas,)),
            open_publisher(router, audio("0", "sendonly", ssrc=7)) as (eve, (eves,)),
            open_subscriber(router, (audio("0", "recvonly"), adas)) as bob,
        ):
            ada.send_media("0", 1, 0, b"sound")
            ada.send_rtcp(SenderReport(7, SECOND, 0))
            await bob.take_rtcp(SenderReport)
            bob.relay_peer.attach("0", eves)
            eve.send_media("0", 1, 0x77777777, b"sound")
            await bob.take_rtp(2)
            bob.rtcp.clear()
            await two_reports(eve)
            assert not any(isinstance(packet, SenderReport) for packet in bob.rtcp)
            eve.send_rtcp(SenderReport(7, 9 * SECOND, 0x77777777))
            assert (await bob.take_rtcp(SenderReport)).packets == 2


async def test_round_trip_is_found_from_what_the_subscriber_echoes():
    with trio.fail_after(20):
        async with (
            open_relay(LOOPBACK) as router,
            open_publisher(router, audio("0", "sendonly", ssrc=7)) as (ada, (track,)),
            open_subscriber(router, (audio("0", "recvonly"), track)) as bob,
        ):
            ada.send_media("0", 1, 0, b"sound")
            ada.send_rtcp(SenderReport(7, SECOND, 0))
            report = await bob.take_rtcp(SenderReport)
            middle = report.ntp >> 16 & 0xFFFFFFFF
            block = ReportBlock(bob.ssrc("0"), fraction_lost=50, last_report=middle, delay=0)
            strangers = [ReportBlock(ssrc, fraction_lost=99) for ssrc in (0, 7, bob.ssrc("0") ^ 1 << 20)]
            bob.send_rtcp(ReceiverReport(RTCP_SSRC, (*strangers, block)))
            outbound = router.workers[0].memory.outbound
            row = bob.ssrc("0") & 0xFFFF
            await eventually(lambda: outbound["fraction_lost"][row] == 50)
            assert 0 < outbound["round_trip_ns"][row] < 1_000_000_000
            assert set(outbound["fraction_lost"]) == {0, 50}
