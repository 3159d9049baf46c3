"""One client on its way into a lobby: WebSocket, join, offer, ICE, DTLS, the first packet; each step is noted.

It takes the shortest way a client can take, so that what is measured is the relay and not the client: requests go out
as soon as the reply before them is there, and the session is a lean one.
"""

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from time import monotonic_ns
from typing import Any, Final

import pylibsrtp
import trio

from bench.errors import BenchError
from bench.lean_websocket import LeanSession, open_lean_session
from bench.offer import write_speaking_offer, write_subscribing_offer
from bench.peer import (
    DATAGRAM_BYTES,
    Connected,
    Milestone,
    Note,
    PeerSettings,
    connect_media,
    ignore,
    local_transport,
    open_srtp,
)
from media.srtp import SrtpDirection
from signaling.messages import ErrorCode

JOIN_TIMEOUT_S: Final = 60.0


@dataclass
class Attempt:
    """One try to join, and when it got where. *Units*: nanoseconds of CLOCK_MONOTONIC."""

    began_ns: int = field(default_factory=monotonic_ns)
    reached_ns: dict[Milestone, int] = field(default_factory=dict)

    def note(self, milestone: Milestone) -> None:
        """Remember that it has got there just now."""
        self.reached_ns[milestone] = monotonic_ns()

    @property
    def total_ns(self) -> int:
        """From opening the WebSocket to the first packet."""
        return self.reached_ns[Milestone.MEDIA] - self.began_ns

    def phase_ns(self, milestone: Milestone) -> int:
        """What this step took."""
        steps = list(Milestone)
        before = steps.index(milestone) - 1
        return self.reached_ns[milestone] - (self.began_ns if before < 0 else self.reached_ns[steps[before]])


@dataclass
class Attempts:
    """Those that got in, and what the others failed of."""

    joined: list[Attempt] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def made(self) -> int:
        """How many have ended, either way."""
        return len(self.joined) + self.failures.total()


@dataclass(frozen=True)
class Speaker:
    """A peer that publishes a track."""

    connected: Connected
    ssrc: int
    track_id: str


async def try_join(settings: PeerSettings, name: str, track_id: str, attempts: Attempts) -> None:
    """Join, hear the first packet, leave in order; an attempt that fails is counted, not raised."""
    attempt = Attempt()
    try:
        with trio.fail_after(JOIN_TIMEOUT_S):
            async with open_lean_session(settings.url) as session:
                attempt.note(Milestone.OPENED)
                with ExitStack() as owned:
                    await join_listening(session, settings, name, [track_id], owned, attempt.note)
                    attempts.joined.append(attempt)
    except BenchError as error:
        attempts.failures[str(error)] += 1
    except trio.TooSlowError:
        last = [*attempt.reached_ns, None][-1]
        where = "the beginning" if last is None else last.value
        attempts.failures[f"no media within {JOIN_TIMEOUT_S:g} s; it got as far as {where}"] += 1


async def join_listening(
    session: LeanSession,
    settings: PeerSettings,
    name: str,
    track_ids: Sequence[str],
    owned: ExitStack,
    note: Note = ignore,
) -> Connected:
    """Join the lobby and receive these tracks; return when the first packet has been decrypted. Raises: BenchError."""
    connected = await join_subscribing(session, settings, name, track_ids, owned, note)
    await receive_first(connected, owned)
    note(Milestone.MEDIA)
    return connected


async def join_subscribing(
    session: LeanSession,
    settings: PeerSettings,
    name: str,
    track_ids: Sequence[str],
    owned: ExitStack,
    note: Note = ignore,
) -> Connected:
    """Join the lobby and subscribe to these tracks; return when DTLS is done. Raises: BenchError."""
    await session.request("join", lobby=settings.lobby, name=name)
    note(Milestone.JOINED)
    local = local_transport(settings)
    offer = write_subscribing_offer(local, settings.kind, len(track_ids))
    answer = await _ask(session, offer, None, dict(enumerate(track_ids)))
    note(Milestone.ANSWERED)
    return await connect_media(settings, local, answer["sdp"], owned, note)


async def join_speaking(
    session: LeanSession,
    settings: PeerSettings,
    name: str,
    owned: ExitStack,
    track_ids: Sequence[str] = (),
    note: Note = ignore,
    *,
    forgive_unknown_tracks: bool = False,
) -> Speaker:
    """Join the lobby, publish a track and subscribe to these; return when DTLS is done.

    Raises: BenchError, also when the relay refuses a section; `forgive_unknown_tracks`: not because its track has gone.
    """
    await session.request("join", lobby=settings.lobby, name=name)
    note(Milestone.JOINED)
    local, ssrc = local_transport(settings), secrets.randbelow(2**32 - 1) + 1
    offer = write_speaking_offer(local, settings.kind, ssrc, len(track_ids))
    answer = await _ask(session, offer, "0", dict(enumerate(track_ids, start=1)), forgive_unknown_tracks)
    note(Milestone.ANSWERED)
    connected = await connect_media(settings, local, answer["sdp"], owned, note)
    return Speaker(connected, ssrc, answer["published"][0]["track_id"])


async def _ask(
    session: LeanSession,
    offer: str,
    publish: str | None,
    subscribe: Mapping[int, str],
    forgive_unknown_tracks: bool = False,
) -> dict[str, Any]:
    wanted = [{"mid": str(mid), "track_id": track_id} for mid, track_id in subscribe.items()]
    given = [] if publish is None else [{"mid": publish, "source": "microphone"}]
    answer = await session.request("offer", sdp=offer, publish=given, subscribe=wanted)
    for refused in answer["refused"]:
        if not (forgive_unknown_tracks and refused["code"] == ErrorCode.UNKNOWN_TRACK):
            raise BenchError(f"the relay refused a section: {refused['error']}")
    return answer


async def receive_first(connected: Connected, owned: ExitStack) -> None:
    """Wait for one packet of media that decrypts.

    One that does not may be for who had this port before: the relay sends to a client that fell silent until consent ends.
    """
    srtp = owned.enter_context(open_srtp(connected.keys, SrtpDirection.INBOUND))
    media = trio.socket.from_stdlib_socket(connected.socket)
    while True:
        packet = await media.recv(DATAGRAM_BYTES)
        if is_rtp(packet):
            with suppress(pylibsrtp.Error):
                srtp.unprotect(packet)
                return


def is_rtp(packet: bytes) -> bool:
    """Whether a datagram is media, and neither STUN, DTLS nor RTCP (RFC 7983, RFC 5761 section 4)."""
    return len(packet) > 12 and 128 <= packet[0] < 192 and not 192 <= packet[1] < 224
