"""What the config of a provider's bots may be: a subset of JSON Schema (2020-12), checked within fixed bounds.

Schemas come from providers and configs from those who ask for bots: neither may cost the server time. So there are no
regular expressions, no remote references, and a check takes a bounded number of steps, whatever the two are made of. A
schema that uses what is not in the subset is refused when the provider registers, not ignored: a rule that is not
checked is worse than none. The subset holds what pydantic writes for models of plain fields.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from signaling.bots.errors import BotConfigError, InvalidSchemaError

MAX_SCHEMA_BYTES = 16 * 1024
MAX_CONFIG_BYTES = 16 * 1024
#: Of a schema, and of a check (references can nest what a schema does not).
MAX_DEPTH = 16
#: A schema applied to a value, or two values compared: some 10 ms in all.
MAX_STEPS = 5_000
#: How much of somebody's own text an error may repeat.
_MAX_ECHO_LENGTH = 60

_REFERENCE = "#/$defs/"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: dict[str, Callable[[object], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: (
        (isinstance(value, int) and not isinstance(value, bool))
        or (isinstance(value, float) and value.is_integer())
    ),
    "number": _is_number,
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, Mapping),
}


def _is_schema(value: object) -> bool:
    return isinstance(value, bool | Mapping)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_type(value: object) -> bool:
    names = value if isinstance(value, list) else [value]
    return bool(names) and all(isinstance(name, str) and name in _TYPES for name in names)


#: keyword -> whether its value is one that can be checked, and what it must be.
_KEYWORDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "type": (_is_type, f"one of {', '.join(_TYPES)}, or a list of them"),
    "enum": (lambda value: isinstance(value, list), "a list"),
    "const": (lambda _: True, "any value"),
    "properties": (lambda value: isinstance(value, Mapping), "an object of schemas"),
    "required": (
        lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
        "a list of names",
    ),
    "additionalProperties": (_is_schema, "a schema"),
    "items": (_is_schema, "a schema"),
    "anyOf": (lambda value: isinstance(value, list) and bool(value), "a list of schemas"),
    "oneOf": (lambda value: isinstance(value, list) and bool(value), "a list of schemas"),
    "allOf": (lambda value: isinstance(value, list) and bool(value), "a list of schemas"),
    "$ref": (
        lambda value: isinstance(value, str) and value.startswith(_REFERENCE),
        "a reference such as #/$defs/voice",
    ),
    "$defs": (lambda value: isinstance(value, Mapping), "an object of schemas"),
    "minItems": (_is_count, "a count"),
    "maxItems": (_is_count, "a count"),
    "minLength": (_is_count, "a count"),
    "maxLength": (_is_count, "a count"),
    "minimum": (_is_number, "a number"),
    "maximum": (_is_number, "a number"),
    "exclusiveMinimum": (_is_number, "a number"),
    "exclusiveMaximum": (_is_number, "a number"),
}
#: What says something to people, or to those who make forms of it, and decides nothing.
_ANNOTATIONS = frozenset(
    {
        *("$schema", "$id", "$comment", "title", "description", "default", "examples", "format"),
        *("deprecated", "readOnly", "writeOnly"),
    }
)
#: keyword -> what is wrong with a number that fails it.
_NUMBER_RULES: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "minimum": (lambda value, limit: value >= limit, "must be at least"),
    "maximum": (lambda value, limit: value <= limit, "must be at most"),
    "exclusiveMinimum": (lambda value, limit: value > limit, "must be more than"),
    "exclusiveMaximum": (lambda value, limit: value < limit, "must be less than"),
}


class ConfigSchema:
    """See the module."""

    def __init__(self, schema_untrusted: Mapping[str, Any]) -> None:
        """Take a schema over.

        Raises: InvalidSchemaError, whose ``field`` is the place in the schema.
        """
        if _size(schema_untrusted) > MAX_SCHEMA_BYTES:
            raise InvalidSchemaError(
                f"the config schema is longer than {MAX_SCHEMA_BYTES} bytes", field="config_schema"
            )
        self.schema = schema_untrusted
        definitions = schema_untrusted.get("$defs")
        self._definitions = definitions if isinstance(definitions, Mapping) else {}
        self._inspect(schema_untrusted, "config_schema", 0)

    def check(self, config_untrusted: Mapping[str, Any]) -> None:
        """Return if the config fits.

        Raises: BotConfigError, whose ``field`` is the place in the config.
        """
        _Check(self.schema, self._definitions).apply(self.schema, config_untrusted, "config", 0)

    def _inspect(self, schema: Any, place: str, depth: int) -> None:
        if isinstance(schema, bool):
            return
        if not isinstance(schema, Mapping):
            raise InvalidSchemaError(f"{place} must be a schema: an object, true or false", field=place)
        if depth > MAX_DEPTH:
            raise InvalidSchemaError(f"{place} is nested more than {MAX_DEPTH} deep", field=place)
        for keyword, value in schema.items():
            where = f"{place}.{keyword[:_MAX_ECHO_LENGTH]}"
            if keyword in _ANNOTATIONS:
                continue
            if keyword not in _KEYWORDS:
                known = ", ".join(sorted(_KEYWORDS))
                raise InvalidSchemaError(
                    f"{where}: this keyword is not checked here; use only {known}", field=where
                )
            is_right, expected = _KEYWORDS[keyword]
            if not is_right(value):
                raise InvalidSchemaError(f"{where} must be {expected}", field=where)
            self._inspect_inside(keyword, value, where, depth + 1)

    def _inspect_inside(self, keyword: str, value: Any, place: str, depth: int) -> None:
        if keyword in {"properties", "$defs"}:
            for name, inner in value.items():
                self._inspect(inner, f"{place}.{name[:_MAX_ECHO_LENGTH]}", depth)
        elif keyword in {"anyOf", "oneOf", "allOf"}:
            for number, inner in enumerate(value):
                self._inspect(inner, f"{place}.{number}", depth)
        elif keyword in {"items", "additionalProperties"}:
            self._inspect(value, place, depth)
        elif keyword == "$ref" and value.removeprefix(_REFERENCE) not in self._definitions:
            raise InvalidSchemaError(f"{place}: there is no such definition in $defs", field=place)


def check_size(config_untrusted: Mapping[str, Any]) -> None:
    """Return if the config is one that can be sent to a provider.

    Raises: BotConfigError.
    """
    try:
        size = _size(config_untrusted)
    except (TypeError, ValueError, RecursionError) as error:
        raise BotConfigError(f"the config is not JSON: {error}", field="config") from None
    if size > MAX_CONFIG_BYTES:
        raise BotConfigError(f"the config is longer than {MAX_CONFIG_BYTES} bytes", field="config")


class _Check:
    """One check of one config, and what it may still cost."""

    def __init__(self, schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> None:
        self._schema = schema
        self._definitions = definitions
        self._steps = 0

    def apply(self, schema: Any, value: Any, place: str, depth: int) -> None:
        self._spend(place)
        if depth > MAX_DEPTH:
            raise _TooCostlyError(f"{place}: the schema leads more than {MAX_DEPTH} deep here", field=place)
        if schema is True:
            return
        if schema is False:
            _fail(place, "is not expected here")
        if "$ref" in schema:
            self.apply(self._definitions[schema["$ref"].removeprefix(_REFERENCE)], value, place, depth + 1)
        self._check_type(schema, value, place)
        self._check_values(schema, value, place)
        self._check_alternatives(schema, value, place, depth)
        if isinstance(value, Mapping):
            self._check_object(schema, value, place, depth)
        elif isinstance(value, list):
            _check_length(schema, value, place, "minItems", "maxItems", "entries")
            if "items" in schema:
                for number, inner in enumerate(value):
                    self.apply(schema["items"], inner, f"{place}.{number}", depth + 1)
        elif isinstance(value, str):
            _check_length(schema, value, place, "minLength", "maxLength", "characters")
        elif _is_number(value):
            for keyword, (holds, words) in _NUMBER_RULES.items():
                if keyword in schema and not holds(value, schema[keyword]):
                    _fail(place, f"{words} {schema[keyword]}")

    def _spend(self, place: str) -> None:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise _TooCostlyError(
                f"{place}: to check this config against its schema takes more than {MAX_STEPS} steps: "
                "send a smaller one",
                field=place,
            )

    def _check_type(self, schema: Mapping[str, Any], value: Any, place: str) -> None:
        if "type" in schema:
            names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
            if not any(_TYPES[name](value) for name in names):
                _fail(place, f"must be of the type {' or '.join(names)}")

    def _check_values(self, schema: Mapping[str, Any], value: Any, place: str) -> None:
        if "enum" in schema and not any(self._same(each, value, place) for each in schema["enum"]):
            _fail(place, f"must be one of {_shown(schema['enum'])}")
        if "const" in schema and not self._same(schema["const"], value, place):
            _fail(place, f"must be {_shown(schema['const'])}")

    def _check_alternatives(self, schema: Mapping[str, Any], value: Any, place: str, depth: int) -> None:
        for inner in schema.get("allOf", ()):
            self.apply(inner, value, place, depth + 1)
        if "anyOf" in schema and not any(self._fits(each, value, place, depth) for each in schema["anyOf"]):
            _fail(place, "fits none of the alternatives")
        if "oneOf" in schema:
            fitting = sum(self._fits(each, value, place, depth) for each in schema["oneOf"])
            if fitting != 1:
                _fail(place, f"must fit exactly one of the alternatives, not {fitting or 'none'}")

    def _fits(self, schema: Any, value: Any, place: str, depth: int) -> bool:
        try:
            self.apply(schema, value, place, depth + 1)
        except _TooCostlyError:
            raise
        except BotConfigError:
            return False
        return True

    def _check_object(
        self, schema: Mapping[str, Any], value: Mapping[str, Any], place: str, depth: int
    ) -> None:
        for name in schema.get("required", ()):
            if name not in value:
                _fail(f"{place}.{name[:_MAX_ECHO_LENGTH]}", "is missing")
        properties = schema.get("properties", {})
        others = schema.get("additionalProperties", True)
        for name, inner in value.items():
            self.apply(properties.get(name, others), inner, f"{place}.{name[:_MAX_ECHO_LENGTH]}", depth + 1)

    def _same(self, one: Any, other: Any, place: str) -> bool:
        """Compare as JSON does: 1 and 1.0 are the same, 1 and true are not."""
        self._spend(place)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            return one.keys() == other.keys() and all(
                self._same(one[name], other[name], place) for name in one
            )
        if isinstance(one, list) and isinstance(other, list):
            return len(one) == len(other) and all(
                self._same(*pair, place) for pair in zip(one, other, strict=True)
            )
        return bool(isinstance(one, bool) == isinstance(other, bool) and one == other)


class _TooCostlyError(BotConfigError):
    """No alternative makes up for this."""


def _check_length(
    schema: Mapping[str, Any], value: str | list[Any], place: str, least: str, most: str, what: str
) -> None:
    if len(value) < schema.get(least, 0):
        _fail(place, f"must have at least {schema[least]} {what}")
    if most in schema and len(value) > schema[most]:
        _fail(place, f"must have at most {schema[most]} {what}")


def _fail(place: str, fault: str) -> NoReturn:
    raise BotConfigError(f"`{place}` {fault}", field=place)


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_ECHO_LENGTH else text[:_MAX_ECHO_LENGTH] + "…"


def _size(value: Mapping[str, Any]) -> int:
    return len(json.dumps(value, allow_nan=False, ensure_ascii=False).encode("utf-8", "surrogatepass"))


#: Takes everything.
ANY = ConfigSchema({})
