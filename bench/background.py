"""Media that runs while something else happens to the relay: its latency before and during, and whether it lost any.

One publisher and its subscribers stand in a lobby of their own and are driven by the compiled loop. Other lobbies have
a publisher each, driven by a second loop without receivers: somebody to subscribe to for those who come.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from bench.generator import Generator, LoopResult, Run, Traffic
from bench.histogram import Int64Array, mean_ns, percentiles_ns
from bench.lobby import Peers, open_peers, random_lobby
from bench.peer import MediaPeer, PeerSettings
from bench.result import Latency
from bench.tables import Counter

SIZE_BYTES: Final = 120  # Opus at some 80 kbit/s
MAX_LATE_SHARE: Final = 0.001
FOR_EVER_S: Final = 30_000.0


@dataclass(frozen=True)
class Window:
    """Background media between two moments."""

    name: str
    delivered: int
    latency: Latency
    sent: int
    sent_late: int

    @property
    def disturbed(self) -> bool:
        """Whether the generator itself was late too often for its latencies to say much about the relay."""
        return self.sent_late > MAX_LATE_SHARE * max(self.sent, 1)


@dataclass(frozen=True)
class Lobby:
    """Somewhere to join: a lobby with a publisher that is sending."""

    settings: PeerSettings
    track_id: str


class Watch:
    """Reads the background from time to time. Several may, each with times of its own. Made by `Background.watch`."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._latencies = run.latencies()
        self._counts = self._count()

    def window(self, name: str) -> Window:
        """Return what happened since the last call, or since the watch was made."""
        latencies, counts = self._run.latencies(), self._count()
        passed = latencies - self._latencies
        delivered, sent, late = (now - before for now, before in zip(counts, self._counts, strict=True))
        self._latencies, self._counts = latencies, counts
        return Window(name, delivered, _summarize(passed), sent, late)

    def _count(self) -> tuple[int, int, int]:
        run = self._run
        return run.count(Counter.DELIVERED), run.count(Counter.SENT), run.count(Counter.LATE)


class Background:
    """Made by `open_background`."""

    def __init__(self, run: Run, lobbies: tuple[Lobby, ...]) -> None:
        self.lobbies = lobbies
        self._run = run
        self._result: LoopResult | None = None

    def watch(self) -> Watch:
        """Watch it from now on."""
        return Watch(self._run)

    @property
    def result(self) -> LoopResult:
        """After the scope: everything that was counted."""
        assert self._result is not None
        return self._result

    def finish(self, result: LoopResult) -> None:
        """Keep the result."""
        self._result = result


Connecting = Callable[[int], None]
"""Told how many peers are connected."""


@asynccontextmanager
async def open_background(
    settings: PeerSettings,
    *,
    subscribers: int,
    rate: float,
    lobbies: int,
    cpu: int | None,
    connecting: Connecting,
) -> AsyncGenerator[Background]:
    """Run media as long as the scope is open; then stop sending, let what is under way arrive, and count.

    The loops sleep when they have nothing to do: the core is also that of whoever joins. Raises: BenchError.
    """
    measured = replace(settings, lobby=random_lobby())
    others = tuple(replace(settings, lobby=random_lobby()) for _ in range(lobbies))
    async with _open_lobbies(measured, subscribers, others, connecting) as (peers, publishers):
        traffic = Traffic(rate, SIZE_BYTES, 0, FOR_EVER_S)
        senders = [peer.as_sender() for peer in publishers]
        with (
            Generator(
                [peer.as_sender() for peer in peers.publishers],
                [peer.as_receiver() for peer in peers.subscribers],
                cpu,
            ) as generator,
            Generator(senders, [], cpu) as speakers,
        ):
            async with (
                speakers.run(replace(traffic, rate=50.0), spin_ns=0) as others_run,
                generator.run(traffic, spin_ns=0) as run,
            ):
                tracks = (publisher.track_id for publisher in publishers)
                background = Background(run, tuple(map(Lobby, others, tracks)))
                yield background
                run.finish()
                others_run.finish()
                background.finish(await run.result())


@asynccontextmanager
async def _open_lobbies(
    measured: PeerSettings, subscribers: int, others: tuple[PeerSettings, ...], connecting: Connecting
) -> AsyncGenerator[tuple[Peers, list[MediaPeer]]]:
    publishers: list[MediaPeer] = []
    async with AsyncExitStack() as owned:
        peers = await owned.enter_async_context(open_peers(measured, 1, subscribers, connecting))
        for settings in others:
            lone = await owned.enter_async_context(open_peers(settings, 1, 0, lambda _count: None))
            publishers += lone.publishers
            connecting(1 + subscribers + len(publishers))
        yield peers, publishers


def _summarize(latencies: Int64Array) -> Latency:
    p50, p95, p99, p999, slowest = percentiles_ns(latencies, (50, 95, 99, 99.9, 100))
    return Latency(p50, p95, p99, p999, slowest, mean_ns(latencies))
