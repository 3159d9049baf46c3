"""How a command ends when it cannot do what it was asked: one line on standard error, and a status."""

from typing import NoReturn

import typer

#: What was asked could not be done.
EXIT_FAILED = 1
#: What was asked makes no sense: a bad flag or setting.
EXIT_USAGE = 2


def fail(message: str, code: int = EXIT_FAILED) -> NoReturn:
    """Say why and end the command."""
    typer.echo(f"relay: {message}", err=True)
    raise typer.Exit(code)
