"""Settings for people to read: the effective ones, the page ``docs/settings.md``, an example file. Pure."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from signaling.configuration.fields import (
    Described,
    Group,
    SecretUrl,
    Table,
    described,
    example_of,
    holds_secret,
)
from signaling.configuration.flags import shown_default
from signaling.configuration.sources import DEFAULT_FILE, FILE_FLAG, FILE_VARIABLE, Given, Kind
from signaling.redaction import redact_text
from signaling.settings import Settings

HIDDEN = "(hidden)"


def effective_lines(settings: Settings, given: Mapping[str, Given]) -> Iterator[str]:
    """Yield one line a setting: name, value, where it was given; under the headings of the groups."""
    rows = [
        (setting, _shown_text(getattr(settings, setting.name), setting), _place(setting, given))
        for setting in described(Settings)
    ]
    name_width = max(len(setting.name) for setting, _, _ in rows)
    for group in Group:
        yield f"# {group.value}"
        for setting, value, place in rows:
            if setting.group is group:
                yield f"{setting.name:<{name_width}}  {value:<24}  {place}"
        yield ""


def effective_json(settings: Settings, given: Mapping[str, Given]) -> str:
    """Return name -> value and where it was given; secrets hidden."""
    content = {
        setting.name: {
            "value": _shown(getattr(settings, setting.name)),
            "source": given[setting.name].kind.value if setting.name in given else Kind.DEFAULT.value,
            "place": given[setting.name].place if setting.name in given else None,
        }
        for setting in described(Settings)
    }
    return json.dumps(content, indent=2)


def markdown_page() -> str:
    """Return the page ``docs/settings.md``."""
    lines = [
        "# Settings",
        "",
        "<!-- Written by `relay config --markdown`; a test compares it with the code. -->",
        "",
        "A flag wins over an environment variable, that over a line of the file `.env` (the same variables), that over the",
        f"settings file, that over the default. The file is TOML: `--{FILE_FLAG} FILE`, or `{FILE_VARIABLE}`, or `{DEFAULT_FILE}`",
        "in the working directory if there is one; its keys are the names below, and a key that is no setting is an error.",
        "`relay config` prints what is in effect and where each value comes from; `relay config --example` writes a file to",
        "start from. The variable of a setting is its name in capitals after `RELAY_`, as in `RELAY_PORT`. Secrets have no flag:",
        "whoever may list processes could read it. Lists are separated by commas in variables; tables are JSON there.",
    ]
    for group in Group:
        lines += ["", f"## {group.value}", "", "| setting | flag | default | what it is | what it takes |"]
        lines += ["|---|---|---|---|---|"]
        for setting in described(Settings):
            if setting.group is group:
                lines.append("| " + " | ".join(_cells(setting)) + " |")
        for setting in described(Settings):
            if setting.group is group and setting.table is not None:
                lines += ["", f"Keys of each `[[{setting.name}]]`:", ""]
                lines += [
                    f"- `{name}`{'' if field.is_required() else ' (optional)'}: {field.description}"
                    for name, field in setting.table.model_fields.items()
                ]
    return "\n".join(lines) + "\n"


def example_file() -> str:
    """Return a settings file with every setting in it, as a comment, at its default."""
    lines = [
        f"# Settings of relay: {DEFAULT_FILE} in the working directory, or --{FILE_FLAG} FILE, or {FILE_VARIABLE}.",
        "# Remove the # before what you want to change. What is commented out is the default, or an example.",
    ]
    plain = [setting for setting in described(Settings) if setting.table is None]
    for group in Group:
        chosen = [setting for setting in plain if setting.group is group]
        lines += ["", f"# {group.value}"] if chosen else []
        for setting in chosen:
            lines += ["", *_comment(setting), f"# {setting.name} = {_toml(setting.example)}"]
    # Tables come last: in TOML, all that follows their heading is theirs.
    for setting in described(Settings):
        if setting.table is not None:
            lines += ["", *_comment(setting), f"# [[{setting.name}]]", *_table_lines(setting.table)]
    return "\n".join(lines) + "\n"


def _cells(setting: Described) -> Iterable[str]:
    yield f"`{setting.name}`"
    yield f"`{setting.flag}`" if setting.flag else "-"
    yield shown_default(setting)
    yield setting.about
    yield setting.expected


def _place(setting: Described, given: Mapping[str, Given]) -> str:
    if setting.name in given:
        return given[setting.name].place
    return f"default: {setting.unset}" if setting.unset else "default"


def _shown_text(value: Any, setting: Described) -> str:
    if value is None or value == ():
        return "-"
    shown = _shown(value)
    if setting.is_list:
        return ", ".join(shown)
    if isinstance(shown, bool | list):
        return json.dumps(shown)
    return f"{shown:g}" if isinstance(shown, float) else str(shown)


def _shown(value: Any) -> Any:
    """Return a value as JSON has it, without secrets."""
    if isinstance(value, SecretUrl):
        return redact_text(value.get_secret_value())
    if isinstance(value, SecretStr):
        return HIDDEN
    if isinstance(value, Table):
        return {
            name: HIDDEN
            if holds_secret(field) and getattr(value, name) is not None
            else _shown(getattr(value, name))
            for name, field in type(value).model_fields.items()
        }
    if isinstance(value, tuple):
        return [_shown(one) for one in value]
    # Any text may be a URL with a password in it.
    return redact_text(str(value)) if isinstance(value, str | Path) else value


def _comment(setting: Described) -> Iterable[str]:
    about = setting.about[0].upper() + setting.about[1:]
    unset = f" Unset: {setting.unset}." if setting.unset else ""
    yield f"# {about}.{unset}"
    yield f"# Takes {setting.expected}."


def _table_lines(table: type[Table]) -> Iterable[str]:
    for name, field in table.model_fields.items():
        yield f"# {name} = {_toml(example_of(field))}  # {field.description}"


def _toml(value: Any) -> str:
    # The plain values of settings are written alike in TOML and JSON.
    return json.dumps(str(value) if isinstance(value, Path) else value)
