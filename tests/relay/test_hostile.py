"""Bytes from strangers and forgers: each datagram gets its verdict, and calls of others go on."""

import random
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
import trio
from calls import Stranger, Tally, checks, open_call
from client_sdp import audio
from media_peer import (
    CM,
    GCM,
    LOOPBACK,
    open_peer,
    open_publisher,
)
from rtcp_packets import (
    SenderReport,
    encode_compound,
)
from waiting import commands_applied

from bench.ice_client import IceClient
from media.operations import Operation
from media.state import Capacity
from media.tables import NONE, RECEIVE_BYTES

pytestmark = pytest.mark.usefixtures("kernels")


def noise(seed: int):
    """Datagrams of all sizes, with every first byte, some of them shaped like what they seem to be."""
    rng = random.Random(seed)
    yield from (b"", b"\x80", b"\x00", b"\x16")
    for size in (
        2,
        3,
        11,
        12,
        20,
        27,
        28,
        RECEIVE_BYTES - 1,
        RECEIVE_BYTES,
        RECEIVE_BYTES + 1,
        9_000,
        65_507,
    ):
        for first in (0x00, 0x01, 0x05, 0x16, 0x40, 0x50, 0x80, 0x90, 0xB3, 0xFF):
            yield bytes([first]) + rng.randbytes(size - 1)
    for first in range(256):
        yield bytes([first, rng.randrange(192, 224)]) + rng.randbytes(rng.randrange(120))
        yield bytes([first, rng.randrange(256)]) + rng.randbytes(rng.randrange(1_400))
    for _ in range(100):
        # STUN by its length and cookie, DTLS by its version and length.
        body = rng.randbytes(4 * rng.randrange(30))
        yield b"\x00\x01" + len(body).to_bytes(2) + b"\x21\x12\xa4\x42" + rng.randbytes(12) + body
        yield bytes([rng.randrange(20, 64)]) + b"\xfe\xfd" + rng.randbytes(8) + len(body).to_bytes(2) + body


def expected_verdicts(data: bytes, *, known: bool) -> set[str]:
    """RFC 7983, and what SRTP without the key can come to."""
    if len(data) < 2:
        return {"empty"}
    if len(data) > RECEIVE_BYTES:
        return {"truncated"}
    if data[0] < 4:
        return {"stun_malformed", "stun_punted", "punt_throttled"}
    if 20 <= data[0] < 64:
        return {"dtls_punted", "punt_throttled"} if known else {"unknown_source"}
    if not 128 <= data[0] < 192:
        return {"unclassified"}
    if not known:
        return {"unknown_source"}
    if 192 <= data[1] < 224:
        return {"rtcp_authentication_failed"}
    return {"rtp_malformed", "rtp_authentication_failed"}


@pytest.mark.parametrize("known", [False, True], ids=["stranger", "client"])
async def test_noise_of_every_kind_and_size_is_told_apart_and_dropped(known):
    with trio.fail_after(30):
        async with open_call() as call:
            with Stranger(call.router) as stranger:
                sender = call.ada if known else stranger
                for datagram in noise(7):
                    tally = Tally(call.router)
                    await tally.send(sender, [datagram])
                    (verdict,) = await tally.wait()
                    assert verdict in expected_verdicts(datagram, known=known), datagram
            assert call.router.statistics().peers == 2


@pytest.mark.parametrize("known", [False, True], ids=["stranger", "client"])
async def test_truncated_and_damaged_checks_bind_nothing(known):
    with trio.fail_after(30):
        async with open_call() as call:
            bound = call.router.workers[0].memory.peers["bound"].copy()
            (forged,) = checks([call.ada.answer.ice.ufrag])
            ice = IceClient(call.ada._credentials, call.ada.answer.ice, tie_breaker=1)
            ice.start(0)
            (genuine,) = ice.datagrams_to_send()
            with Stranger(call.router) as stranger:
                sender = call.ada if known else stranger
                tally = Tally(call.router)
                await tally.send(sender, [forged])
                await tally.send(sender, (genuine[:size] for size in range(2, len(genuine))))
                # Behind MESSAGE-INTEGRITY, which covers all before it, stand the 8 bytes of FINGERPRINT.
                damaged = [bytearray(genuine) for _ in genuine[:-8]]
                for place, each in enumerate(damaged):
                    each[place] ^= 1 << place % 8
                await tally.send(sender, map(bytes, damaged))
                verdicts = await tally.wait()
            # A first byte that is not STUN's any more makes it DTLS, RTP or nothing.
            possible = set().union(*(expected_verdicts(bytes(each), known=known) for each in damaged))
            assert "stun_punted" in verdicts
            assert set(verdicts) <= possible
            await commands_applied(call.router)
            assert (call.router.workers[0].memory.peers["bound"] == bound).all()


# SRTP.


@pytest.mark.parametrize("profile", [GCM, CM], ids=["gcm", "cm"])
async def test_forged_and_replayed_packets_are_told_apart_and_dropped(profile):
    with trio.fail_after(30):
        async with open_call() as call, AsyncExitStack() as stack:
            section = audio("0", "sendonly", ssrc=5)
            opened = open_publisher(call.router, section, profile=profile)
            eve, (track,) = await stack.enter_async_context(opened)
            call.bob.offer(audio("0", "recvonly"), audio("1", "recvonly"), subscribe={"1": track})
            await commands_applied(call.router)
            wire = [eve.protect_rtp(eve.media_packet("0", number, number, b"voice")) for number in range(20)]
            report = eve._outward.protect_rtcp(encode_compound(SenderReport(5, 1, 1)))
            tally = Tally(call.router)
            for place in range(2, len(wire[0])):
                forged = bytearray(wire[0])
                forged[place] ^= 1 << place % 8
                await tally.send(eve, [bytes(forged)])
            for size in range(12, len(wire[0])):
                await tally.send(eve, [wire[0][:size], wire[0][:size] + b"more" + wire[0][size:]])
            for place in range(8, len(report)):
                forged = bytearray(report)
                forged[place] ^= 1 << place % 8
                await tally.send(eve, [bytes(forged)])
            verdicts = await tally.wait()
            assert set(verdicts) <= {
                "rtp_authentication_failed",
                "rtp_malformed",
                "rtp_replayed",
                "rtcp_authentication_failed",
            }
            assert verdicts["rtcp_authentication_failed"] == len(report) - 8
            assert track.statistics().packets_received == 0
            # The genuine ones are still good, once.
            tally = Tally(call.router)
            await tally.send(eve, [*wire, *wire, report, report])
            assert await tally.wait() == {
                "rtp_accepted": 20,
                "rtp_replayed": 20,
                "rtcp_accepted": 1,
                "rtcp_authentication_failed": 1,
            }
            assert len(await call.bob.take_rtp(20, call.bob.ssrc("1"))) == 20
            with Stranger(call.router) as stranger:
                tally = Tally(call.router)
                await tally.send(stranger, [eve.protect_rtp(eve.media_packet("0", 30, 30))])
                assert await tally.wait() == {"unknown_source": 1}


async def test_packets_of_one_client_are_worth_nothing_from_the_address_of_another():
    with trio.fail_after(30):
        async with open_call() as call:
            genuine = call.ada.protect_rtp(call.ada.media_packet("0", 500, 0, b"stolen"))
            tally = Tally(call.router)
            await tally.send(call.bob, [genuine])
            assert await tally.wait() == {"rtp_authentication_failed": 1}


async def test_media_before_the_handshake_is_counted():
    with trio.fail_after(30):
        async with open_call() as call, open_peer(call.router) as eve:
            eve.publish(audio("0", "sendonly", ssrc=5))
            eve.open_socket()
            eve.start_ice()
            await eve.wait_ice()
            tally = Tally(call.router)
            await tally.send(
                eve, [call.ada.protect_rtp(call.ada.media_packet("0", 500, 0)), b"\x80\xc8" + bytes(30)]
            )
            assert await tally.wait() == {"no_keys": 2}


# Our own mistakes.


async def test_commands_out_of_range_are_counted_and_change_nothing():
    capacity = Capacity(peers=8, tracks=8, inbound=8, outbound=8, groups=8)
    with trio.fail_after(30):
        async with open_call(replace(LOOPBACK, capacity=capacity)) as call:
            (worker,) = call.router.workers
            await commands_applied(call.router)
            # What commands set, and nothing else does.
            columns = {
                "peers": ["generation", "srtp_send", "srtp_receive", "address", "payload_type_in", "bound"],
                "tracks": ["generation", "kind", "muted", "first_outbound", "active_inbound"],
                "inbound": ["generation", "ssrc", "peer", "track", "next_of_peer"],
                "outbound": ["generation", "ssrc", "peer", "track", "next_of_track", "next_of_peer"],
            }

            def tables() -> list[bytes]:
                return [
                    getattr(worker.memory, table)[column].tobytes()
                    for table, names in columns.items()
                    for column in names
                ]

            before = tables()
            operations = [operation for operation in Operation if operation is not Operation.STOP]
            rows = (NONE, 8, 2**31, 2**63 - 1, -(2**63))
            for operation in operations:
                for row in rows:
                    worker.post(operation, row, (0,) * 9, generation=1)
            for unknown in (-1, -(2**63), max(Operation) + 1, 2**63 - 1):
                worker.post(unknown, 0)
            await commands_applied(call.router)
            assert tables() == before
            rejected = call.router.statistics().verdicts["command_rejected"]
            assert rejected == len(operations) * len(rows) + 4
