"""The command line: `relay bench ...`, the same as `python -m bench ...`."""

from functools import partial
from typing import Annotated

import typer

from bench.command import scenario
from bench.options import RelayOptions, choose
from bench.scenario import ScenarioRun

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
    publishers: Annotated[int, typer.Option(help="Peers that send one track each.")] = 1,
    subscribers: Annotated[int, typer.Option(help="Peers that receive every track.")] = 200,
    rate: Annotated[
        float, typer.Option(help="Packets/s of each publisher; with --search, where to begin.")
    ] = 50.0,
    size: Annotated[
        int, typer.Option(help="Bytes of an RTP packet before SRTP: 12 of header, the rest payload.")
    ] = 120,
    kind: Annotated[
        str, typer.Option(help="audio (Opus) or video (VP8, every packet a key frame).")
    ] = "audio",
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
) -> ScenarioRun:
    """Forward packets from publishers to subscribers: how many, how fast, at what cost.

    Delivered means received, decrypted and found unharmed by the subscriber. Latency runs from just before the
    publisher encrypts to the return of the subscriber's receive call.

    Examples: `relay bench forward --publishers 1 --subscribers 200 --search --json result.json --plot result.png`;
    `relay bench forward --url ws://127.0.0.1:8080/ws --publishers 3 --subscribers 50`
    """
    from bench.forward import run_forward
    from bench.forward_options import KINDS, PROFILES, ForwardOptions

    return partial(
        run_forward,
        ForwardOptions(
            publishers=publishers,
            subscribers=subscribers,
            rate=rate,
            size=size,
            kind=choose("--kind", kind, KINDS),
            profile=choose("--profile", profile, PROFILES),
            duration_s=duration,
            ramp_s=ramp,
            search=search,
            load=load,
            max_latency_ms=max_latency,
            relay=relay,
        ),
    )


if __name__ == "__main__":
    app(prog_name="relay bench")
