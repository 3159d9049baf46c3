"""The command line: `relay bench ...`, the same as `python -m bench ...`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer
from rich.console import Console

if TYPE_CHECKING:
    from bench.options import ForwardOptions

Choice = TypeVar("Choice")

app = typer.Typer(
    name="bench",
    help="Measure a relay with real peers: ICE, DTLS, SRTP, every packet decrypted, checked and timed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


@app.callback()
def _bench() -> None:
    """Keep `forward` a command of its own even while it is the only one."""


@app.command()
def forward(
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
    url: Annotated[
        str | None, typer.Option(help="WebSocket of a relay that runs already. (none: start one for the run)")
    ] = None,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Let --url leave this machine. Only for a relay of yours.")
    ] = False,
    workers: Annotated[int, typer.Option(help="Workers of the relay that is started.")] = 1,
    server_cpu: Annotated[int | None, typer.Option(help="Core of the relay. (the first)")] = None,
    client_cpu: Annotated[int | None, typer.Option(help="Core of the generator. (the second)")] = None,
    pin: Annotated[
        bool, typer.Option(help="Give relay and generator a core each, where there are two.")
    ] = True,
    spin: Annotated[
        bool,
        typer.Option(help="Let the generator poll when idle; otherwise it sleeps, and waking up counts."),
    ] = True,
    json: Annotated[Path | None, typer.Option(help="Write everything measured here, as JSON.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw latency and throughput here, as PNG.")] = None,
) -> None:
    """Forward packets from publishers to subscribers: how many, how fast, at what cost.

    Delivered means received, decrypted and found unharmed by the subscriber. Latency runs from just before the
    publisher encrypts to the return of the subscriber's receive call.

    Examples: `relay bench forward --publishers 1 --subscribers 200 --search --json result.json --plot result.png`;
    `relay bench forward --url ws://127.0.0.1:8080/ws --publishers 3 --subscribers 50`
    """
    # Imported here: numba and the media stack take a second that --help need not spend.
    from bench.errors import BenchError  # noqa: PLC0415
    from bench.options import PROFILES, ForwardOptions  # noqa: PLC0415
    from bench.payload import PayloadKind  # noqa: PLC0415

    kinds = {each.media: each for each in PayloadKind}
    try:
        options = ForwardOptions(
            publishers=publishers,
            subscribers=subscribers,
            rate=rate,
            size=size,
            kind=_choose("--kind", kind, kinds),
            profile=_choose("--profile", profile, PROFILES),
            duration_s=duration,
            ramp_s=ramp,
            search=search,
            load=load,
            max_latency_ms=max_latency,
            workers=workers,
            server_cpu=server_cpu,
            client_cpu=client_cpu,
            pin=pin,
            spin=spin,
            url=url,
            allow_remote=allow_remote,
            json_path=json,
            plot_path=plot,
        )
    except BenchError as error:
        _fail(str(error), EXIT_USAGE)
    _run(options)


def _run(options: "ForwardOptions") -> None:
    from bench.errors import BenchError  # noqa: PLC0415
    from bench.plot import plot_forward, require_matplotlib  # noqa: PLC0415
    from bench.report import print_forward  # noqa: PLC0415
    from bench.session import Interrupted, run_command  # noqa: PLC0415

    console = Console()
    try:
        if options.plot_path is not None:
            require_matplotlib()
        result = run_command(options, console)
    except BenchError as error:
        _fail(str(error), EXIT_FAILED)
    except Interrupted:
        _fail("interrupted", EXIT_INTERRUPTED)
    print_forward(console, result)
    if options.json_path is not None:
        result.write(options.json_path)
    if options.plot_path is not None:
        plot_forward(result, options.plot_path)


def _choose(option: str, value: str, choices: Mapping[str, Choice]) -> Choice:
    if value not in choices:
        _fail(f"{option} is {value!r}; it must be {' or '.join(choices)}", EXIT_USAGE)
    return choices[value]


def _fail(text: str, code: int) -> NoReturn:
    typer.echo(f"Error: {text}", err=True)
    raise typer.Exit(code)


if __name__ == "__main__":
    app(prog_name="relay bench")
