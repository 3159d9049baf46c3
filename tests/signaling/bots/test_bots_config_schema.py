"""Config schemas: the subset means what JSON Schema means, costs little whatever it is made of, and the rest is refused."""

from collections.abc import Callable
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signaling.bots.config_schema import (
    ANY,
    MAX_CONFIG_BYTES,
    MAX_DEPTH,
    MAX_SCHEMA_BYTES,
    ConfigSchema,
    check_size,
)
from signaling.bots.errors import BotConfigError, BotError, InvalidSchemaError
from voicebot import ChatBot

NAMES = st.sampled_from(["a", "b", "c"])
SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, "", "a", "ab"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
TYPES = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
COUNTS = st.integers(0, 3)


def _schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES | st.lists(TYPES, min_size=1, max_size=2, unique=True),
            "enum": st.lists(VALUES, min_size=1, max_size=3),
            "const": VALUES,
            "properties": st.dictionaries(NAMES, inner, max_size=2),
            "required": st.lists(NAMES, max_size=2, unique=True),
            "additionalProperties": inner,
            "items": inner,
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "oneOf": st.lists(inner, min_size=1, max_size=2),
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "minItems": COUNTS,
            "maxItems": COUNTS,
            "minLength": COUNTS,
            "maxLength": COUNTS,
            "minimum": st.integers(-3, 3),
            "maximum": st.integers(-3, 3),
            "exclusiveMinimum": st.integers(-3, 3),
            "exclusiveMaximum": st.integers(-3, 3),
            "title": st.just("for people"),
        },
    )


SCHEMAS = st.recursive(st.booleans() | _schemas(st.booleans()), _schemas, max_leaves=4)


def _fault(check: Callable[[], None]) -> BotError | None:
    try:
        check()
    except BotError as error:
        return error
    return None


@settings(max_examples=150, deadline=None)
@given(schema=SCHEMAS.filter(lambda schema: isinstance(schema, dict)), value=VALUES)
def test_it_agrees_with_json_schema(schema: dict[str, Any], value: Any) -> None:
    whole = {"type": "object", "properties": {"value": schema}, "required": ["value"]}
    config = {"value": value}
    expected = jsonschema_rs.Draft202012Validator(whole).is_valid(config)
    fault = _fault(lambda: ConfigSchema(whole).check(config))
    assert (fault is None) == expected, fault
    if fault is not None:
        assert str(fault.field).startswith("config")


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        SCALARS,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["type", "properties", "items", "$ref", "enum", "pattern", "anyOf", "minimum"]
                ),
                inner,
                max_size=3,
            )
        ),
        max_leaves=8,
    ).filter(lambda value: isinstance(value, dict))
)
def test_anything_is_a_schema_or_refused_with_its_place(schema: dict[str, Any]) -> None:
    fault = _fault(lambda: ConfigSchema(schema).check({"a": 1}))
    if isinstance(fault, InvalidSchemaError):
        assert str(fault.field).startswith("config_schema")


@pytest.mark.parametrize(
    ("schema", "field"),
    [
        ({"pattern": "(a+)+$"}, "config_schema.pattern"),
        ({"properties": {"a": {"format": 1, "if": {}}}}, "config_schema.properties.a.if"),
        ({"$ref": "http://example.org/schema"}, "config_schema.$ref"),
        ({"$ref": "#/$defs/none"}, "config_schema.$ref"),
        ({"type": "text"}, "config_schema.type"),
        ({"items": 7}, "config_schema.items"),
        ({"required": "a"}, "config_schema.required"),
        ({"minLength": -1}, "config_schema.minLength"),
        ({"anyOf": []}, "config_schema.anyOf"),
    ],
)
def test_what_is_not_checked_is_refused(schema: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidSchemaError) as refused:
        ConfigSchema(schema)
    assert refused.value.field == field


def test_references_are_followed_and_circles_end() -> None:
    tree = ConfigSchema(
        {
            "$ref": "#/$defs/node",
            "$defs": {"node": {"type": "object", "additionalProperties": {"$ref": "#/$defs/node"}}},
        }
    )
    tree.check({"a": {"b": {}}})
    with pytest.raises(BotConfigError, match=r"config\.a\.b"):
        tree.check({"a": {"b": 1}})
    circle = ConfigSchema({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}})
    with pytest.raises(BotConfigError, match="deep"):
        circle.check({})


def test_a_check_costs_a_bounded_number_of_steps() -> None:
    """Each level of this small schema makes the work four times as much."""
    definitions = {f"d{number}": {"anyOf": [{"$ref": f"#/$defs/d{number + 1}"}] * 4} for number in range(6)}
    definitions["d6"] = {"type": "null"}
    bomb = ConfigSchema({"$ref": "#/$defs/d0", "$defs": definitions})
    with pytest.raises(BotConfigError, match=r"steps|deep"):
        bomb.check({})


def test_deep_and_large_schemas_are_refused() -> None:
    deep: Any = True
    for _ in range(MAX_DEPTH + 2):
        deep = {"items": deep}
    with pytest.raises(InvalidSchemaError, match="deep"):
        ConfigSchema(deep)
    with pytest.raises(InvalidSchemaError, match="longer"):
        ConfigSchema({"title": "x" * MAX_SCHEMA_BYTES})


def test_configs_that_cannot_be_sent_are_refused() -> None:
    check_size({"a": [1, None, "é"]})
    for config in (
        {"a": float("nan")},
        {"a": object()},
        {"a": "x" * MAX_CONFIG_BYTES},
    ):
        with pytest.raises(BotConfigError):
            check_size(config)


def test_errors_repeat_little_of_what_was_sent() -> None:
    schema = ConfigSchema({"properties": {"a": {"enum": ["x" * 1000]}}, "additionalProperties": False})
    for config in ({"a": 1}, {"y" * 1000: 1}):
        with pytest.raises(BotConfigError) as refused:
            schema.check(config)
        assert len(str(refused.value)) < 200


def test_any_takes_anything_and_the_chat_bots_schema_is_one() -> None:
    ANY.check({"a": [{}]})
    ConfigSchema(ChatBot.config_schema).check({"greeting": "hello"})
    with pytest.raises(BotConfigError):
        ConfigSchema(ChatBot.config_schema).check({"greetings": "hello"})
