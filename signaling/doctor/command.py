"""``relay doctor``: every check, one line each."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer

from signaling.configuration.flags import with_settings_flags
from signaling.configuration.sources import Given
from signaling.doctor.finding import Finding, Level
from signaling.doctor.finding import fail as failed
from signaling.exits import EXIT_FAILED, EXIT_USAGE, fail
from signaling.settings import Settings, SettingsError, load_with_sources


@with_settings_flags
def doctor(
    flags: dict[str, Any],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check machine and settings, and say what to do about what is not well. Changes nothing.

    Give it the flags and variables that the server gets. It ends with status 1 when something fails.
    """
    try:
        settings, given = load_with_sources(flags)
    except SettingsError as error:
        fail(str(error), EXIT_USAGE)
    findings = []
    for finding in examine(settings, given):
        findings.append(finding)
        if not as_json:
            typer.echo(finding.line())
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    elif not _with(findings, Level.FAIL):
        typer.echo(f"\nNothing fails{'; see the warnings' if _with(findings, Level.WARN) else ''}.")
    if _with(findings, Level.FAIL):
        raise typer.Exit(EXIT_FAILED)


def examine(
    settings: Settings, given: Mapping[str, Given], *, newest_revision: str | None = None
) -> Iterator[Finding]:
    """Yield all findings, as they are made. ``newest_revision``: of the database's migrations."""
    try:
        # Imported here: a library that does not load is a finding, not the end.
        from signaling.doctor.database import check_database  # noqa: PLC0415
        from signaling.doctor.keeping import check_keeping  # noqa: PLC0415
        from signaling.doctor.libraries import check_libraries  # noqa: PLC0415
        from signaling.doctor.machine import check_machine  # noqa: PLC0415
        from signaling.doctor.network import check_network  # noqa: PLC0415
    except (ImportError, OSError, AttributeError) as error:
        yield failed(
            "libraries",
            f"one cannot be loaded: {error}",
            "install anew: pip install --force-reinstall trio-relay",
        )
        return
    yield from check_machine(settings)
    yield from check_libraries()
    yield from check_network(settings)
    yield from check_keeping(settings, given)
    yield from check_database(settings.database_url, newest_revision)


def _with(findings: Iterable[Finding], level: Level) -> bool:
    return any(finding.level is level for finding in findings)
