"""``relay import``: the old server's sessions file, into the database that the settings name."""

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import trio
import typer

from signaling.configuration.flags import Command, with_settings_flags
from signaling.exits import EXIT_USAGE, fail
from signaling.legacy.importer import import_into, most_changes, plain_name_key
from signaling.legacy.plan import ImportPlan
from signaling.legacy.sessions_file import LegacyFile, LegacyFileError, read_sessions_file
from signaling.settings import Settings, SettingsError, load_settings
from signaling.storage import Store, StoreUnavailableError

#: Opens the store that the settings name, with room for at least so many changes in its queue.
OpenStore = Callable[[Settings, int], AbstractAsyncContextManager[Store]]

#: Reasons are told one by one up to here; a file can have a thousand of a kind.
SHOWN_LINES = 50


def make_import_command(open_store: OpenStore, *, name_key: Callable[[str], str] = plain_name_key) -> Command:
    """Return the command; ``name_key`` gives what protected names are compared by."""

    def import_sessions(
        flags: dict[str, Any],
        file: Annotated[Path, typer.Argument(help="The old server's sessions.json.")],
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Say what would be imported, and change nothing.")
        ] = False,
    ) -> None:
        """Import sessions, lobbies with their chat, and protected names of the old server.

        Stop the relay first: it would not see what is imported, and write over it. All or nothing is imported; what
        is there already stays as it is, so importing twice does no harm. Passwords stay valid, and are hashed anew when
        they are first used.
        """
        try:
            settings = load_settings(flags)
        except SettingsError as error:
            fail(str(error), EXIT_USAGE)
        try:
            old = read_sessions_file(file.read_bytes())
        except OSError as error:
            fail(f"cannot read {file}: {error.strerror}")
        except LegacyFileError as error:
            fail(f"{file}: {error}")
        try:
            plan = trio.run(partial(_import, open_store, settings, old, name_key, dry_run=dry_run))
        except* StoreUnavailableError as errors:
            cause: BaseException = errors
            while isinstance(cause, BaseExceptionGroup):
                cause = cause.exceptions[0]
            fail(f"nothing was imported, for the database does not take it: {cause}")
        for line in report_lines(plan, dry_run=dry_run):
            typer.echo(line)

    return with_settings_flags(import_sessions, only=("data_dir", "database"))


def report_lines(plan: ImportPlan, *, dry_run: bool) -> Iterator[str]:
    """Yield what an operator is told of an import."""
    yield (
        f"{'Would import' if dry_run else 'Imported'} {plan.names} protected names, {plan.lobbies} lobbies with "
        f"{plan.chat_lines} lines of chat, {plan.sessions} sessions; {len(plan.skipped)} skipped."
    )
    for heading, lines in (("Note", plan.notes), ("Skipped", plan.skipped)):
        for line in lines[:SHOWN_LINES]:
            yield f"{heading}: {line}"
        if len(lines) > SHOWN_LINES:
            yield f"{heading}: {len(lines) - SHOWN_LINES} more"


async def _import(
    open_store: OpenStore,
    settings: Settings,
    old: LegacyFile,
    name_key: Callable[[str], str],
    *,
    dry_run: bool,
) -> ImportPlan:
    async with open_store(settings, most_changes(old)) as store:
        return await import_into(store, old, dry_run=dry_run, name_key=name_key)
