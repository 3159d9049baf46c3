"""Visitors: they come, publish, subscribe, stay a while and leave, in order or in one of the ways clients really leave.

Most ways end in `cut`: the sockets are closed without a word, as by a process that is killed. `MUTE` keeps its
WebSocket open and answers nothing any more, as a machine does that lost its network.
"""

import random
import secrets
import socket
import struct
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from typing import Final

import trio

from bench.background import Lobby
from bench.errors import BenchError
from bench.joiner import join_speaking, receive_first
from bench.lean_websocket import open_lean_session
from bench.offer import PAYLOAD_TYPES
from bench.peer import Milestone, open_srtp
from media.srtp import SrtpDirection, SrtpSession

VISIT_TIMEOUT_S: Final = 60.0
MUTE_S: Final = 30.0
PACKET_INTERVAL_S: Final = 0.1
TRACKS_KNOWN: Final = 50
_PAYLOAD: Final = bytes(80)
_TICKS: Final = 4_800  # of 48 kHz, in PACKET_INTERVAL_S


class Departure(Enum):
    """How a visitor leaves; the weight is its share."""

    ORDERLY = "in order"
    CUT = "cut off"
    CUT_AT_JOIN = "cut off after the join reply"
    CUT_AT_ANSWER = "cut off after the answer"
    CUT_AT_ICE = "cut off amid DTLS"
    MUTE = "fell silent"


WEIGHTS: Final = {
    Departure.ORDERLY: 50,
    Departure.CUT: 20,
    Departure.CUT_AT_JOIN: 5,
    Departure.CUT_AT_ANSWER: 10,
    Departure.CUT_AT_ICE: 10,
    Departure.MUTE: 5,
}
_CUT_AT: Final = {
    Departure.CUT_AT_JOIN: Milestone.JOINED,
    Departure.CUT_AT_ANSWER: Milestone.ANSWERED,
    Departure.CUT_AT_ICE: Milestone.ICE,
}


@dataclass(frozen=True)
class Plan:
    """What one visitor is going to do."""

    departure: Departure
    stay_s: float


def plan_visit(dice: random.Random, mean_stay_s: float) -> Plan:
    """Draw a way to leave and how long to stay until then."""
    (departure,) = dice.choices(list(WEIGHTS), list(WEIGHTS.values()))
    return Plan(departure, dice.expovariate(1 / mean_stay_s))


@dataclass
class Tally:
    """What became of all the visits."""

    left: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    inside: int = 0
    tracks: dict[str, list[str]] = field(default_factory=dict)
    """By lobby, the tracks of visitors, some of whom may have gone: subscribing to those happens too."""


async def visit(lobby: Lobby, plan: Plan, dice: random.Random, tally: Tally) -> None:
    """Make one visit; one that fails is counted, not raised."""
    tally.inside += 1
    try:
        with trio.fail_after(VISIT_TIMEOUT_S), trio.CancelScope() as cut, ExitStack() as owned:
            await _visit(lobby, plan, dice, tally, cut, owned)
        tally.left[plan.departure.value] += 1
    except BenchError as error:
        tally.failures[str(error)] += 1
    except trio.TooSlowError:
        tally.failures[f"not done within {VISIT_TIMEOUT_S:g} s"] += 1
    finally:
        tally.inside -= 1


async def _visit(
    lobby: Lobby, plan: Plan, dice: random.Random, tally: Tally, cut: trio.CancelScope, owned: ExitStack
) -> None:
    def note(milestone: Milestone) -> None:
        if milestone is _CUT_AT.get(plan.departure):
            cut.cancel()

    known = tally.tracks.setdefault(lobby.settings.lobby, [])
    async with open_lean_session(lobby.settings.url) as session:
        tracks = [lobby.track_id, *dice.sample(known, min(2, len(known)))]
        name = f"visitor {secrets.token_hex(2)}"
        speaker = await join_speaking(
            session, lobby.settings, name, owned, tracks, note, forgive_unknown_tracks=True
        )
        known.append(speaker.track_id)
        del known[:-TRACKS_KNOWN]
        await receive_first(speaker.connected, owned)
        voice = owned.enter_context(open_srtp(speaker.connected.keys, SrtpDirection.OUTBOUND))
        with trio.move_on_after(plan.stay_s):
            await _speak(speaker.connected.socket, voice, speaker.ssrc, PAYLOAD_TYPES[lobby.settings.kind])
        if plan.departure is Departure.MUTE:
            session.muted = True
            with trio.move_on_after(MUTE_S):
                await session.ended.wait()
        if plan.departure is not Departure.ORDERLY:
            cut.cancel()
            await trio.lowlevel.checkpoint()


async def _speak(media: socket.socket, voice: SrtpSession, ssrc: int, payload_type: int) -> None:
    """Send packets until cancelled."""
    for sequence in count(secrets.randbelow(2**16)):
        timestamp = sequence * _TICKS & 0xFFFFFFFF
        header = struct.pack("!BBHII", 0x80, payload_type, sequence & 0xFFFF, timestamp, ssrc)
        with suppress(BlockingIOError, ConnectionRefusedError):
            media.send(voice.protect(header + _PAYLOAD))
        await trio.sleep(PACKET_INTERVAL_S)
