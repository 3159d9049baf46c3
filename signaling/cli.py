"""The command line: ``relay serve``, ``relay warm-up``, and the commands other packages add.

Flags take their values as text and leave checking to the settings, so that a bad value reads the same
wherever it was given. Commands of other packages are entry points in the group ``trio_relay.commands``,
imported only when they are asked for.
"""

import atexit
import os
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from signaling.settings import SettingsError, load_settings
from signaling.version import SERVER_NAME, server_version

COMMAND_GROUP = "trio_relay.commands"

EXIT_FAILED = 1
EXIT_USAGE = 2


def make_app(arguments: Sequence[str]) -> typer.Typer:
    """Return the program; a foreign command is imported when ``arguments`` name it, otherwise only listed."""
    app = typer.Typer(
        name="relay",
        help="A WebRTC media relay: lobbies of people and bots, over one TCP port and one UDP port a worker.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_relay)
    app.command()(serve)
    app.command()(warm_up)
    for found in sorted(entry_points(group=COMMAND_GROUP), key=lambda one: one.name):
        _add_foreign(app, found, wanted=found.name in arguments)
    return app


def _add_foreign(app: typer.Typer, found: EntryPoint, *, wanted: bool) -> None:
    def list_only() -> None:
        """Is replaced by the package's own command when it is asked for."""

    if not wanted:
        app.command(found.name, help=f"See: relay {found.name} --help")(list_only)
        return
    try:
        app.add_typer(found.load(), name=found.name)
    except ImportError as error:
        reason = str(error)

        def refuse() -> None:
            _fail(
                f"{found.name} cannot be loaded: {reason}; try: pip install '{SERVER_NAME}[{found.name}]'",
                EXIT_FAILED,
            )

        settings = {"ignore_unknown_options": True, "allow_extra_args": True}
        app.command(found.name, help=f"Cannot be loaded: {reason}", context_settings=settings)(refuse)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{SERVER_NAME} {server_version()}")
        raise typer.Exit


def _relay(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """See the app's help."""
    del version


def serve(
    host: Annotated[
        str | None, typer.Option(help="IP address to listen on, TCP and UDP. [0.0.0.0: all]")
    ] = None,
    port: Annotated[str | None, typer.Option(help="TCP port of page and WebSocket; 0: any. [8080]")] = None,
    udp_port: Annotated[
        str | None, typer.Option(help="First worker's UDP port, the others follow; 0: any. [40000]")
    ] = None,
    workers: Annotated[str | None, typer.Option(help="Media workers, one core each. [cores - 1]")] = None,
    public_address: Annotated[
        list[str] | None,
        typer.Option(help="IP address clients reach this machine at; may be repeated. [the machine's own]"),
    ] = None,
    max_connections: Annotated[str | None, typer.Option(help="WebSockets at once. [10000]")] = None,
    max_peers: Annotated[
        str | None, typer.Option(help="Clients with media at once; more are refused. [as the tables hold]")
    ] = None,
    max_outbound_streams: Annotated[
        str | None,
        typer.Option(
            help="Streams to subscribers beyond which no new client gets media. [as the tables hold]"
        ),
    ] = None,
    resume_seconds: Annotated[
        str | None, typer.Option(help="How long a session outlives its connection. [30]")
    ] = None,
    allowed_origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Origin of a foreign page that may connect, or *; may be repeated. [only our own page]"
        ),
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error. [info]")] = None,
    log_format: Annotated[
        str | None, typer.Option(help="console, json, or auto: console on a terminal. [auto]")
    ] = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="Write the URL, process id and UDP ports here, as JSON, when ready.")
    ] = None,
) -> None:
    """Serve page, signaling and media until SIGINT or SIGTERM.

    Every flag is also an environment variable (RELAY_PORT=8080) and a line in the file .env; flags win over
    both.
    """
    # Imported here: compiling and loading the media stack takes seconds that --help need not spend.
    from signaling.serve import ServeError, write_ready_file  # noqa: PLC0415
    from signaling.serve import serve as run  # noqa: PLC0415
    from signaling.server import RunningServer  # noqa: PLC0415

    flags: dict[str, Any] = {
        "host": host,
        "port": port,
        "udp_port": udp_port,
        "workers": workers,
        "public_address": tuple(public_address) if public_address else None,
        "max_connections": max_connections,
        "max_peers": max_peers,
        "max_outbound_streams": max_outbound_streams,
        "resume_seconds": resume_seconds,
        "allowed_origins": tuple(allowed_origin) if allowed_origin else None,
        "log_level": log_level,
        "log_format": log_format,
    }
    try:
        settings = load_settings({name: value for name, value in flags.items() if value is not None})
    except SettingsError as error:
        _fail(str(error), EXIT_USAGE)

    def announce(running: RunningServer) -> None:
        typer.echo(f"Open {running.url} in a browser. Stop with Ctrl-C.")
        ports = ", ".join(str(one) for one in running.udp_ports)
        typer.echo(f"Media on UDP {ports}; clients are told to send it to {', '.join(running.addresses)}.")
        if ready_file is not None:
            write_ready_file(ready_file, running)

    try:
        run(settings, announce=announce, notice=_notice)
    except ServeError as error:
        _fail(str(error), EXIT_FAILED)
    _leave_at_once()


def warm_up() -> None:
    """Compile the media kernels now, so that the next start is quick; takes up to two minutes once."""
    import relay  # noqa: PLC0415

    relay.warm_up()
    typer.echo("All kernels are compiled.")


def _leave_at_once() -> NoReturn:
    """End the process without taking the interpreter apart.

    All scopes have been left: sockets are closed, threads joined. Taking the compiled kernels apart, object
    by object, would take half a second of CPU, and seconds on a busy machine, in which an operator waits for
    the port to be free.
    """
    atexit._run_exitfuncs()  # noqa: SLF001 - what the interpreter would call; coverage needs it
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _notice(text: str) -> None:
    typer.echo(text, err=True)


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(f"relay: {message}", err=True)
    raise typer.Exit(code)
