"""The scenario `all`: a bounded run of every other one, and which bars of DESIGN section 10 this machine meets.

Each is as it is by itself, only shorter; one that cannot be carried out is told of at the end, and the others go on.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import trio

import voicebot
from bench.bots import run_bots_scenario
from bench.bots_options import BotsOptions
from bench.churn import run_churn
from bench.churn_options import ChurnOptions
from bench.connections import ConnectionsOptions, run_connections
from bench.crowd import run_crowd
from bench.crowd_options import CrowdOptions
from bench.errors import BenchError
from bench.forward import run_forward
from bench.forward_options import ForwardOptions
from bench.idle import run_idle
from bench.idle_options import IdleOptions
from bench.join import run_join
from bench.join_options import JoinOptions
from bench.kernels import KernelsOptions, run_kernels
from bench.latency import LatencyOptions, run_latency
from bench.mix import run_mix
from bench.mix_options import MixOptions
from bench.options import RelayOptions
from bench.payload import PayloadKind
from bench.progress import ProgressBars
from bench.reconnect import run_reconnect
from bench.reconnect_options import ReconnectOptions
from bench.report import number
from bench.scenario import (
    CheckedResult,
    Reading,
    ResultTable,
    ScenarioResult,
    ScenarioRun,
)
from bench.soak import run_soak
from relay.errors import RelayError

SEARCH_S: Final = 45.0  # the trials of one search, and connecting


@dataclass(frozen=True)
class SuiteOptions:
    """The options of one call."""

    quick: bool = False
    relay: RelayOptions = field(default_factory=RelayOptions)

    def describe(self) -> dict[str, Any]:
        """Return the options as the result file has them."""
        return {"quick": self.quick, **self.relay.describe()}


@dataclass(frozen=True)
class Part:
    """One scenario with its options, and about how long it takes."""

    name: str
    seconds: float
    run: ScenarioRun


@dataclass(frozen=True)
class PartResult:
    """What it found; None and a reason when it could not be carried out."""

    name: str
    elapsed_s: float
    result: ScenarioResult | None
    error: str | None = None


@dataclass(frozen=True)
class SuiteResult:
    """Everything about one call."""

    options: dict[str, Any]
    parts: tuple[PartResult, ...]
    scenario: str = "all"

    def readings(self) -> list[Reading]:
        """All readings of all parts, each under its part's name."""
        return [
            replace(reading, name=f"{part.name}: {reading.name}")
            for part in self.parts
            if part.result is not None
            for reading in part.result.readings()
        ]

    def table(self) -> ResultTable:
        """Every reading that is held against a bar."""
        rows: list[tuple[str, ...]] = []
        for part in self.parts:
            if part.result is None:
                rows.append((part.name, "could not be carried out", "", "", "[bold red]failed[/]"))
                continue
            readings = part.result.readings()
            barred = [reading for reading in readings if reading.bar is not None] or list(readings[:1])
            rows += [_row(part.name, reading) for reading in barred]
        return ResultTable("all: bars met", ("", "", "found", "bar", ""), rows, names=2)

    def notes(self) -> list[str]:
        """What each part warns of, above all where the generator was the limit."""
        notes = []
        for part in self.parts:
            if part.error is not None:
                notes.append(f"[bold red]{part.name}: {part.error}[/]")
            if part.result is not None:
                notes += [f"{part.name}: {note}" for note in part.result.notes() if note.startswith("[")]
        total_s = sum(part.elapsed_s for part in self.parts)
        return [*notes, f"{len(self.parts)} scenarios in {total_s / 60:.1f} minutes."]

    def failure(self) -> str | None:
        """Parts that could not be carried out, or found the relay at fault. A bar that is not met is no failure."""
        faults = []
        for part in self.parts:
            if part.error is not None:
                faults.append(f"{part.name}: {part.error}")
            elif isinstance(part.result, CheckedResult) and (fault := part.result.failure()) is not None:
                faults.append(f"{part.name}: {fault}")
        return "; ".join(faults) or None


def choose_parts(options: SuiteOptions) -> list[Part]:
    """Return what is run: enough for the bars, or with `quick` just enough to see that all of it works."""
    return _quick(options.relay) if options.quick else _full(options.relay)


async def run_suite(options: SuiteOptions, progress: ProgressBars) -> SuiteResult:
    """Carry out every part, one after the other."""
    return SuiteResult(options.describe(), await run_parts(choose_parts(options), progress))


async def run_parts(parts: Sequence[Part], progress: ProgressBars) -> tuple[PartResult, ...]:
    """Carry them out whether or not those before could be."""
    minutes = sum(part.seconds for part in parts) / 60
    results = []
    with progress.phase(f"all: {len(parts)} scenarios, about {minutes:.0f} minutes", len(parts)) as phase:
        for done, part in enumerate(parts):
            phase(done, part.name)
            results.append(await _carry_out(part, progress))
    return tuple(results)


async def _carry_out(part: Part, progress: ProgressBars) -> PartResult:
    began_s = trio.current_time()
    result: ScenarioResult | None = None
    reason: BaseException | None = None
    try:
        result = await part.run(progress)
    except* (BenchError, voicebot.VoicebotError, RelayError) as group:
        reason = group
    while isinstance(reason, BaseExceptionGroup):
        reason = reason.exceptions[0]
    elapsed_s = trio.current_time() - began_s
    return PartResult(part.name, elapsed_s, result, None if reason is None else str(reason))


def _full(relay: RelayOptions) -> list[Part]:
    forward = partial(_forward, relay, duration_s=5.0, ramp_s=1.0)
    fan_out = ForwardOptions(subscribers=50, rate=200, duration_s=10, ramp_s=1, search=True, relay=relay)
    return [
        forward("forward 1 x 200", subscribers=200),
        forward("forward 20 x 50", publishers=20, subscribers=50),
        forward("forward 10 x 100", publishers=10, subscribers=100),
        forward("forward video", subscribers=50, rate=900, size=1_200, kind=PayloadKind.VIDEO, burst=9),
        Part("latency", SEARCH_S + 40, partial(run_latency, LatencyOptions(fan_out, busy_trio=True))),
        Part("join", 35, partial(run_join, JoinOptions(joins=200, storm=100, relay=relay))),
        Part(
            "connections",
            75,
            partial(run_connections, ConnectionsOptions(duration_s=20, relay=relay)),
        ),
        Part("crowd", 60, partial(run_crowd, CrowdOptions(relay=relay))),
        Part("reconnect", 40, partial(run_reconnect, ReconnectOptions(relay=relay))),
        Part("idle", 120, partial(run_idle, IdleOptions(peers=2_000, duration_s=15, relay=relay))),
        Part("churn", 60, partial(run_churn, ChurnOptions(duration_s=30, relay=relay))),
        Part("soak", 150, partial(run_soak, ChurnOptions(duration_s=120, rate=5, relay=relay))),
        *_sound(
            MixOptions(duration_s=4, relay=_own(relay)),
            MixOptions(whole_relay=True, relay=_own(relay)),
            BotsOptions(relay=_own(relay)),
            seconds=(150, 45, 110),
            relay=relay,
        ),
        Part("kernels", 30, partial(run_kernels, KernelsOptions())),
    ]


def _quick(relay: RelayOptions) -> list[Part]:
    forward = partial(_forward, relay, duration_s=1.0, ramp_s=0.3, search=False, rate=100.0)
    fan_out = ForwardOptions(subscribers=10, rate=100, duration_s=1, ramp_s=0.3, relay=relay)
    connections = ConnectionsOptions(
        connections=100, lobby_size=50, rate=100, idle_s=1, duration_s=2, relay=relay
    )
    crowd = CrowdOptions(clients=40, lobbies=2, slow=2, events_per_second=20, duration_s=2, relay=relay)
    reconnect = ReconnectOptions(
        clients=8, lobbies=2, away_s=0.5, duration_s=3, messages_per_second=4, relay=relay
    )
    return [
        forward("forward 1 x 20", subscribers=20),
        forward("forward video", subscribers=5, size=1_200, kind=PayloadKind.VIDEO, burst=9),
        Part("latency", 10, partial(run_latency, LatencyOptions(fan_out, busy_trio=True))),
        Part("join", 12, partial(run_join, JoinOptions(joins=20, background=10, quiet_s=1, relay=relay))),
        Part("connections", 12, partial(run_connections, connections)),
        Part("crowd", 20, partial(run_crowd, crowd)),
        Part("reconnect", 10, partial(run_reconnect, reconnect)),
        Part("idle", 12, partial(run_idle, IdleOptions(peers=20, duration_s=3, relay=relay))),
        Part("churn", 15, partial(run_churn, ChurnOptions(duration_s=3, relay=relay))),
        Part("soak", 20, partial(run_soak, ChurnOptions(duration_s=6, relay=relay))),
        *_sound(
            MixOptions(participants=20, duration_s=1, relay=_own(relay)),
            MixOptions(whole_relay=True, participants=6, duration_s=1, relay=_own(relay)),
            BotsOptions(bots=4, duration_s=1, probes=1, rounds=2, clears=1, dispatches=2, relay=_own(relay)),
            seconds=(6, 12, 18),
            relay=relay,
        ),
        Part("kernels", 15, partial(run_kernels, KernelsOptions(repeats=3))),
    ]


def _sound(
    mixer: MixOptions,
    whole: MixOptions,
    bots: BotsOptions,
    *,
    seconds: tuple[int, int, int],
    relay: RelayOptions,
) -> list[Part]:
    """The scenarios of sound. They look into a relay's threads and ask it for bots: it has to be one that is started here."""
    if relay.url is not None:
        return []
    return [
        Part("mix", seconds[0], partial(run_mix, mixer)),
        Part("mix relay", seconds[1], partial(run_mix, whole)),
        Part("bots", seconds[2], partial(run_bots_scenario, bots)),
    ]


def _own(relay: RelayOptions) -> RelayOptions:
    """Return the options without a relay that runs already."""
    return replace(relay, url=None)


def _forward(
    relay: RelayOptions, name: str, *, search: bool = True, rate: float = 200.0, **traffic: Any
) -> Part:
    options = ForwardOptions(search=search, rate=rate, relay=relay, **traffic)
    return Part(name, SEARCH_S if search else 6, partial(run_forward, options))


def _row(name: str, reading: Reading) -> tuple[str, ...]:
    verdict = {True: "[green]met[/]", False: "[bold red]not met[/]", None: ""}[reading.met]
    sign = "" if reading.bar is None else {"higher": ">= ", "lower": "<= "}[reading.better.value]
    bar = "" if reading.bar is None else f"{sign}{number(reading.bar, _digits(reading.bar))}"
    found = f"{number(reading.value, _digits(reading.value))} {reading.unit}".strip()
    return (name, reading.name, found, bar, verdict)


def _digits(value: float) -> int:
    if math.isnan(value) or abs(value) >= 100 or float(value).is_integer():
        return 0
    return 2 if abs(value) >= 0.1 else 4
