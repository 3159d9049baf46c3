"""Long lists, a page at a time: in the order of their ids, so that a page goes on where the last one ended.

An id that is gone is as good a mark as one that is there. What is new may come in anywhere, as ids are random.
"""

import heapq
from collections.abc import Callable, Iterable
from typing import Annotated, TypeVar

from fastapi import Query

from signaling.messages.model import MAX_ID_LENGTH

Item = TypeVar("Item")

DEFAULT_LIMIT = 50
MAX_LIMIT = 200

After = Annotated[
    str,
    Query(max_length=MAX_ID_LENGTH, description="`next` of the page before; the first page without it"),
]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="how many at most")]


def page_of(
    items: Iterable[Item], id_of: Callable[[Item], str], *, after: str, limit: int
) -> tuple[list[Item], str | None]:
    """Return up to ``limit`` items whose ids come after this one, and what to ask for next (None: that was all)."""
    behind = (item for item in items if id_of(item) > after)
    found = heapq.nsmallest(limit + 1, behind, key=id_of)
    return found[:limit], id_of(found[limit - 1]) if len(found) > limit else None
