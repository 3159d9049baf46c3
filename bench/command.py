"""How a scenario becomes a command: its own options, the shared ones, one path from start to exit code.

A command is a function that takes its own options, and `relay` when it drives one, and returns the run:

    @scenario(app)
    def join(relay: RelayOptions, rate: Annotated[float, typer.Option(help="...")] = 20.0) -> ScenarioRun:
        \"\"\"Help text.\"\"\"
        from bench.join import JoinOptions, run_join

        return partial(run_join, JoinOptions(rate=rate, relay=relay))

Its imports stand inside it: numba and the media stack take a second that `--help` need not spend.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from bench.errors import BenchError
from bench.options import OutputOptions, RelayOptions
from bench.scenario import ScenarioRun

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130

_RELAY: Final = "Relay"
_OUTPUT: Final = "Output"


def relay_options(
    url: Annotated[
        str | None,
        typer.Option(
            help="WebSocket of a relay that runs already. (none: start one)", rich_help_panel=_RELAY
        ),
    ] = None,
    allow_remote: Annotated[
        bool,
        typer.Option(
            "--allow-remote",
            help="Let --url leave this machine. Only for a relay of yours.",
            rich_help_panel=_RELAY,
        ),
    ] = False,
    workers: Annotated[
        int, typer.Option(help="Workers of the relay that is started.", rich_help_panel=_RELAY)
    ] = 1,
    server_cpu: Annotated[
        int | None, typer.Option(help="Core of the relay. (the first)", rich_help_panel=_RELAY)
    ] = None,
    client_cpu: Annotated[
        int | None, typer.Option(help="Core of the generator. (the second)", rich_help_panel=_RELAY)
    ] = None,
    pin: Annotated[
        bool,
        typer.Option(
            help="Give relay and generator a core each, where there are two.", rich_help_panel=_RELAY
        ),
    ] = True,
    spin: Annotated[
        bool,
        typer.Option(
            help="Let the generator poll when idle; otherwise it sleeps, and waking up counts.",
            rich_help_panel=_RELAY,
        ),
    ] = True,
) -> RelayOptions:
    """Stand for `relay` in a command's signature."""
    return RelayOptions(url, allow_remote, workers, server_cpu, client_cpu, pin, spin)


def output_options(
    json: Annotated[
        Path | None,
        typer.Option(help="Write everything measured here, as JSON.", rich_help_panel=_OUTPUT),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the result here, as PNG.", rich_help_panel=_OUTPUT)
    ] = None,
) -> OutputOptions:
    """Stand for the output options, which every scenario has."""
    return OutputOptions(json, plot)


def scenario(
    app: typer.Typer, *, name: str | None = None, plots: bool = True
) -> Callable[[Callable[..., ScenarioRun]], Callable[..., ScenarioRun]]:
    """Add a scenario to `app`, named as its function or by `name`.

    Its result must have `plot` unless `plots` is false; then there is no --plot.
    """

    def add(prepare: Callable[..., ScenarioRun]) -> Callable[..., ScenarioRun]:
        own = list(inspect.signature(prepare).parameters.values())
        drives_relay = any(parameter.name == "relay" for parameter in own)
        own = [parameter for parameter in own if parameter.name != "relay"]
        relay = list(inspect.signature(relay_options).parameters.values()) if drives_relay else []
        output = [
            parameter
            for parameter in inspect.signature(output_options).parameters.values()
            if plots or parameter.name != "plot"
        ]

        def command(**values: Any) -> None:
            def take(parameters: list[inspect.Parameter]) -> dict[str, Any]:
                return {parameter.name: values[parameter.name] for parameter in parameters}

            try:
                where = output_options(**take(output))
                shared = {"relay": relay_options(**take(relay))} if drives_relay else {}
                run = prepare(**take(own), **shared)
            except BenchError as error:
                fail(str(error), EXIT_USAGE)
            carry_out(run, where)

        parameters = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in (*own, *relay, *output)
        ]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # typer reads it
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        app.command(name=name or prepare.__name__, help=inspect.getdoc(prepare))(command)
        return prepare

    return add


def carry_out(run: ScenarioRun, output: OutputOptions) -> None:
    """Run to the end, write, print and draw what was asked for. Errors and signals become a sentence and a status."""
    from rich.console import Console

    from bench.machine import describe_machine
    from bench.plot import draw, require_matplotlib
    from bench.report import print_record
    from bench.scenario import CheckedResult, Record
    from bench.session import Interrupted, run_scenario

    console = Console()
    try:
        if output.plot_path is not None:
            require_matplotlib()
        machine = describe_machine()
        record = Record(run_scenario(run, console), machine)
    except BenchError as error:
        fail(str(error), EXIT_FAILED)
    except Interrupted:
        fail("interrupted", EXIT_INTERRUPTED)
    if output.json_path is not None:
        record.write(output.json_path)
    print_record(console, record)
    if output.plot_path is not None:
        draw(record, output.plot_path)
    if isinstance(record.result, CheckedResult) and (failure := record.result.failure()) is not None:
        fail(failure, EXIT_FAILED)


def fail(text: str, code: int) -> NoReturn:
    """Tell the person, and end."""
    typer.echo(f"Error: {text}", err=True)
    raise typer.Exit(code)
