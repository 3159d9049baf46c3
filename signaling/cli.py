"""The command line: ``relay serve`` and its siblings, and the commands other packages add.

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

from signaling import garbage
from signaling.configuration.command import config
from signaling.configuration.flags import with_settings_flags
from signaling.doctor.command import doctor
from signaling.exits import EXIT_USAGE, fail
from signaling.settings import SettingsError, load_settings
from signaling.version import SERVER_NAME, server_version

COMMAND_GROUP = "trio_relay.commands"


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
    app.command()(config)
    app.command()(doctor)
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
        with garbage.paused():
            app.add_typer(found.load(), name=found.name)
    except ImportError as error:
        reason = str(error)

        def refuse() -> None:
            fail(
                f"{found.name} cannot be loaded: {reason}; try: pip install '{SERVER_NAME}[{found.name}]'",
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


@with_settings_flags
def serve(
    flags: dict[str, Any],
    ready_file: Annotated[
        Path | None, typer.Option(help="Write the URL, process id and UDP ports here, as JSON, when ready.")
    ] = None,
) -> None:
    """Serve page, signaling and media until SIGINT or SIGTERM.

    Every setting is also an environment variable (RELAY_PORT=8080) and a line in the settings file relay.toml; flags
    win over variables, and these over the file. Secrets have no flag. See: relay config --help, docs/settings.md.
    """
    try:
        settings = load_settings(flags)
    except SettingsError as error:
        fail(str(error), EXIT_USAGE)
    # Imported here: loading the media stack takes seconds that --help and a bad setting need not spend.
    with garbage.paused():
        from signaling.serve import ServeError, write_ready_file  # noqa: PLC0415
        from signaling.serve import serve as run  # noqa: PLC0415
        from signaling.server import RunningServer  # noqa: PLC0415

    def announce(running: RunningServer) -> None:
        typer.echo(f"Open {running.url} in a browser. Stop with Ctrl-C.")
        ports = ", ".join(str(one) for one in running.udp_ports)
        typer.echo(f"Media on UDP {ports}; clients are told to send it to {', '.join(running.addresses)}.")
        if ready_file is not None:
            write_ready_file(ready_file, running)

    try:
        run(settings, announce=announce, notice=_notice)
    except ServeError as error:
        fail(str(error))
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
