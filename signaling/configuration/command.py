"""``relay config``: what is in effect, where it was given, and what could be given."""

import os
from typing import Annotated, Any

import typer

from signaling.configuration.flags import with_settings_flags
from signaling.configuration.pages import effective_json, effective_lines, example_file, markdown_page
from signaling.configuration.sources import ignored_variables
from signaling.exits import EXIT_USAGE, fail
from signaling.settings import Settings, SettingsError, load_with_sources


@with_settings_flags
def config(
    flags: dict[str, Any],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    example: Annotated[
        bool, typer.Option("--example", help="Print a settings file to start from, and nothing else.")
    ] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print docs/settings.md, and nothing else.")
    ] = False,
) -> None:
    """Print the settings in effect and where each was given, with secrets hidden.

    With a bad setting: say which, and end with status 2.
    """
    if example or markdown:
        typer.echo(example_file() if example else markdown_page(), nl=False)
        return
    try:
        settings, given = load_with_sources(flags)
    except SettingsError as error:
        fail(str(error), EXIT_USAGE)
    for name, meant in ignored_variables(Settings, os.environ).items():
        typer.echo(
            f"relay: {name} is no setting and is ignored{f'; is {meant} meant?' if meant else ''}", err=True
        )
    if as_json:
        typer.echo(effective_json(settings, given))
        return
    for line in effective_lines(settings, given):
        typer.echo(line)
