"""Floods, from strangers and from clients: a call goes on, and memory stays where it is."""

import multiprocessing
import socket
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio
from calls import Stranger, checks, open_call, resident_bytes
from client_sdp import audio
from media_peer import (
    LOOPBACK,
    TWO_WORKERS,
    open_publisher,
)
from waiting import wait_verdict

from media.ingress import PUNTS_PER_SECOND

pytestmark = pytest.mark.usefixtures("kernels")


def _flood(connected: socket.socket, datagrams: list[bytes]) -> None:
    while True:
        for datagram in datagrams:
            try:
                connected.send(datagram)
            except OSError:
                return


@asynccontextmanager
async def flood(connected: socket.socket, datagrams: list[bytes]):
    """Another process sends as fast as it can."""
    process = multiprocessing.get_context("fork").Process(
        target=_flood, args=(connected, datagrams), daemon=True
    )
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()
        process.close()


@pytest.mark.parametrize("config", [LOOPBACK, TWO_WORKERS], ids=["one_worker", "two_workers"])
async def test_flood_of_checks_from_strangers_does_not_starve_a_call(config):
    with trio.fail_after(30):
        # Who comes while it lasts may have to wait, so the call is looked at alone.
        async with open_call(config) as call, AsyncExitStack() as stack:
            stranger = stack.enter_context(Stranger(call.router))
            async with flood(stranger.socket, checks([call.ada.answer.ice.ufrag, "nobody00"])):
                await wait_verdict(call.router, "punt_throttled", 20_000)
                before = resident_bytes()
                for _ in range(100):
                    call.say()
                    await trio.sleep(0.01)
                assert resident_bytes() - before < 8 << 20
            # On a busy machine the socket's buffer may overflow; the relay itself drops none.
            call.say()
            await call.check(may_lose=20)


async def test_flood_of_checks_and_handshakes_from_a_client_does_not_keep_others_out():
    with trio.fail_after(30):
        async with (
            open_call() as call,
            open_publisher(call.router, audio("0", "sendonly", ssrc=5)) as (eve, _),
        ):
            datagrams = [
                *checks([eve.answer.ice.ufrag, "nobody00"]),
                b"\x16\xfe\xfd" + bytes(8) + b"\x00\x04beef",
            ]
            async with flood(eve._socket._sock, datagrams):
                await wait_verdict(call.router, "punt_throttled", 20_000)
                verdicts = call.router.statistics().verdicts
                began_s = trio.current_time()
                for _ in range(5):
                    async with open_publisher(call.router, audio("0", "sendonly", ssrc=6)):
                        pass
                elapsed_s = trio.current_time() - began_s
                assert elapsed_s < 5
                after = call.router.statistics().verdicts
                punted = (
                    after["stun_punted"]
                    + after["dtls_punted"]
                    - verdicts["stun_punted"]
                    - verdicts["dtls_punted"]
                )
                assert punted < PUNTS_PER_SECOND * (elapsed_s + 2) + 5 * 20
                assert after["punt_overflow"] == 0


async def test_flood_of_media_from_strangers_is_dropped_at_the_door():
    with trio.fail_after(30):
        async with open_call() as call:
            with Stranger(call.router) as stranger:
                datagrams = [
                    call.ada.protect_rtp(call.ada.media_packet("0", 200 + number, 0, bytes(100)))
                    for number in range(10)
                ]
                async with flood(stranger.socket, datagrams):
                    await wait_verdict(call.router, "unknown_source", 20_000)
                    before = resident_bytes()
                    await wait_verdict(call.router, "unknown_source", 100_000)
                    assert resident_bytes() - before < 8 << 20
