"""What is known of one setting beside its type: for errors, flags, the page and the example file.

A setting is one line in the table of ``signaling.settings``; all that shows or reads settings walks that table.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic.fields import FieldInfo

ENVIRONMENT_PREFIX = "RELAY_"


class Group(StrEnum):
    """Headings under which settings are shown."""

    NETWORK = "Network"
    MEDIA = "Media"
    LIMITS = "Limits and patience"
    ACCESS = "Access"
    STORAGE = "Storage"
    SERVICES = "Other services"
    TELEPHONY = "Telephony"
    LOGS = "Logs"


class SecretUrl(SecretStr):
    """A URL whose password is secret and whose other parts may be shown."""


class Table(BaseModel):
    """Base of settings that are tables in the file, such as ``[[webhooks]]``."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Described:
    """What the table says of one setting."""

    name: str
    group: Group
    #: What it is.
    about: str
    #: What values it takes: what an error calls "expected".
    expected: str
    #: Its flag, such as ``--port``; None: it has none, as secrets have none, for anybody may list processes. Database
    #: URLs have one: most hold no password.
    flag: str | None
    #: A variable of others' making that it is taken from as well, when its own is not set.
    also: str
    #: What happens when it is not set, where that is not a value.
    unset: str
    default: Any
    #: A value for the example file, where the default is none.
    example: Any
    is_secret: bool
    is_switch: bool
    is_list: bool
    #: The model of its tables, when it is a list of them.
    table: type[Table] | None

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return ENVIRONMENT_PREFIX + self.name.upper()


def setting(
    group: Group,
    default: Any,
    about: str,
    expected: str,
    *,
    flag: str = "",
    also: str = "",
    unset: str = "",
    **bounds: Any,
) -> Any:
    """Return the field of one setting; ``bounds`` are pydantic's (``ge``, ``le``, ``min_length``, ...).

    ``flag`` is for flags that do not have the setting's own name, ``also`` for a variable that other programs know too.
    """
    extra: dict[str, Any] = {"group": group.value, "flag": flag, "also": also, "unset": unset}
    return Field(default, title=about, description=expected, json_schema_extra=extra, **bounds)


network = partial(setting, Group.NETWORK)
media = partial(setting, Group.MEDIA)
limit = partial(setting, Group.LIMITS)
access = partial(setting, Group.ACCESS)
storage = partial(setting, Group.STORAGE)
service = partial(setting, Group.SERVICES)
telephony = partial(setting, Group.TELEPHONY)
log = partial(setting, Group.LOGS)


def described(model: type[BaseModel]) -> tuple[Described, ...]:
    """Return what the table says of each of its settings, group by group."""
    order = list(Group)
    found = [_describe(name, field) for name, field in model.model_fields.items()]
    return tuple(sorted(found, key=lambda one: order.index(one.group)))


def holds_secret(field: FieldInfo) -> bool:
    """Tell whether the values of a field must not be shown."""
    return bool({SecretStr, SecretUrl} & _kinds(field.annotation))


def example_of(field: FieldInfo) -> Any:
    """Return a value to show: the one the table gives, or the default; of a secret an empty one, which is refused."""
    if field.examples:
        return field.examples[0]
    return "" if field.is_required() or field.default is None else field.default


def _describe(name: str, field: FieldInfo) -> Described:
    extra = field.json_schema_extra
    assert isinstance(extra, dict), name
    kinds = _kinds(field.annotation)
    tables = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Table)]
    is_secret = holds_secret(field)
    return Described(
        name=name,
        group=Group(str(extra["group"])),
        about=field.title or "",
        expected=field.description or "",
        flag=(str(extra["flag"]) or "--" + name.replace("_", "-"))
        if SecretStr not in kinds and not tables
        else None,
        also=str(extra["also"]),
        unset=str(extra["unset"]),
        default=field.default,
        example=example_of(field),
        is_secret=is_secret,
        is_switch=bool in kinds,
        is_list=tuple in kinds and not tables,
        table=tables[0] if tables else None,
    )


def _kinds(annotation: Any) -> set[Any]:
    """Return all types that an annotation such as ``tuple[str, ...] | None`` is made of."""
    found = {annotation, getattr(annotation, "__origin__", None)}
    for part in get_args(annotation):
        found |= _kinds(part)
    return found
