"""Puts an old file into a store: all of it that can be, in one commit, or nothing."""

import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime

from signaling.identifiers import new_id
from signaling.legacy.plan import ImportPlan, Planner
from signaling.legacy.sessions_file import LegacyFile
from signaling.storage import Store


def plain_name_key(name: str) -> str:
    """Return what a name is compared by: NFKC, case folded, one space between words."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def most_changes(old: LegacyFile) -> int:
    """Return how many changes a file can become: the store's queue must have room for them, as they are one commit."""
    chat = sum(len(lobby.chat) for lobby in old.lobbies)
    return len(old.sessions) + len(old.lobbies) + len(old.names) + chat


async def import_into(
    store: Store,
    old: LegacyFile,
    *,
    dry_run: bool = False,
    name_key: Callable[[str], str] = plain_name_key,
    now: datetime | None = None,
) -> ImportPlan:
    """Return what was imported, or would be; all is durable on return.

    The service must not run on the same database: its memory would not have what is imported.

    Raises: StoreUnavailableError; then nothing was imported, or, if only the answer was lost, all: import again.
    """
    planner = Planner(await store.load(), now=now or datetime.now(UTC), name_key=name_key, new_id=new_id)
    plan = planner.plan(old)
    if plan.changes and not dry_run:
        await store.commit(*plan.changes)
    return plan
