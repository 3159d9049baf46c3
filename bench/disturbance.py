"""What keeps the relay's Trio thread busy while media is measured: clients that negotiate without a pause.

An offer of many sections is the dearest request there is for its size: parsed, matched and answered in Python, on the
thread that also does ICE, DTLS and every other session. The sessions stand in a lobby of their own and send no media.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

import trio

from bench.lean_websocket import open_lean_session
from bench.lobby import random_lobby
from bench.offer import write_subscribing_offer
from bench.peer import PeerSettings, local_transport

SESSIONS: Final = 8  # each waits for its answer: enough that one is always to be made
SECTIONS: Final = 40


@dataclass
class Disturbance:
    """How much of it there was."""

    answers: int = 0


@asynccontextmanager
async def keep_trio_busy(settings: PeerSettings) -> AsyncGenerator[Disturbance]:
    """Negotiate as fast as the relay answers, as long as the scope is open; it begins with the first answers there."""
    disturbance = Disturbance()
    apart = replace(settings, lobby=random_lobby())
    async with trio.open_nursery() as nursery:
        for index in range(SESSIONS):
            await nursery.start(_negotiate, apart, f"busy {index}", disturbance)
        yield disturbance
        nursery.cancel_scope.cancel()


async def _negotiate(
    settings: PeerSettings,
    name: str,
    disturbance: Disturbance,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    offer = write_subscribing_offer(local_transport(settings), settings.kind, SECTIONS)
    async with open_lean_session(settings.url) as session:
        await session.request("join", lobby=settings.lobby, name=name)
        await session.request("offer", sdp=offer)
        task_status.started()
        while True:
            await session.request("offer", sdp=offer)
            disturbance.answers += 1
