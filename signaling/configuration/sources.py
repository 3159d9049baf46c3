"""Gathers what was given for settings, remembers where, and says so when a value is bad.

Flags win over environment variables, these over lines of the file ``.env``, these over the settings file (TOML).
"""

import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from dotenv import dotenv_values
from pydantic import BaseModel, ValidationError

from signaling.configuration.errors import SettingsError
from signaling.configuration.fields import ENVIRONMENT_PREFIX, Described, described, holds_secret

ENVIRONMENT_FILE = Path(".env")
DEFAULT_FILE = Path("relay.toml")
#: Not a setting: says where the settings are.
FILE_FLAG = "config"
FILE_VARIABLE = ENVIRONMENT_PREFIX + FILE_FLAG.upper()

_SHOWN_CHARACTERS = 100

Model = TypeVar("Model", bound=BaseModel)


class Kind(StrEnum):
    """The kinds of places where a setting can be given, strongest first."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    FILE = "file"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Given:
    """A value as it was given, not yet checked."""

    value: Any
    kind: Kind
    #: Such as ``--port``, ``RELAY_PORT``, ``RELAY_PORT in .env``, ``relay.toml, line 3: port``.
    place: str
    file: Path | None = None


def gather(
    model: type[BaseModel],
    flags: Mapping[str, Any],
    *,
    environment_file: Path | None,
    default_file: Path | None,
) -> dict[str, Given]:
    """Return the strongest value given for each setting that was given at all.

    Raises: SettingsError when a file cannot be read, or has a key that is no setting.
    """
    settings = described(model)
    variables = _variables(environment_file)
    by_file: dict[str, Given] = {}
    file, required = _file(flags, variables, default_file)
    if file is not None:
        by_file = _given_in(file, settings, required=required)
    given = dict(by_file)
    for setting in settings:
        if setting.also and os.environ.get(setting.also):
            given[setting.name] = Given(os.environ[setting.also], Kind.ENVIRONMENT, setting.also)
        if setting.variable in variables:
            value, place = variables[setting.variable]
            given[setting.name] = Given(_from_text(value, setting, place), Kind.ENVIRONMENT, place)
        if flags.get(setting.name) is not None:
            flag = setting.flag or "--" + setting.name.replace("_", "-")
            given[setting.name] = Given(flags[setting.name], Kind.FLAG, flag)
    return given


def validate(model: type[Model], given: Mapping[str, Given]) -> Model:
    """Return the model with these values.

    Raises: SettingsError for the first bad one.
    """
    try:
        return model.model_validate({name: one.value for name, one in given.items()})
    except ValidationError as error:
        # The context would be the error that a validator raised, which says nothing the operator needs.
        faults = error.errors(include_url=False, include_context=False)
    # A misspelt key is the cause of the missing one.
    fault = next((one for one in faults if one["type"] == "extra_forbidden"), faults[0])
    raise SettingsError(_explain(model, given, tuple(fault["loc"]), fault["type"], fault["input"]))


def ignored_variables(model: type[BaseModel], environment: Iterable[str]) -> dict[str, str | None]:
    """Return variables that look like settings but are none, each with the setting that may be meant.

    They are no error: container platforms make such variables of their own (``RELAY_SERVICE_HOST``).
    """
    known = {setting.name for setting in described(model)} | {FILE_FLAG}
    prefix = ENVIRONMENT_PREFIX.lower()
    names = {name.lower().removeprefix(prefix) for name in environment if name.lower().startswith(prefix)}
    nearest = {name: _nearest(name, known) for name in sorted(names - known)}
    return {
        ENVIRONMENT_PREFIX + name.upper(): meant and ENVIRONMENT_PREFIX + meant.upper()
        for name, meant in nearest.items()
    }


def _variables(environment_file: Path | None) -> dict[str, tuple[str, str]]:
    """Name of a variable in capitals -> value and place. Empty ones count as not given."""
    found: dict[str, tuple[str, str]] = {}
    if environment_file is not None:
        try:
            lines = dotenv_values(environment_file, encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"cannot read {environment_file}: {error}") from None
        for name, value in lines.items():
            if value and name.upper().startswith(ENVIRONMENT_PREFIX):
                found[name.upper()] = (value, f"{name} in {environment_file}")
    for name, value in os.environ.items():
        if value and name.upper().startswith(ENVIRONMENT_PREFIX):
            found[name.upper()] = (value, name)
    return found


def _file(
    flags: Mapping[str, Any], variables: Mapping[str, tuple[str, str]], default_file: Path | None
) -> tuple[Path | None, str | None]:
    """Return the file to read, and who asked for it by name: then it must exist."""
    if flags.get(FILE_FLAG) is not None:
        return Path(flags[FILE_FLAG]), f"--{FILE_FLAG}"
    if FILE_VARIABLE in variables:
        value, place = variables[FILE_VARIABLE]
        return Path(value), place
    return default_file, None


def _given_in(file: Path, settings: tuple[Described, ...], *, required: str | None) -> dict[str, Given]:
    try:
        text = file.read_bytes().decode()
        content = tomllib.loads(text)
    except FileNotFoundError:
        if required is None:
            return {}
        raise SettingsError(f"{required}: there is no file {file}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read {file}: {error}") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError(f"{file} is not valid TOML: {error}") from None
    names = {setting.name for setting in settings}
    for key in content:
        if key not in names:
            raise SettingsError(f"{_place(file, text, (key,))}: there is no such setting{_hint(key, names)}")
    return {key: Given(value, Kind.FILE, _place(file, text, (key,)), file) for key, value in content.items()}


def _from_text(value: str, setting: Described, place: str) -> Any:
    if setting.table is None:
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        # The value may hold secrets: it is not shown.
        raise SettingsError(f"{place}: not valid JSON ({error}); expected {setting.expected}") from None


def _explain(
    model: type[BaseModel], given: Mapping[str, Given], location: tuple[Any, ...], fault: str, value: Any
) -> str:
    name, within = str(location[0]), location[1:]
    setting = next(one for one in described(model) if one.name == name)
    place = _inner_place(given[name], name, within)
    expected, secret = setting.expected, setting.is_secret
    key = next((part for part in reversed(within) if isinstance(part, str)), None)
    if setting.table is not None and key is not None:
        fields = setting.table.model_fields
        if key not in fields:
            return f"{place}: there is no such key{_hint(key, set(fields))}"
        expected, secret = fields[key].description or "", holds_secret(fields[key])
        if fault == "missing":
            return f"{place}: is missing; expected {expected}"
    elif setting.table is None and not secret:
        value = given[name].value
    if isinstance(value, list | tuple):
        value = ",".join(str(part) for part in value)
    shown = (
        "the value (not shown)" if secret or isinstance(value, dict) else repr(str(value)[:_SHOWN_CHARACTERS])
    )
    return f"{place}: {shown} is not valid; expected {expected}"


def _inner_place(given: Given, name: str, within: tuple[Any, ...]) -> str:
    # ``webhooks[1].url``; what lies inside a list of texts is told by its key alone.
    path = tuple(within[:2]) if len(within) >= 2 else ()
    if not path:
        return given.place
    inner = f"[{path[0]}].{path[1]}"
    if given.file is None:
        return f"{given.place}{inner}"
    try:
        text = given.file.read_text(encoding="utf-8")
    except OSError:
        return f"{given.place}{inner}"
    return _place(given.file, text, (name, *path))


def _place(file: Path, text: str, path: tuple[Any, ...]) -> str:
    """Return file, line and key. The line is looked for in the text, as the parser does not tell it."""
    name = path[0] + (f"[{path[1]}].{path[2]}" if len(path) > 1 else "")
    line = _line_of(text, path)
    return f"{file}, line {line}: {name}" if line else f"{file}: {name}"


def _line_of(text: str, path: tuple[Any, ...]) -> int | None:
    """Return the line of ``key = ...``, or of the key in the n-th ``[[table]]``; None where it is written otherwise."""
    key, table, number = (path[0], None, 0) if len(path) == 1 else (path[2], path[0], path[1])
    assignment = re.compile(rf"""\s*(["']?){re.escape(str(key))}\1\s*=""")
    header = re.compile(r"""\s*\[{1,2}\s*["']?([\w-]+)["']?\s*\]""")
    inside, seen, opened = None, -1, None
    for line, content in enumerate(text.splitlines(), 1):
        if found := header.match(content):
            inside = found[1]
            seen += inside == table
            if table is None and inside == key:
                return line
            if inside == table and seen == number:
                opened = line
        elif inside == table and (table is None or seen == number) and assignment.match(content):
            return line
    return opened


def _hint(name: str, known: set[str]) -> str:
    nearest = _nearest(name.replace("-", "_").lower(), known)
    return f"; is {nearest} meant?" if nearest else f"; there are {', '.join(sorted(known))}"


def _nearest(name: str, known: set[str]) -> str | None:
    return next(iter(get_close_matches(name, known, 1)), None)
