"""All the peers of a run in one lobby of the relay, connected a few at a time and kept until the scope ends."""

import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import trio

from bench.peer import MediaPeer, PeerSettings, publish, subscribe

CONCURRENT_HANDSHAKES: Final = 8  # more would only queue up, at the server and in our own single-threaded TLS
CONSENT_INTERVAL_S: Final = 5.0


@dataclass(frozen=True)
class Peers:
    """Everyone, connected."""

    publishers: tuple[MediaPeer, ...]
    subscribers: tuple[MediaPeer, ...]

    @property
    def all(self) -> tuple[MediaPeer, ...]:
        """Publishers and subscribers."""
        return (*self.publishers, *self.subscribers)


Progress = Callable[[int], None]
"""Told how many peers are connected."""


def random_lobby() -> str:
    """Return the name of a lobby nobody else is in."""
    return f"bench-{secrets.token_hex(4)}"


@asynccontextmanager
async def open_peers(
    settings: PeerSettings, publishers: int, subscribers: int, progress: Progress
) -> AsyncGenerator[Peers]:
    """Connect `publishers`, then `subscribers` who each take every track. Leaving the scope says goodbye for all.

    Raises: BenchError, or what `voicebot` raises, for the first peer that fails; the others are closed.
    """
    with ExitStack() as owned:  # around the nursery: whatever uses the sockets has ended when they are closed
        async with trio.open_nursery() as nursery:
            yield await _connect_all(nursery, owned, settings, publishers, subscribers, progress)
            nursery.cancel_scope.cancel()


async def _connect_all(
    nursery: trio.Nursery,
    owned: ExitStack,
    settings: PeerSettings,
    publishers: int,
    subscribers: int,
    progress: Progress,
) -> Peers:
    connected: list[MediaPeer] = []

    async def start_all(be_peer: Sequence[Callable[..., Awaitable[Any]]]) -> tuple[MediaPeer, ...]:
        limiter = trio.CapacityLimiter(CONCURRENT_HANDSHAKES)
        peers: dict[int, MediaPeer] = {}

        async def start(index: int) -> None:
            async with limiter:
                peer: MediaPeer = await nursery.start(be_peer[index])
            peers[index] = peer
            connected.append(peer)
            progress(len(connected))

        async with trio.open_nursery() as starting:
            for index in range(len(be_peer)):
                starting.start_soon(start, index)
        return tuple(peers[index] for index in range(len(be_peer)))

    async with trio.open_nursery() as waiting:
        waiting.start_soon(_keep_consent, connected)
        senders = await start_all(
            [partial(publish, settings, owned, f"publisher {i}") for i in range(publishers)]
        )
        tracks = [sender.track_id for sender in senders]
        receivers = await start_all(
            [partial(subscribe, settings, owned, f"subscriber {i}", tracks) for i in range(subscribers)]
        )
        waiting.cancel_scope.cancel()
    return Peers(senders, receivers)


async def _keep_consent(connected: Sequence[MediaPeer]) -> None:
    """Renew consent for the peers that already wait, until the compiled loop takes over."""
    while True:
        await trio.sleep(CONSENT_INTERVAL_S)
        for peer in tuple(connected):
            with suppress(BlockingIOError):
                peer.socket.send(peer.consent)
