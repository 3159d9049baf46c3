"""The scenario `idle`: what peers cost that are connected and say nothing.

Order of events: the relay's memory is read; all peers connect, each with a WebSocket and a track it publishes and does
not send, in lobbies of a few; after a pause the relay is watched for `--duration`. Consent, receiver reports and pongs
of all of them come from one plain thread (`bench.idlers`).
"""

import os
from contextlib import AsyncExitStack, ExitStack
from dataclasses import asdict, replace
from typing import Final

import trio

from bench.descriptors import allow_descriptors
from bench.errors import BenchError
from bench.idle_options import IdleOptions
from bench.idle_result import IdleResult
from bench.idlers import Idler, Idlers
from bench.join import peer_settings
from bench.joiner import join_speaking
from bench.lean_websocket import open_lean_session
from bench.lobby import random_lobby
from bench.machine import kept_to_client
from bench.peer import PeerSettings, open_srtp
from bench.process import sample_process, usage_between
from bench.progress import Phase, ProgressBars
from bench.server import RelayServer, open_relay_server
from media.srtp import SrtpDirection

SETTLE_S: Final = 3.0
CONNECT_TIMEOUT_S: Final = 60.0


async def run_idle(options: IdleOptions, progress: ProgressBars) -> IdleResult:
    """Carry out the scenario. Raises: BenchError."""
    allow_descriptors(options.peers)
    pinning, described = options.relay.pinning, options.describe()
    async with AsyncExitStack() as owned:
        with progress.phase("start the relay", 1):
            server = await owned.enter_async_context(open_relay_server(options.relay, options.peers))
        owned.enter_context(kept_to_client(pinning))
        settings = peer_settings(options.relay, options.profile, server)
        empty = await server.sample()
        sockets = owned.enter_context(ExitStack())
        nursery = await owned.enter_async_context(trio.open_nursery())
        idlers = Idlers(options.consent_s)
        await nursery.start(idlers.run)
        began_s = trio.current_time()
        with progress.phase("connect peers", options.peers) as phase:
            await _connect_all(options, settings, idlers, sockets, phase)
        setup_s = trio.current_time() - began_s
        with progress.phase("settle", 1):
            await trio.sleep(SETTLE_S)
        with progress.phase("idle", options.duration_s) as phase:
            counts = asdict(idlers.counts)
            before, own_before = await server.sample(), sample_process(os.getpid())
            await _wait(options.duration_s, idlers, phase)
            after, own_after = await server.sample(), sample_process(os.getpid())
        usage = usage_between(before, after)
        happened = {name: count - counts[name] for name, count in asdict(idlers.counts).items()}
        connected = await _peers_of(server)
        nursery.cancel_scope.cancel()
    return IdleResult(
        options=described,
        pinning=pinning,
        connected=connected,
        setup_s=setup_s,
        relay_share=usage.cpu_share,
        threads_share={name: spent / usage.elapsed_ns for name, spent in usage.threads_ns.items() if spent},
        client_share=usage_between(own_before, own_after).cpu_share,
        empty_bytes=empty.rss_bytes,
        full_bytes=after.rss_bytes,
        pid=server.pid,
        **happened,
    )


async def _connect_all(
    options: IdleOptions, settings: PeerSettings, idlers: Idlers, owned: ExitStack, phase: Phase
) -> None:
    """Connect everybody, a few at a time. Raises: BenchError for the first that fails."""
    lobbies = [random_lobby() for _ in range(-(-options.peers // options.lobby_size))]
    coming = iter(range(options.peers))
    done = 0

    async def connect_some() -> None:
        nonlocal done
        for index in coming:
            place = replace(settings, lobby=lobbies[index // options.lobby_size])
            try:
                with trio.fail_after(CONNECT_TIMEOUT_S):
                    idlers.add(await _connect(place, f"idler {index}", owned))
            except trio.TooSlowError:
                raise BenchError(f"peer {index} was not connected within {CONNECT_TIMEOUT_S:g} s") from None
            done += 1
            phase(done)

    async with trio.open_nursery() as nursery:
        for _ in range(options.concurrency):
            nursery.start_soon(connect_some)


async def _connect(settings: PeerSettings, name: str, owned: ExitStack) -> Idler:
    """Connect one peer, and leave nothing of it but two sockets, a few bytes and an SRTP session."""
    async with open_lean_session(settings.url) as session:
        speaker = await join_speaking(session, settings, name, owned)
        srtp = owned.enter_context(open_srtp(speaker.connected.keys, SrtpDirection.OUTBOUND))
        websocket = owned.enter_context(session.detach())
    return Idler(
        websocket, session.reader, speaker.connected.socket, speaker.connected.consent, srtp, speaker.ssrc
    )


async def _wait(duration_s: float, idlers: Idlers, phase: Phase) -> None:
    until = trio.current_time() + duration_s
    while (left := until - trio.current_time()) > 0:
        phase(duration_s - left, f"{idlers.counts.answered:,} checks answered")
        await trio.sleep(min(left, 1.0))


async def _peers_of(server: RelayServer) -> int:
    return int((await server.info())["relay"]["peers"])
