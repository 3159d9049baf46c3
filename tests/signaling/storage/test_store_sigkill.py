"""Whatever was acknowledged is there after SIGKILL at any moment."""

import random
import re
import subprocess
import sys
from pathlib import Path

import trio
from store_waits import chat_of

from signaling.storage.opening import open_store

PROGRAM = Path(__file__).with_name("committing_program.py")
ROUNDS = 8


async def test_nothing_acknowledged_is_lost_by_sigkill(sqlite_url):
    chance = random.Random(4)
    acknowledged: set[int] = set()
    first = 1
    with trio.fail_after(120):
        for _ in range(ROUNDS):
            read = await acknowledged_until_killed(sqlite_url, first, lines=chance.randrange(1, 200))
            assert read
            acknowledged |= read
            async with open_store(sqlite_url) as store:
                kept = await chat_of(store)
                entries = await store.audit_before(before=None, limit=10_000)
            assert acknowledged <= set(kept)
            # A call's changes are kept together.
            assert len(entries) == len(kept)
            first = kept[-1] + 1


async def acknowledged_until_killed(url: str, first: int, *, lines: int) -> set[int]:
    """Kill the program as soon as it has printed so many lines; return all that it has printed."""
    program = await trio.lowlevel.open_process(
        [sys.executable, PROGRAM, url, str(first)], stdout=subprocess.PIPE
    )
    said = b""
    async for chunk in program.stdout:
        said += chunk
        if said.count(b"kept ") >= lines and program.returncode is None:
            program.kill()
    assert await program.wait() == -9
    return {int(number) for number in re.findall(rb"^kept (\d+)$", said, re.MULTILINE)}
