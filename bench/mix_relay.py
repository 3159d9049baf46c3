"""Mixing measured in a whole relay: its worker decrypts and encrypts for every participant, its mixer mixes."""

import re
import urllib.request
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

import trio

from bench.descriptors import allow_descriptors
from bench.errors import BenchError
from bench.join import peer_settings
from bench.machine import kept_to_client
from bench.mix_options import MixOptions
from bench.mix_peers import load_kernels, open_mixed_crowd
from bench.mix_result import MixLoad
from bench.mix_shape import Shape
from bench.process import ProcessSample, usage_between
from bench.progress import ProgressBars
from bench.server import RelayServer, open_relay_server
from media.srtp import SrtpProfile

SETTLE_S: Final = 3.0  # quiet ones are not decoded any more after half a second
TIMEOUT_S: Final = 10.0
MIXER: Final = "relay mixer"
WORKER: Final = "relay worker"
_TALLY: Final = re.compile(r'^relay_mixer_total\{mixer="\d+",what="(\w+)"\} (\S+)$', re.MULTILINE)
_LOST: Final = re.compile(r'^relay_mixer_packets_lost_total\{mixer="\d+"\} (\S+)$', re.MULTILINE)
_LATE: Final = re.compile(
    r'^relay_mixer_lateness_seconds_bucket\{le="([0-9.e-]+)",mixer="\d+"\} (\S+)$', re.MULTILINE
)
_BUSY: Final = re.compile(r'^relay_mixer_busy_seconds_total\{mixer="\d+"\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True)
class _Snapshot:
    sample: ProcessSample
    tallies: dict[str, int]
    late_us: dict[int, int]  # upper bound -> ticks up to it
    busy_s: float
    lost: int
    verdicts: dict[str, int]
    crowd: dict[str, int]


async def measure_relay(options: MixOptions, name: str, shape: Shape, progress: ProgressBars) -> MixLoad:
    """Start a relay, connect everybody, and measure for `options.duration_s`. Raises: BenchError."""
    count = shape.all_participants
    allow_descriptors(count)
    settings = {
        "max_connections_per_address": str(count + 100),
        # A thousand who join one lobby are a million events, which one generator takes minutes to read on a busy machine.
        "keepalive_seconds": "120",
        "send_timeout_seconds": "120",
    }
    with progress.phase("load kernels", 1):
        await trio.to_thread.run_sync(load_kernels)
    async with AsyncExitStack() as owned:
        with progress.phase("start the relay", 1):
            server = await owned.enter_async_context(open_relay_server(options.relay, count, settings))
        owned.enter_context(kept_to_client(options.relay.pinning))
        with progress.phase("connect peers", count) as phase:
            crowd = await owned.enter_async_context(
                open_mixed_crowd(
                    peer_settings(options.relay, SrtpProfile.AEAD_AES_128_GCM, server),
                    shape,
                    options.relay.pinning,
                    phase,
                )
            )
        with progress.phase(name, SETTLE_S + options.duration_s):
            await trio.sleep(SETTLE_S)
            before = await _snapshot(server, crowd.counts())
            await trio.sleep(options.duration_s)
            after = await _snapshot(server, crowd.counts())
    return _load(name, shape, before, after, server.pid)


async def _snapshot(server: RelayServer, crowd: dict[str, int]) -> _Snapshot:
    sample = await server.sample()
    text = await trio.to_thread.run_sync(_read_metrics, server.info_url.removesuffix("/api/system/info"))
    return _Snapshot(
        sample=sample,
        tallies={what: round(float(count)) for what, count in _TALLY.findall(text)},
        late_us={round(float(bound) * 1e6): round(float(count)) for bound, count in _LATE.findall(text)},
        busy_s=sum(float(seconds) for seconds in _BUSY.findall(text)),
        lost=sum(round(float(count)) for count in _LOST.findall(text)),
        verdicts=await server.verdicts(),
        crowd=crowd,
    )


def _read_metrics(base_url: str) -> str:
    try:
        with urllib.request.urlopen(f"{base_url}/metrics", timeout=TIMEOUT_S) as response:  # noqa: S310 - http by construction
            text: str = response.read().decode()
    except OSError as error:
        raise BenchError(f"the relay did not tell its metrics: {error}") from error
    return text


def _load(name: str, shape: Shape, before: _Snapshot, after: _Snapshot, pid: int | None) -> MixLoad:
    usage = usage_between(before.sample, after.sample)
    tallies = {key: count - before.tallies.get(key, 0) for key, count in after.tallies.items()}
    crowd = {key: count - before.crowd[key] for key, count in after.crowd.items()}

    verdicts = {
        key: count - before.verdicts.get(key, 0)
        for key, count in after.verdicts.items()
        if count != before.verdicts.get(key, 0)
    }

    def share(wanted: str) -> float:
        return sum(ns for thread, ns in usage.threads_ns.items() if wanted in thread) / usage.elapsed_ns

    late, passed = {}, 0
    for bound, count in sorted(after.late_us.items()):
        upto = count - before.late_us.get(bound, 0)
        if upto > passed:
            late[bound] = upto - passed
        passed = max(passed, upto)
    return MixLoad(
        name=name,
        lobbies=shape.lobbies,
        participants=shape.participants,
        talkers=shape.talkers,
        elapsed_s=usage.elapsed_ns / 1e9,
        mixer_share=share(MIXER),
        busy_share=(after.busy_s - before.busy_s) * 1e9 / usage.elapsed_ns,
        worker_share=share(WORKER),
        main_share=share(f"({pid})"),
        ticks=tallies["ticks"],
        ticks_skipped=tallies["ticks_skipped"],
        lateness_us=late,
        decoded=tallies["frames_decoded"],
        concealed=tallies["frames_concealed"],
        encoded=tallies["frames_encoded"],
        parked=tallies["packets_parked"],
        packets_in=tallies["packets_in"],
        packets_out=tallies["packets_out"],
        lost=after.lost
        - before.lost
        + crowd["gaps"]
        + verdicts.get("route_tap_overflow", 0)
        + verdicts.get("unknown_source", 0),  # of peers it has ended
        sent=crowd["sent"],
        sent_late=crowd["sent_late"],
        verdicts=verdicts,
    )
