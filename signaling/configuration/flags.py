"""The settings as flags of a command: every setting but secrets and tables, made from the table of settings.

    @with_settings_flags
    def serve(flags: dict[str, Any], ready_file: Annotated[Path | None, typer.Option()] = None) -> None: ...

Values stay text: the settings check them, so that a bad value reads the same wherever it was given.
"""

import functools
import inspect
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any

import typer

from signaling.configuration.fields import Described, described
from signaling.configuration.sources import DEFAULT_FILE, FILE_FLAG, FILE_VARIABLE
from signaling.settings import Settings

Command = Callable[..., None]

#: The parameter of a command that takes what was given, as ``load_settings`` wants it.
_TAKES_FLAGS = "flags"


def with_settings_flags(command: Command, *, only: Collection[str] = ()) -> Command:
    """Return the command with a flag for each setting; what is given reaches it in its argument ``flags``.

    ``only``: names of the settings that the command has flags for, when it needs few.
    """
    settings = [one for one in described(Settings) if one.flag and (not only or one.name in only)]
    own = [
        one.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for one in inspect.signature(command, eval_str=True).parameters.values()
        if one.name != _TAKES_FLAGS
    ]
    names = [FILE_FLAG, *(setting.name for setting in settings)]

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        given = {name: arguments.pop(name) for name in names}
        flags = {name: value for name, value in given.items() if value is not None and value != []}
        command(flags=flags, **arguments)

    parameters = [*own, _file_parameter(), *(_parameter(setting) for setting in settings)]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def shown_default(setting: Described) -> str:
    """Return what applies when the setting is not given, for people."""
    if setting.default is None or setting.default == ():
        return setting.unset
    if isinstance(setting.default, bool):
        return str(setting.default).lower()
    return f"{setting.default:g}" if isinstance(setting.default, float) else str(setting.default)


def _file_parameter() -> inspect.Parameter:
    about = f"Settings file (TOML); also {FILE_VARIABLE}. Default: {DEFAULT_FILE}, if there is one."
    option = typer.Option(f"--{FILE_FLAG}", help=about, show_default=False)
    return inspect.Parameter(
        FILE_FLAG, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[Path | None, option]
    )


def _parameter(setting: Described) -> inspect.Parameter:
    assert setting.flag is not None
    about = setting.about[0].upper() + setting.about[1:]
    more = "; may be repeated" if setting.is_list else ""
    declared = f"{setting.flag}/--no-{setting.flag[2:]}" if setting.is_switch else setting.flag
    option = typer.Option(
        declared,
        help=f"{about}{more}. Default: {shown_default(setting)}.",
        show_default=False,
        rich_help_panel=setting.group.value,
    )
    kind: Any = bool | None if setting.is_switch else list[str] | None if setting.is_list else str | None
    return inspect.Parameter(
        setting.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option]
    )
