"""Column types that give back, from every database, exactly what was put in.

Text: PostgreSQL takes no NUL, and neither takes lone surrogates, which JSON from a client may hold; they are written as
an escape (U+001A SUBSTITUTE and four hexadecimal digits), as is that character itself.
Times: microseconds since 1970 in UTC, an integer: exact, sorted, and the same in every database and time zone.
JSON: text as well, for the JSON types of databases refuse NUL and change numbers.
"""

# ruff: noqa: ARG002 - SQLAlchemy hands the dialect over by position

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Integer, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

#: 64 bits everywhere; SQLite's INTEGER alone can be the row's own number.
BIG_INTEGER = BigInteger().with_variant(Integer(), "sqlite")

_ESCAPE = "\x1a"
_TO_ESCAPE = re.compile("[\0\x1a\ud800-\udfff]")
_ESCAPED = re.compile("\x1a([0-9a-f]{4})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def escape_text(text: str) -> str:
    """Return a text as databases take it."""
    return _TO_ESCAPE.sub(lambda found: f"{_ESCAPE}{ord(found[0]):04x}", text)


def unescape_text(kept: str) -> str:
    """Return what was given to ``escape_text``."""
    if _ESCAPE not in kept:
        return kept
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), kept)


class AnyText(TypeDecorator[str]):
    """Any ``str`` at all."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """See the module."""
        return None if value is None else escape_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """See the module."""
        return None if value is None else unescape_text(value)


class UtcTime(TypeDecorator[datetime]):
    """An aware ``datetime``, given back in UTC."""

    impl = BIG_INTEGER
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """See the module. Raises: TypeError for a time without a zone."""
        return None if value is None else (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """See the module."""
        return None if value is None else _EPOCH + value * _MICROSECOND


class Json(TypeDecorator[Any]):
    """What JSON can hold; None is NULL."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """See the module. Raises: TypeError, ValueError, RecursionError for what JSON cannot hold."""
        if value is None:
            return None
        # JSON escapes control characters itself, ours among them.
        return escape_text(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_as_json))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """See the module."""
        return None if value is None else json.loads(unescape_text(value))


def _as_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be kept as JSON")
