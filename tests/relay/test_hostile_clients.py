"""Clients that have keys and ill will: what they say inside of SRTP harms nobody else."""

import random
from dataclasses import replace

import pytest
import trio
from calls import Tally, open_call
from client_sdp import audio, video
from media_peer import (
    RTCP_SSRC,
    open_publisher,
    open_subscriber,
)
from pylibsrtp import Error as SrtpError
from rtcp_packets import (
    FullIntraRequest,
    Nack,
    PictureLoss,
    ReceiverReport,
    ReportBlock,
    SenderReport,
    encode_compound,
)
from waiting import wait_verdict

from media.ingress import MAX_STRANGERS
from relay import PeerState

pytestmark = pytest.mark.usefixtures("kernels")


def mutated(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        match rng.randrange(4):
            case 0 if changed:
                changed[rng.randrange(len(changed))] = rng.randrange(256)
            case 1 if changed:
                del changed[rng.randrange(len(changed)) :]
            case 2:
                changed += rng.randbytes(rng.randrange(20))
            case _:
                place = rng.randrange(len(changed) + 1)
                changed[place:place] = rng.randbytes(rng.randrange(1, 8))
    return bytes(changed)


async def test_malformed_rtcp_of_a_client_with_keys_does_no_harm():
    rng = random.Random(3)
    with trio.fail_after(30):
        async with (
            open_call() as call,
            open_publisher(call.router, video("0", "sendonly", ssrc=5)) as (joe, (track,)),
            open_subscriber(call.router, (video("0", "recvonly"), track)) as eve,
        ):
            for number in range(10):
                joe.send_media("0", number, 3000 * number, b"\x10\x00\x9d\x01\x2a")
            numbers = tuple(packet.sequence_number for packet in await eve.take_rtp(10))
            ssrc = eve.ssrc("0")
            blocks = tuple(
                ReportBlock(one, 255, -1, 2**32 - 1, 2**32 - 1, 1, 2**32 - 1) for one in (ssrc, 0, 5)
            )
            genuine = [
                encode_compound(ReceiverReport(RTCP_SSRC, blocks)),
                encode_compound(SenderReport(5, 2**64 - 1, 2**32 - 1, 0, 0, blocks * 10)),
                encode_compound(Nack(RTCP_SSRC, ssrc, numbers), PictureLoss(RTCP_SSRC, ssrc)),
                encode_compound(FullIntraRequest(RTCP_SSRC, ssrc), Nack(RTCP_SSRC, call.bob.ssrc("0"), (1,))),
            ]
            eve.lose_rtp(10_000)  # what it asks for comes again; that is not the point
            tally = Tally(call.router)
            for _ in range(1500):
                plain = mutated(rng, rng.choice(genuine))
                if rng.randrange(4) == 0:
                    plain = rng.randbytes(rng.randrange(8, 300))
                # To be taken for RTCP at all, and from a sender that is known.
                plain = plain.ljust(8, b"\0")
                kind = plain[1] if 192 <= plain[1] < 224 else rng.randrange(200, 208)
                plain = bytes([plain[0] & 0x3F | 0x80, kind]) + plain[2:4] + RTCP_SSRC.to_bytes(4) + plain[8:]
                await tally.send(eve, [eve._outward.protect_rtcp(plain)])
            verdicts = await tally.wait()
            assert set(verdicts) == {"rtcp_accepted", "rtcp_malformed"}
            assert min(verdicts.values()) > 100
            assert eve.relay_peer.state is PeerState.CONNECTED


async def test_garbage_in_header_extensions_of_a_client_with_keys_does_not_reach_others_malformed():
    rng = random.Random(5)
    with trio.fail_after(30):
        async with (
            open_call() as call,
            open_publisher(call.router, audio("0", "sendonly", ssrc=5)) as (eve, (track,)),
            open_subscriber(call.router, (audio("0", "recvonly", level_id=7), track)) as joe,
        ):
            tally = Tally(call.router)
            for number in range(1500):
                plain = eve.media_packet("0", number, number, rng.randbytes(rng.randrange(40))).encode()
                profile = rng.choice([0xBEDE, 0x1000, 0x100F, rng.randrange(65_536)])
                block = rng.randbytes(4 * rng.randrange(12))
                words = len(block) // 4 if rng.randrange(8) else rng.randrange(20)
                csrcs = rng.choice([0, 0, 0, rng.randrange(16)])
                first = 0x90 | (0x20 if rng.randrange(4) == 0 else 0) | csrcs
                header = bytes([first]) + plain[1:12] + rng.randbytes(4 * csrcs)
                extension = profile.to_bytes(2) + words.to_bytes(2) + block
                try:
                    datagram = eve.protect_rtp(header + extension + plain[12:])
                except SrtpError:
                    continue  # our own libsrtp sees that it does not fit
                await tally.send(eve, [datagram])
            verdicts = await tally.wait()
            assert set(verdicts) <= {"rtp_accepted", "rtp_malformed"}
            assert verdicts["rtp_accepted"] > 500
            # Whatever came through is well-formed: decoding asserts that.
            packets = await joe.take_rtp(verdicts["rtp_accepted"])
            assert {identifier for packet in packets for identifier, _ in packet.extensions} <= {7}


async def test_unknown_payload_types_and_streams_are_counted():
    with trio.fail_after(30):
        async with open_call() as call:
            tally = Tally(call.router)
            packet = call.ada.media_packet("0", 300, 0, b"x")
            await tally.send(call.ada, [call.ada.protect_rtp(replace(packet, payload_type=77))])
            await tally.send(call.ada, [call.ada.protect_rtp(replace(packet, ssrc=99))])
            assert await tally.wait() == {"rtp_unknown_payload_type": 1, "rtp_unknown_stream": 1}


async def test_client_that_makes_up_ssrcs_costs_neither_memory_nor_time():
    with trio.fail_after(60):
        async with (
            open_call() as call,
            open_publisher(call.router, audio("0", "sendonly", ssrc=5)) as (eve, _),
        ):
            count = MAX_STRANGERS + 500
            tally = Tally(call.router)
            packet = eve.media_packet("0", 1, 1)
            await tally.send(
                eve, [eve.protect_rtp(replace(packet, ssrc=ssrc)) for ssrc in range(1000, 1000 + count)]
            )
            assert await tally.wait() == {"rtp_unknown_stream": count}
            (row,) = [eve.relay_peer.row.index]
            peers = call.router.workers[0].memory.peers
            assert peers["strangers"][row] == MAX_STRANGERS
            await tally.send(
                eve,
                [
                    eve._outward.protect_rtcp(ReceiverReport(ssrc).encode())
                    for ssrc in range(100_000, 100_000 + 10)
                ],
            )
            assert (await tally.wait())["rtcp_too_many_senders"] == 10
            # What the offer named is not concerned.
            eve.send_media("0", 1, 1)
            eve.send_rtcp(SenderReport(5, 1, 1))
            await wait_verdict(call.router, "rtcp_accepted", 1)
            assert peers["strangers"][row] == MAX_STRANGERS
