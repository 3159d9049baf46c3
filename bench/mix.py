"""The scenario `mix`: how many participants and lobbies one mixer thread carries, and what each of them costs.

The mixer is the relay's own thread. Packets reach it as from a worker, through the ring, from a compiled loop on the other
core (`bench.mix_loop`); no participant of it has a socket, so that thousands are there at once. Talkers send what browsers
send, 32 kbit/s of Opus with error correction, and the others quiet packets that say so (RFC 6464).
"""

import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Final

import trio

from bench.machine import Pinning, kept_to_client
from bench.mix_options import MOST_PARTICIPANTS, MixOptions
from bench.mix_relay import measure_relay
from bench.mix_result import HighestLoad, MixLoad, MixResult
from bench.mix_shape import Shape
from bench.mix_stage import MixSnapshot, open_mix_stage
from bench.progress import Phase, ProgressBars
from bench.search import search_highest_rate

SETTLE_S: Final = 0.7
TRIAL_S: Final = 2.0
QUIET_TRIES: Final = 3
"""A trial that fails while the generator itself is late says nothing: so often it is made again."""
SEARCH_FROM: Final = 0.6  # of what the CPU time of a smaller load promises

THREE: Final = Shape(1, 3, 3)
LOBBY: Final = Shape(1, 1_000, 3)
WHOLE: Final = Shape(1, 300, 3)
SILENT: Final = Shape(1, 1_000, 0)
MANY: Final = Shape(20, 5, 5)
IDLE: Final = Shape(1_000, 5, 0, sending=False)

Measure = Callable[[str, Shape, float], Awaitable[MixLoad]]


async def run_mix(options: MixOptions, progress: ProgressBars) -> MixResult:
    """Carry out the scenario. Raises: BenchError."""
    pinning = options.relay.pinning
    if options.whole_relay:
        return await _measure_whole(options, progress)
    measure = partial(measure_mixer, pinning)
    with kept_to_client(pinning):
        with progress.phase("load kernels", 1):
            await measure("warm-up", Shape(2, 4, 2), 0.1)
        if options.participants is not None:
            return await _measure_one(options, measure, progress)
        return await _measure_all(options, measure, progress)


async def measure_mixer(pinning: Pinning, name: str, shape: Shape, duration_s: float) -> MixLoad:
    """Let a mixer mix these lobbies for so long."""
    async with open_mix_stage(shape, pinning) as stage:
        await trio.sleep(SETTLE_S)
        before = stage.snapshot()
        await trio.sleep(duration_s)
        return _load(name, shape, before, stage.snapshot())


def _load(name: str, shape: Shape, before: MixSnapshot, after: MixSnapshot) -> MixLoad:
    elapsed_ns = after.at_ns - before.at_ns
    tallies = {key: count - before.tallies[key] for key, count in after.tallies.items()}
    player = {key: count - before.player[key] for key, count in after.player.items()}
    late = [count - earlier for earlier, count in zip(before.lateness, after.lateness, strict=True)]
    return MixLoad(
        name=name,
        lobbies=shape.lobbies,
        participants=shape.participants,
        talkers=shape.talkers,
        elapsed_s=elapsed_ns / 1e9,
        mixer_share=(after.cpu_ns - before.cpu_ns) / elapsed_ns,
        busy_share=(after.busy_ns - before.busy_ns) / elapsed_ns,
        worker_share=math.nan,
        main_share=math.nan,
        ticks=tallies["ticks"],
        ticks_skipped=tallies["ticks_skipped"],
        lateness_us={1 << bucket: count for bucket, count in enumerate(late) if count},
        decoded=tallies["frames_decoded"],
        concealed=tallies["frames_concealed"],
        encoded=tallies["frames_encoded"],
        parked=tallies["packets_parked"],
        packets_in=tallies["packets_in"],
        packets_out=tallies["packets_out"],
        lost=player["refused"]
        + after.lost_to_workers
        - before.lost_to_workers
        + after.gaps
        - before.gaps
        + tallies["packets_refused"],
        sent=player["sent"],
        sent_late=player["sent_late"],
        verdicts={},
    )


async def _measure_whole(options: MixOptions, progress: ProgressBars) -> MixResult:
    shape = WHOLE
    if options.participants is not None:
        shape = Shape(options.lobbies, options.participants, options.talkers)
    load = await measure_relay(options, _title(shape), shape, progress)
    return MixResult(options.describe(), options.relay.pinning, (load,), (), math.nan, math.nan)


async def _measure_one(options: MixOptions, measure: Measure, progress: ProgressBars) -> MixResult:
    assert options.participants is not None
    shape = Shape(options.lobbies, options.participants, options.talkers)
    with progress.phase("mix", 1):
        load = await measure(_title(shape), shape, options.duration_s)
    return MixResult(options.describe(), options.relay.pinning, (load,), (), math.nan, math.nan)


async def _measure_all(options: MixOptions, measure: Measure, progress: ProgressBars) -> MixResult:
    shapes = (THREE, LOBBY, SILENT, MANY, IDLE)
    loads = []
    with progress.phase("loads", len(shapes)) as phase:
        for done, shape in enumerate(shapes):
            phase(done, _title(shape))
            loads.append(await measure(_title(shape), shape, options.duration_s))
    three, lobby, _, many, _ = loads
    silent_us = (lobby.tick_us - three.tick_us) / (LOBBY.participants - THREE.participants)
    # Where only silent ones are added, and lobbies that are all alike.
    free = 1 - three.mixer_share
    participants = THREE.participants + free * 1e6 / 50 / max(silent_us, 1e-3)
    lobbies = MANY.lobbies / many.mixer_share
    highest = (
        await _find(
            options,
            measure,
            progress,
            "participants",
            participants,
            lambda size: replace(LOBBY, participants=size),
        ),
        await _find(options, measure, progress, "lobbies", lobbies, lambda size: replace(MANY, lobbies=size)),
    )
    return MixResult(
        options=options.describe(),
        pinning=options.relay.pinning,
        loads=tuple(loads),
        highest=highest,
        silent_us=silent_us,
        talker_us=many.tick_us / MANY.all_talkers,
    )


async def _find(
    options: MixOptions,
    measure: Measure,
    progress: ProgressBars,
    what: str,
    by_cpu: float,
    shape_of: Callable[[int], Shape],
) -> HighestLoad:
    if not options.search:
        return HighestLoad(what, by_cpu, math.nan, ())
    trials: list[MixLoad] = []
    with progress.phase(f"search: {what} of one core", 1) as phase:
        attempt = partial(try_size, measure, shape_of, min(TRIAL_S, options.duration_s), trials, phase)
        ceiling = MOST_PARTICIPANTS / shape_of(1).participants if what == "lobbies" else MOST_PARTICIPANTS
        found = await search_highest_rate(
            max(4.0, min(SEARCH_FROM * by_cpu, LOBBY.participants)), ceiling, attempt
        )
    return HighestLoad(what, by_cpu, float(round(found.best)), tuple(trials))


async def try_size(
    measure: Measure,
    shape_of: Callable[[int], Shape],
    duration_s: float,
    trials: list[MixLoad],
    phase: Phase,
    size: float,
) -> bool:
    """Make one trial of the search, or up to QUIET_TRIES where the generator was disturbed; say whether one was carried."""
    shape = shape_of(round(size))
    for _ in range(QUIET_TRIES):
        trial = await measure(_title(shape), shape, duration_s)
        trials.append(trial)
        if trial.carried or not trial.disturbed:
            break
    phase(min(0.95, len(trials) / 15), f"{round(size):,}: {'good' if trial.carried else 'not'}")
    return trial.carried


def _title(shape: Shape) -> str:
    if not shape.sending:
        return f"{shape.lobbies:,} idle lobbies"
    lobbies = f"{shape.lobbies:,} x " if shape.lobbies > 1 else ""
    talkers = "all talk" if shape.talkers == shape.participants else f"{shape.talkers} talk"
    return f"{lobbies}{shape.participants:,}, {talkers}"
