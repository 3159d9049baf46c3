"""Media in several lobbies: in each one peer sends and the others receive, driven by a compiled loop of the lobby's own."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from bench.background import FOR_EVER_S, SIZE_BYTES
from bench.generator import Generator, Receiver, Run, Sender, Traffic
from bench.tables import Counter


@dataclass(frozen=True)
class LobbyPeers:
    """Who sends in a lobby, and who receives. Their sockets and sessions are somebody else's, and outlive the media."""

    sender: Sender
    receivers: tuple[Receiver, ...]


@dataclass(frozen=True)
class MediaCounts:
    """Of all lobbies together, from the first packet to the last."""

    expected: int
    lost: int
    duplicated: int
    unprotect_failed: int
    sent_late: int


class LobbyMedia:
    """Made by `open_lobby_media`."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = runs

    def take_longest_gap_ns(self) -> int:
        """Return the longest time any receiver was without a packet, since the last call."""
        return max(run.take_longest_gap_ns() for run in self._runs)

    @property
    def delivered(self) -> int:
        """Packets so far."""
        return sum(run.count(Counter.DELIVERED) for run in self._runs)

    async def finish(self) -> MediaCounts:
        """Send nothing more, let what is under way arrive, and count."""
        for run in self._runs:
            run.finish()
        results = [await run.result() for run in self._runs]
        return MediaCounts(
            expected=sum(result.expected for result in results),
            lost=sum(result.lost for result in results),
            duplicated=sum(result.counters[Counter.DUPLICATED] for result in results),
            unprotect_failed=sum(result.counters[Counter.UNPROTECT_FAILED] for result in results),
            sent_late=sum(result.counters[Counter.LATE] for result in results),
        )


@asynccontextmanager
async def open_lobby_media(
    lobbies: Sequence[LobbyPeers], rate: float, cpu: int | None
) -> AsyncGenerator[LobbyMedia]:
    """Run media in all lobbies as long as the scope is open. The loops sleep when there is nothing to do."""
    async with AsyncExitStack() as owned:
        runs = []
        for peers in lobbies:
            generator = owned.enter_context(Generator([peers.sender], peers.receivers, cpu))
            traffic = Traffic(rate, SIZE_BYTES, 0, FOR_EVER_S)
            runs.append(await owned.enter_async_context(generator.run(traffic, spin_ns=0)))
        yield LobbyMedia(runs)
