"""People for `relay bench mix --what relay`: each with a WebSocket, ICE, DTLS and SRTP both ways, driven by one compiled loop."""

import secrets
import select
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import trio

from bench.compiled_peers import play_until_cancelled
from bench.errors import BenchError
from bench.lean_websocket import open_lean_session
from bench.lobby import random_lobby
from bench.machine import Pinning
from bench.mix_peers_loop import play_crowd
from bench.mix_shape import Shape
from bench.mix_sound import PayloadTable, payload_table
from bench.mix_tables import (
    CONSENT_SLOT_BYTES,
    CROWD_EVENTS,
    MIX_CROWD,
    MIX_PEER,
    PACKET_SLOT_BYTES,
    CrowdTally,
)
from bench.native import EPOLL_EVENT
from bench.offer import write_mixed_offer
from bench.peer import Connected, PeerSettings, connect_media, local_transport, open_srtp
from bench.progress import Phase
from media.native import TIMESPEC
from media.srtp import SrtpDirection, SrtpSession

CONCURRENT_JOINS: Final = 8
JOIN_TIMEOUT_S: Final = 60.0
CONSENT_NS: Final = 5_000_000_000

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class MixedPeer:
    """Somebody who is connected."""

    connected: Connected
    outbound: SrtpSession
    inbound: SrtpSession
    ssrc: int
    talks: bool


class MixedCrowd:
    """All of them, and the loop's memory; made by `open_mixed_crowd`. *Owns*: the epoll set and all arrays."""

    def __init__(self, peers: Sequence[MixedPeer], pinning: Pinning, table: PayloadTable) -> None:
        self._pinning = pinning
        self._keep = peers
        self._epoll = select.epoll()
        count = len(peers)
        self._peers: Array = np.zeros(count, MIX_PEER)
        self._tallies: Array = np.zeros(len(CrowdTally), np.int64)
        fds = [peer.connected.socket.fileno() for peer in peers]
        self._buffers: dict[str, Array] = {
            "peer_of_fd": np.zeros(max(fds) + 1, np.int64),
            "consents": np.zeros((count, CONSENT_SLOT_BYTES), np.uint8),
            "payloads": table.payloads,
            "payload_lengths": table.lengths,
            "events": np.zeros(CROWD_EVENTS, EPOLL_EVENT),
            "packet": np.zeros(PACKET_SLOT_BYTES, np.uint8),
            "length": np.zeros(1, np.int32),
            "clock": np.zeros(1, TIMESPEC),
        }
        talkers = 0
        for row, (peer, fd) in enumerate(zip(peers, fds, strict=True)):
            self._epoll.register(fd, select.EPOLLIN | select.EPOLLET)
            self._buffers["peer_of_fd"][fd] = row
            consent = np.frombuffer(peer.connected.consent, np.uint8)
            self._buffers["consents"][row, : consent.size] = consent
            record = self._peers[row]
            record["fd"], record["ssrc"] = fd, peer.ssrc
            record["send_session"], record["receive_session"] = peer.outbound.address, peer.inbound.address
            record["heard_sequence"], record["consent_length"] = -1, consent.size
            talkers += peer.talks
            table.give(record, talkers if peer.talks else None)
        self._crowd: Array = np.zeros(1, MIX_CROWD)
        fields: dict[str, int] = {
            "peers": self._peers.ctypes.data,
            "peer_count": count,
            "fd_count": max(fds) + 1,
            "total_payloads": table.lengths.size,
            "epoll_fd": self._epoll.fileno(),
            "tallies": self._tallies.ctypes.data,
            "consent_interval_ns": CONSENT_NS // count,
            **{name: array.ctypes.data for name, array in self._buffers.items()},
        }
        for name, value in fields.items():
            self._crowd[name] = value

    async def play(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Let all of them send and receive until cancelled."""
        await play_until_cancelled(play_crowd, self._crowd, self._pinning.client_cpu, task_status=task_status)

    def counts(self) -> dict[str, int]:
        """Read what was counted so far, racily."""
        told = {tally.name.lower(): int(self._tallies[tally]) for tally in CrowdTally}
        return told | {"gaps": int(self._peers["gaps"].sum())}

    def close(self) -> None:
        """Close the epoll set."""
        self._epoll.close()


def load_kernels() -> None:
    """Compile the loop, or load it from the cache. Blocks."""
    crowd, clock = np.zeros(1, MIX_CROWD), np.zeros(1, TIMESPEC)
    crowd["clock"] = clock.ctypes.data
    crowd["stopping"] = 1
    play_crowd(int(crowd.ctypes.data))


@asynccontextmanager
async def open_mixed_crowd(
    settings: PeerSettings, shape: Shape, pinning: Pinning, connecting: Phase
) -> AsyncGenerator[MixedCrowd]:
    """Connect everybody and let them send, as long as the scope is open. Raises: BenchError."""
    table = payload_table(shape.all_talkers)
    lobbies = [random_lobby() for _ in range(shape.lobbies)]
    peers: list[MixedPeer] = []
    with ExitStack() as owned:
        async with trio.open_nursery() as nursery:
            limiter = trio.CapacityLimiter(CONCURRENT_JOINS)

            async def start(lobby: str, name: str, talks: bool) -> None:
                async with limiter:
                    place = replace(settings, lobby=lobby)
                    peers.append(await nursery.start(_be_peer, place, name, talks, owned))
                connecting(len(peers))

            async with trio.open_nursery() as waiting:
                waiting.start_soon(_keep_consent, peers)
                async with trio.open_nursery() as starting:
                    for index in range(shape.all_participants):
                        place = index % shape.participants
                        lobby = lobbies[index // shape.participants]
                        starting.start_soon(start, lobby, f"peer {index}", place < shape.talkers)
                waiting.cancel_scope.cancel()
            crowd = MixedCrowd(peers, pinning, table)
            owned.callback(crowd.close)
            async with trio.open_nursery() as playing:
                await playing.start(crowd.play)
                yield crowd
                playing.cancel_scope.cancel()
            nursery.cancel_scope.cancel()


async def _keep_consent(peers: Sequence[MixedPeer]) -> None:
    """Renew consent for those that wait already, until the loop takes over."""
    while True:
        await trio.sleep(CONSENT_NS / 1e9)
        for peer in tuple(peers):
            with suppress(OSError):
                peer.connected.socket.send(peer.connected.consent)


async def _be_peer(
    settings: PeerSettings,
    name: str,
    talks: bool,
    owned: ExitStack,
    *,
    task_status: trio.TaskStatus[MixedPeer],
) -> None:
    """Join, publish a voice, take the mix; then keep the WebSocket until cancelled. `owned` closes socket and sessions."""
    try:
        async with open_lean_session(settings.url) as session:
            with trio.fail_after(JOIN_TIMEOUT_S):
                await session.request("join", lobby=settings.lobby, name=name)
                local, ssrc = local_transport(settings), secrets.randbelow(2**32 - 1) + 1
                answer = await session.request(
                    "offer",
                    sdp=write_mixed_offer(local, ssrc),
                    publish=[{"mid": "0", "source": "microphone"}],
                    subscribe=[{"mid": "1", "mix": True}],
                )
                for refused in answer["refused"]:
                    raise BenchError(f"the relay refused a section: {refused['error']}")
                connected = await connect_media(settings, local, answer["sdp"], owned)
            task_status.started(
                MixedPeer(
                    connected,
                    owned.enter_context(open_srtp(connected.keys, SrtpDirection.OUTBOUND)),
                    owned.enter_context(open_srtp(connected.keys, SrtpDirection.INBOUND)),
                    ssrc,
                    talks,
                )
            )
            await session.ended.wait()
            raise BenchError(f"the relay closed the WebSocket of {name}")
    except trio.TooSlowError:
        raise BenchError(f"{name} was not connected within {JOIN_TIMEOUT_S:g} s") from None
