"""A program that commits numbered lines of chat and prints ``kept`` and each number once it is acknowledged, until it is killed.

Arguments: the URL of the database, the first number.
"""

import os
import sys
from itertools import count

import trio
from store_records import AUDIT, event, line

from signaling.storage import AddAudit, AddChat, AddEvent
from signaling.storage.opening import open_store

SPEAKERS = 8


async def main(url: str, first: int) -> None:
    numbers = count(first)
    async with open_store(url) as store, trio.open_nursery() as nursery:

        async def speak() -> None:
            for seq in numbers:
                store.submit(AddEvent(event(seq)))
                await store.commit(AddChat(line(seq)), AddAudit(AUDIT))
                # One write, which cannot be killed half way: pipes take this much whole.
                os.write(1, b"kept %d\n" % seq)

        for _ in range(SPEAKERS):
            nursery.start_soon(speak)


trio.run(main, sys.argv[1], int(sys.argv[2]))
