"""The command line: `relay bench ...`, the same as `python -m bench ...`."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from bench.command import EXIT_FAILED, EXIT_USAGE, fail, scenario
from bench.errors import BenchError
from bench.options import RelayOptions, choose
from bench.presets import PRESETS
from bench.scenario import ScenarioRun

_SEARCH_FROM = 200.0  # packets/s of each publisher
_PRESET_HELP = "; ".join(f"{preset.name} ({preset.describe()})" for preset in PRESETS.values())

app = typer.Typer(
    name="bench",
    help="Measure a relay with real peers: ICE, DTLS, SRTP, every packet decrypted, checked and timed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _bench() -> None:
    """Keep every scenario a command of its own even when there is only one."""


@scenario(app)
def forward(
    relay: RelayOptions,
    preset: Annotated[str | None, typer.Option(help=f"Traffic of a published row: {_PRESET_HELP}.")] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            help="Part of the preset's subscribers. (as many as half of the bare send rate here would feed)"
        ),
    ] = None,
    publishers: Annotated[int | None, typer.Option(help="Peers that send one track each. (1)")] = None,
    subscribers: Annotated[int | None, typer.Option(help="Peers that receive every track. (200)")] = None,
    rate: Annotated[
        float | None,
        typer.Option(help="Packets/s of each publisher; with --search, where to begin. (50)"),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(help="Bytes of an RTP packet before SRTP: 12 of header, the rest payload. (120)"),
    ] = None,
    kind: Annotated[
        str | None, typer.Option(help="audio (Opus) or video (VP8, every frame a key frame). (audio)")
    ] = None,
    burst: Annotated[
        int | None,
        typer.Option(
            help="Packets of a video frame, sent back to back; then a pause that keeps the rate. (1)"
        ),
    ] = None,
    profile: Annotated[
        str, typer.Option(help="SRTP: gcm (AEAD_AES_128_GCM) or cm (AES128_CM_SHA1_80).")
    ] = "gcm",
    duration: Annotated[float, typer.Option(help="Seconds that count.")] = 10.0,
    ramp: Annotated[
        float, typer.Option(help="Seconds before, in which the rate rises from nothing; they do not count.")
    ] = 2.0,
    search: Annotated[
        bool, typer.Option("--search", help="Find the highest rate without loss, then run at a part of it.")
    ] = False,
    load: Annotated[float, typer.Option(help="With --search: that part.")] = 0.5,
    max_latency: Annotated[
        float, typer.Option(help="With --search: milliseconds of p99 above which a rate is too high.")
    ] = 20.0,
    gro: Annotated[
        bool,
        typer.Option(
            "--gro",
            help="Let subscribers take runs of packets whole (UDP_GRO): as if the network card cut them, not the relay's core.",
        ),
    ] = False,
) -> ScenarioRun:
    """Forward packets from publishers to subscribers: how many, how fast, at what cost.

    Delivered means received, decrypted and found unharmed by the subscriber. Latency runs from just before the
    publisher encrypts to the return of the subscriber's receive call.

    Examples: `relay bench forward --publishers 1 --subscribers 200 --search --json result.json --plot result.png`;
    `relay bench forward --preset srs-video`;
    `relay bench forward --url ws://127.0.0.1:8080/ws --publishers 3 --subscribers 50`
    """
    from bench.forward import run_forward
    from bench.forward_options import KINDS, PROFILES, ForwardOptions

    options = ForwardOptions.from_preset(
        preset,
        scale,
        {
            "publishers": publishers,
            "subscribers": subscribers,
            "rate": rate,
            "size": size,
            "kind": None if kind is None else choose("--kind", kind, KINDS),
            "burst": burst,
        },
        profile=choose("--profile", profile, PROFILES),
        duration_s=duration,
        ramp_s=ramp,
        search=search,
        load=load,
        max_latency_ms=max_latency,
        gro=gro,
        relay=relay,
    )
    return partial(run_forward, options)


@scenario(app)
def latency(
    relay: RelayOptions,
    publishers: Annotated[int, typer.Option(help="Peers that send one track each.")] = 1,
    subscribers: Annotated[int, typer.Option(help="Peers that receive every track.")] = 50,
    rate: Annotated[
        float | None, typer.Option(help="Packets/s of each publisher. (--load of the highest without loss)")
    ] = None,
    load: Annotated[float, typer.Option(help="Part of the highest rate to run at.")] = 0.5,
    size: Annotated[int, typer.Option(help="Bytes of an RTP packet before SRTP.")] = 120,
    profile: Annotated[str, typer.Option(help="SRTP: gcm or cm.")] = "gcm",
    duration: Annotated[float, typer.Option(help="Seconds that count, of each run.")] = 10.0,
    ramp: Annotated[float, typer.Option(help="Seconds before, in which the rate rises.")] = 1.0,
    max_latency: Annotated[
        float, typer.Option(help="Milliseconds of p99 above which the search takes a rate as too high.")
    ] = 20.0,
    busy_trio: Annotated[
        bool, typer.Option("--busy-trio", help="Run once more while clients negotiate without a pause.")
    ] = False,
) -> ScenarioRun:
    """Time packets through the relay far from its limit: p50, p95, p99, p99.9, max, and the whole distribution.

    Latency runs from just before the publisher encrypts to the return of the subscriber's receive call.

    Examples: `relay bench latency --busy-trio --plot latency.png`; `relay bench latency --publishers 3 --rate 50`
    """
    from bench.forward_options import PROFILES, ForwardOptions
    from bench.latency import LatencyOptions, run_latency

    forward = ForwardOptions(
        publishers=publishers,
        subscribers=subscribers,
        rate=_SEARCH_FROM if rate is None else rate,
        size=size,
        profile=choose("--profile", profile, PROFILES),
        duration_s=duration,
        ramp_s=ramp,
        search=rate is None,
        load=load,
        max_latency_ms=max_latency,
        relay=relay,
    )
    return partial(run_latency, LatencyOptions(forward, busy_trio))


@scenario(app)
def join(
    relay: RelayOptions,
    rate: Annotated[float, typer.Option(help="Joins/s.")] = 20.0,
    joins: Annotated[int, typer.Option(help="How many, at that rate.")] = 200,
    even: Annotated[
        bool, typer.Option("--even", help="Arrive at even distances instead of at random.")
    ] = False,
    storm: Annotated[int, typer.Option(help="Then this many at once. 0: none.")] = 0,
    lobbies: Annotated[int, typer.Option(help="Lobbies they are spread over.")] = 10,
    background: Annotated[int, typer.Option(help="Subscribers of the media that runs meanwhile.")] = 50,
    packet_rate: Annotated[float, typer.Option(help="Packets/s of its publisher.")] = 200.0,
    quiet: Annotated[float, typer.Option(help="Seconds it is measured before anybody comes.")] = 3.0,
    seed: Annotated[int, typer.Option(help="Of the arrivals.")] = 1,
) -> ScenarioRun:
    """Join a lobby: from opening the WebSocket to the first media packet decrypted, step by step.

    Meanwhile media runs in another lobby: how much later do its packets arrive while clients come?

    Examples: `relay bench join --rate 20 --joins 200 --storm 500`; `relay bench join --url ws://127.0.0.1:8080/ws`
    """
    from bench.join import run_join
    from bench.join_options import JoinOptions

    return partial(
        run_join,
        JoinOptions(
            rate=rate,
            joins=joins,
            even=even,
            storm=storm,
            lobbies=lobbies,
            background=background,
            packet_rate=packet_rate,
            quiet_s=quiet,
            seed=seed,
            relay=relay,
        ),
    )


@scenario(app)
def connections(
    relay: RelayOptions,
    connections: Annotated[int, typer.Option(help="WebSocket sessions.")] = 10_000,
    lobby_size: Annotated[int, typer.Option(help="Participants of each lobby.")] = 1_000,
    rate: Annotated[float, typer.Option(help="Connections opened a second.")] = 500.0,
    idle: Annotated[float, typer.Option(help="Seconds of silence in which memory and CPU are read.")] = 10.0,
    duration: Annotated[float, typer.Option(help="Seconds of chat.")] = 30.0,
    messages_per_second: Annotated[
        float, typer.Option(help="Lines of chat a second, in one lobby after the other.")
    ] = 5.0,
) -> ScenarioRun:
    """Open thousands of WebSocket sessions, keep them idle, then chat: what a connection costs, how fast events spread.

    Fan-out latency runs from the speaker's send to the receive of every participant of the lobby. No media is sent.

    Examples: `relay bench connections`;
    `relay bench connections --connections 2000 --lobby-size 500 --duration 10 --json result.json`
    """
    from bench.connections import ConnectionsOptions, run_connections

    return partial(
        run_connections,
        ConnectionsOptions(
            connections=connections,
            lobby_size=lobby_size,
            rate=rate,
            idle_s=idle,
            duration_s=duration,
            messages_per_second=messages_per_second,
            relay=relay,
        ),
    )


@scenario(app)
def crowd(
    relay: RelayOptions,
    clients: Annotated[int, typer.Option(help="WebSocket sessions, the slow ones included.")] = 1_000,
    lobbies: Annotated[int, typer.Option(help="Lobbies they are spread over.")] = 50,
    slow: Annotated[
        int,
        typer.Option(
            help="Clients that stop reading, read a few bytes a second, vanish, or ask and never read."
        ),
    ] = 20,
    events_per_second: Annotated[
        float, typer.Option(help="Lines of chat, new names and mutes asked for a second, by all together.")
    ] = 200.0,
    duration: Annotated[float, typer.Option(help="Seconds of that.")] = 30.0,
    join_rate: Annotated[float, typer.Option(help="Connections opened a second.")] = 200.0,
) -> ScenarioRun:
    """Let a crowd chat, rename and mute while some of it is slow or dead: who is late, who misses what, who is closed.

    Every event is checked by its number and timed from its author's send to the receive of every other live member.
    Ends with status 1 when an event was lost or came twice, a live client was closed, or a slow one was not.

    Examples: `relay bench crowd`; `relay bench crowd --clients 200 --lobbies 10 --slow 4 --json crowd.json`
    """
    from bench.crowd import run_crowd
    from bench.crowd_options import CrowdOptions

    options = CrowdOptions(clients, lobbies, slow, events_per_second, duration, join_rate, relay=relay)
    return partial(run_crowd, options)


@scenario(app)
def reconnect(
    relay: RelayOptions,
    clients: Annotated[int, typer.Option(help="Sessions with media, all of which are cut.")] = 200,
    lobbies: Annotated[
        int, typer.Option(help="Lobbies they are spread over. In each, one sends and the others receive.")
    ] = 20,
    away: Annotated[float, typer.Option(help="Seconds from the cut until all come back at once.")] = 2.0,
    duration: Annotated[
        float, typer.Option(help="Seconds of chat; the cut comes after three tenths.")
    ] = 12.0,
    messages_per_second: Annotated[
        float,
        typer.Option(help="Lines of chat a second, in one lobby after the other; one witness each stays."),
    ] = 20.0,
    packet_rate: Annotated[float, typer.Option(help="Packets/s of each sender.")] = 50.0,
) -> ScenarioRun:
    """Cut the TCP connections of all clients at once: sessions, events and media must survive.

    Half are cut by RST, half by FIN, without a goodbye. They resume by token with the number of their last event.
    Ends with status 1 when a session was not resumed, an event missed or doubled, or a media packet lost.

    Examples: `relay bench reconnect`; `relay bench reconnect --clients 40 --lobbies 4 --away 5 --duration 15`
    """
    from bench.reconnect import run_reconnect
    from bench.reconnect_options import ReconnectOptions

    options = ReconnectOptions(
        clients, lobbies, away, duration, messages_per_second, packet_rate, relay=relay
    )
    return partial(run_reconnect, options)


@scenario(app, plots=False)
def idle(
    relay: RelayOptions,
    peers: Annotated[int, typer.Option(help="Media peers, connected and silent.")] = 5_000,
    duration: Annotated[float, typer.Option(help="Seconds they are watched.")] = 30.0,
    lobby_size: Annotated[int, typer.Option(help="Peers in a lobby.")] = 10,
    consent: Annotated[float, typer.Option(help="Seconds between a peer's consent checks.")] = 2.5,
    concurrency: Annotated[int, typer.Option(help="Peers that connect at the same time.")] = 16,
) -> ScenarioRun:
    """Hold peers that are connected and say nothing but what keeps them alive, and see what they cost.

    Each has a WebSocket, a track it does not send, consent checks as Chrome sends them, receiver reports.

    Example: `relay bench idle --peers 5000 --duration 30`
    """
    from bench.idle import run_idle
    from bench.idle_options import IdleOptions

    return partial(
        run_idle,
        IdleOptions(
            peers=peers,
            duration_s=duration,
            lobby_size=lobby_size,
            consent_s=consent,
            concurrency=concurrency,
            relay=relay,
        ),
    )


@scenario(app, plots=False)
def churn(
    relay: RelayOptions,
    duration: Annotated[float, typer.Option(help="Seconds in which visitors come.")] = 60.0,
    rate: Annotated[float, typer.Option(help="Visitors/s.")] = 10.0,
    stay: Annotated[float, typer.Option(help="Seconds they stay, on average.")] = 2.0,
    lobbies: Annotated[int, typer.Option(help="Lobbies they are spread over.")] = 4,
    background: Annotated[int, typer.Option(help="Subscribers of the media that runs meanwhile.")] = 10,
    packet_rate: Annotated[float, typer.Option(help="Packets/s of its publisher.")] = 50.0,
    seed: Annotated[int, typer.Option(help="Of arrivals and departures.")] = 1,
) -> ScenarioRun:
    """Let peers come, publish, subscribe and leave in every way there is, and look for what the relay keeps of them.

    Ends with status 1 when table rows, descriptors, threads, memory or peers have grown, or background media lost packets.

    Example: `relay bench churn --duration 60 --rate 20`
    """
    from bench.churn import run_churn
    from bench.churn_options import ChurnOptions

    options = ChurnOptions(duration, rate, stay, lobbies, background, packet_rate, seed, relay=relay)
    return partial(run_churn, options)


@scenario(app)
def soak(
    relay: RelayOptions,
    duration: Annotated[float, typer.Option(help="Seconds in which visitors come.")] = 3600.0,
    rate: Annotated[float, typer.Option(help="Visitors/s.")] = 5.0,
    stay: Annotated[float, typer.Option(help="Seconds they stay, on average.")] = 5.0,
    lobbies: Annotated[int, typer.Option(help="Lobbies they are spread over.")] = 4,
    background: Annotated[int, typer.Option(help="Subscribers of the media that runs meanwhile.")] = 10,
    packet_rate: Annotated[float, typer.Option(help="Packets/s of its publisher.")] = 50.0,
    seed: Annotated[int, typer.Option(help="Of arrivals and departures.")] = 1,
) -> ScenarioRun:
    """Churn for long, with a sample a minute, and see whether memory, descriptors, rows and latency stay flat.

    Ends with status 1 when one of them rises, or as `churn` does.

    Example: `relay bench soak --duration 3600 --json soak.json --plot soak.png`
    """
    from bench.churn_options import ChurnOptions
    from bench.soak import run_soak

    options = ChurnOptions(duration, rate, stay, lobbies, background, packet_rate, seed, relay=relay)
    return partial(run_soak, options)


@scenario(app, plots=False)
def mix(
    relay: RelayOptions,
    what: Annotated[
        str,
        typer.Option(
            help="mixer (its thread alone, fed as by a worker) or relay (all of it: real peers, SRTP both ways)."
        ),
    ] = "mixer",
    participants: Annotated[
        int | None, typer.Option(help="Measure one load: participants of a lobby. (the standard loads)")
    ] = None,
    talkers: Annotated[int, typer.Option(help="With --participants: how many of them talk.")] = 3,
    lobbies: Annotated[int, typer.Option(help="With --participants: lobbies that are all alike.")] = 1,
    duration: Annotated[float, typer.Option(help="Seconds of each load that count.")] = 5.0,
    search: Annotated[
        bool, typer.Option(help="Find the most participants and lobbies that one core carries.")
    ] = True,
) -> ScenarioRun:
    """Mix lobbies: participants and lobbies per core, what a talker and a listener cost, how late ticks are.

    Carried means that 99 of 100 ticks begin within 5 ms, none is left out, and no packet is lost.

    Examples: `relay bench mix`; `relay bench mix --participants 5 --talkers 5 --lobbies 40`;
    `relay bench mix --what relay --participants 1000 --talkers 3`
    """
    from bench.mix import run_mix
    from bench.mix_options import MixOptions

    whole = choose("--what", what, {"mixer": False, "relay": True})
    return partial(run_mix, MixOptions(whole, participants, talkers, lobbies, duration, search, relay))


@scenario(app, plots=False)
def bots(
    relay: RelayOptions,
    bots: Annotated[int, typer.Option(help="Bots that hear and speak at once. 0: none.")] = 100,
    lobby_size: Annotated[int, typer.Option(help="Of them in a lobby.")] = 2,
    duration: Annotated[float, typer.Option(help="Seconds in which their cost is measured.")] = 10.0,
    probes: Annotated[
        int, typer.Option(help="Lobbies of a person and a bot in which delays are measured.")
    ] = 4,
    rounds: Annotated[int, typer.Option(help="Clicks each way, in each of them.")] = 25,
    clears: Annotated[int, typer.Option(help="Speeches that are cut off, in each of them.")] = 8,
    dispatches: Annotated[int, typer.Option(help="Bots asked for, one after the other. 0: none.")] = 100,
) -> ScenarioRun:
    """Let bots hear, speak, be silent and come: what they cost, and how long sound takes between people and them.

    Bots are Python, over WebSockets (`voicebot.connect`); people send and receive Opus over SRTP.

    Example: `relay bench bots --bots 200 --json bots.json`
    """
    from bench.bots import run_bots_scenario
    from bench.bots_options import BotsOptions

    options = BotsOptions(bots, lobby_size, duration, probes, rounds, clears, dispatches, relay=relay)
    return partial(run_bots_scenario, options)


@scenario(app)
def kernels(
    repeats: Annotated[int, typer.Option(help="Measurements of each; the median counts.")] = 15,
    only: Annotated[str, typer.Option(help="Only kernels with this in their names.")] = "",
) -> ScenarioRun:
    """Time each kernel of the relay per packet, against the same thing written in Python.

    Example: `relay bench kernels --only GCM`
    """
    from bench.kernels import KernelsOptions, run_kernels

    return partial(run_kernels, KernelsOptions(repeats, only))


@scenario(app, name="all", plots=False)
def all_scenarios(
    relay: RelayOptions,
    quick: Annotated[
        bool, typer.Option("--quick", help="Two minutes that only show that everything works.")
    ] = False,
) -> ScenarioRun:
    """Run every scenario for a bounded time, and tell which bars are met: ten to fifteen minutes.

    Example: `relay bench all --json all.json`, later `relay bench compare all.json other.json`
    """
    from bench.suite import SuiteOptions, run_suite

    return partial(run_suite, SuiteOptions(quick, relay))


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(metavar="A.json", help="A result file.")],
    after: Annotated[Path, typer.Argument(metavar="B.json", help="Another of the same scenario.")],
    noise: Annotated[float, typer.Option(help="Percent of change that means nothing.")] = 5.0,
    fail_above: Annotated[
        float | None,
        typer.Option(help="End with status 1 when a reading is worse by more percent than this."),
    ] = None,
) -> None:
    """Compare two result files, reading by reading. Shared machines differ by 5 to 10 % from run to run.

    Example: `relay bench compare before.json after.json --fail-above 10`
    """
    from rich.console import Console

    from bench.comparison import compare_results, read_result
    from bench.report import to_rich

    try:
        comparison = compare_results(read_result(before), read_result(after), noise)
    except BenchError as error:
        fail(str(error), EXIT_USAGE)
    console = Console()
    console.print(to_rich(comparison.table()))
    for warning in comparison.warnings:
        console.print(f"[yellow]{warning}[/]", highlight=False)
    if fail_above is not None and (worse := comparison.worse_by(fail_above)):
        names = ", ".join(change.name for change in worse)
        fail(f"worse by more than {fail_above:g} %: {names}", EXIT_FAILED)


if __name__ == "__main__":
    app(prog_name="relay bench")
