"""The compiled loop without a relay: one socket sends straight to another. It is the floor of every latency measured.

Also what warms the kernels up: a run of a few packets compiles everything a real run calls.
"""

import secrets
import socket
from contextlib import ExitStack

import trio

from bench.generator import Generator, LoopResult, Receiver, Sender, Traffic
from bench.options import SPIN_FOREVER_NS
from bench.payload import PayloadKind
from bench.sockets import open_media_socket
from media.srtp import SrtpDirection, SrtpProfile, SrtpSession


async def run_direct(
    traffic: Traffic, profile: SrtpProfile, *, cpu: int | None = None, spin_ns: int = SPIN_FOREVER_NS
) -> LoopResult:
    """Run `traffic` from one publisher's socket to one subscriber's over loopback."""
    with ExitStack() as owned:
        key, salt = secrets.token_bytes(profile.key_bytes), secrets.token_bytes(profile.salt_bytes)
        outbound = owned.enter_context(SrtpSession(profile, key, salt, SrtpDirection.OUTBOUND))
        inbound = owned.enter_context(SrtpSession(profile, key, salt, SrtpDirection.INBOUND))
        left = owned.enter_context(open_media_socket(socket.AF_INET, "127.0.0.1"))
        right = owned.enter_context(open_media_socket(socket.AF_INET, "127.0.0.1"))
        left.connect(right.getsockname())
        right.connect(left.getsockname())
        generator = owned.enter_context(
            Generator(
                [Sender(left.fileno(), outbound.address, ssrc=1, payload_type=111)],
                [Receiver(right.fileno(), inbound.address)],
                cpu,
            )
        )
        async with generator.run(traffic, spin_ns) as run:
            return await run.result()


def warm_up() -> None:
    """Compile the generator's loop, or load it from the cache. Blocks; call it from a thread, outside of Trio."""
    traffic = Traffic(rate=1000, size=PayloadKind.AUDIO.min_packet_bytes, ramp_s=0, duration_s=0.01)
    trio.run(run_direct, traffic, SrtpProfile.AEAD_AES_128_GCM)
