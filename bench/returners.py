"""Clients whose TCP connections are all cut at once, and who take their sessions back.

One client of each lobby, a witness, is not cut: it goes on chatting, so that there is something to miss. The others are
away for a while, reconnect all at once, send `resume` with the number of the last event they got, and must then hear
exactly those after it.
"""

import json
import socket
import struct
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from time import monotonic_ns
from typing import Final
from urllib.parse import SplitResult

from bench.numbered_clients import NumberedClient, NumberedClients, probe_text, probed_ns
from bench.thin_clients import LATE_NS, Stage, request

_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a RST
_MEDIA_CLOSED: Final = b'{"type":"media_state","data":{"state":"closed"'
_ERROR: Final = b'{"type":"error",'


class Returner(NumberedClient):
    """One of them. Without a token, a witness."""

    __slots__ = ("participant_id", "token")

    def __init__(
        self, opened: socket.socket, lobby: int, began_ns: int, token: str = "", participant_id: str = ""
    ) -> None:
        super().__init__(opened, lobby, began_ns)
        self.token = token
        self.participant_id = participant_id


@dataclass
class ReturnTally:
    """What became of them. Read by another thread while it grows."""

    cut: int = 0
    cut_ns: int = 0  # when; 0: not yet
    resumed: int = 0
    not_replayed: int = 0  # resumed, but with a snapshot instead of what was missed
    media_lost: int = 0  # resumed without media, or told later that it has closed
    missed: int = 0  # events that had happened when they came back, and were to be replayed
    resume_ns: "array[int]" = field(default_factory=lambda: array("q"))  # connect() to the reply to `resume`
    refusals: Counter[str] = field(default_factory=Counter)


class Returners(NumberedClients[Returner]):
    """See the module. Witnesses join by `open`, the others are adopted."""

    def __init__(self, url: SplitResult, lobbies: list[str]) -> None:
        super().__init__(url, lobbies)
        self.returns = ReturnTally()
        self._away: list[Returner] = []
        self._cut_at_ns = self._back_at_ns = 0

    def act(self, rate: float, seconds: float, *, cut_at_s: float, away_s: float, drain_s: float) -> None:
        """Chat at this rate, one lobby after the other; meanwhile cut all but the witnesses, and let them come back."""
        start = monotonic_ns()
        self._cut_at_ns = start + int(cut_at_s * 1e9)
        self._back_at_ns = self._cut_at_ns + int(away_s * 1e9)
        speakers = self._turns()
        for number in range(round(rate * seconds)):
            due = start + int(number * 1e9 / rate)
            while not self._stopped and monotonic_ns() < due:
                self._turn(due)
            if self._stopped:
                return
            self.tally.asked_late += monotonic_ns() - due > LATE_NS
            self._say(next(speakers))
        self._wait_until(self._all_are_back_and_level, drain_s)

    # What `ThinClients` asks for.

    def _make_client(self, opened: socket.socket, lobby: int, began_ns: int) -> Returner:
        return Returner(opened, lobby, began_ns)

    def _enter(self, client: Returner, joined: bytes) -> None:
        client.seq = int(json.loads(joined)["data"]["seq"])

    def _read_greeting(self, client: Returner, message: bytes, now: int) -> None:
        if not client.token:
            super()._read_greeting(client, message, now)
        elif message.startswith(b'{"type":"welcome"'):
            place = {"participant_id": client.participant_id, "last_seq": client.seq}
            self._send(client, request("resume", {"resume_token": client.token, **place}))
        elif message.startswith(b'{"type":"resumed"'):
            self._take_back(client, message, now)
        elif message.startswith(_ERROR):
            error = json.loads(message)["data"]
            self._lose(client, f"{error['code']}: {error['error']}")

    def _hear(self, client: Returner, message: bytes, now_ns: int) -> None:
        if self._check_number(client, message):
            asked_ns = probed_ns(message, b"text")
            # What is replayed is as old as the cut: its age says nothing about the relay.
            if asked_ns and not client.is_own(asked_ns) and asked_ns > client.began_ns:
                self.tally.latency_ns.append(now_ns - asked_ns)
        elif message.startswith(_MEDIA_CLOSED):
            self.returns.media_lost += 1
        elif message.startswith(_ERROR):
            self.tally.refused += 1
            self.returns.refusals[json.loads(message)["data"]["code"]] += 1

    def _do_chores(self, now_ns: int) -> None:
        if self._cut_at_ns and now_ns >= self._cut_at_ns:
            self._cut_at_ns = 0
            self._cut_all()
        if self._away and now_ns >= self._back_at_ns:
            away, self._away = self._away, []
            for member in away:
                self._reconnect(member)

    # Speaking.

    def _turns(self) -> Iterator[Returner]:
        """Return who speaks, without end: lobby after lobby; a member, or the witness of one that is away."""
        rounds = cycle([cycle(members) for members in self._members if members])
        return (self._who_can(next(members)) for members in rounds)

    def _who_can(self, member: Returner) -> Returner:
        return member if member.lives else self._members[member.lobby][-1]

    def _say(self, member: Returner) -> None:
        if member.lives:
            self.tally.asked += 1
            self._send(member, request("chat", {"text": probe_text(member.asks())}, self.tally.asked + 1))

    # Going and coming back.

    def _cut_all(self) -> None:
        """Close all sockets without a word of the WebSocket: half of them by RST, half by FIN."""
        for member in list(self._clients.values()):
            if not member.token:
                continue
            del self._clients[member.socket.fileno()]
            if len(self._away) % 2:
                member.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            member.socket.close()
            member.stage = Stage.UPGRADING
            self._away.append(member)
        self.returns.cut = len(self._away)
        self.returns.cut_ns = monotonic_ns()

    def _reconnect(self, member: Returner) -> None:
        member.socket, member.rest, member.began_ns = self._new_socket(), b"", monotonic_ns()
        self._start(member)

    def _take_back(self, member: Returner, message: bytes, now_ns: int) -> None:
        resumed = json.loads(message)["data"]
        self.returns.resumed += 1
        self.returns.resume_ns.append(now_ns - member.began_ns)
        self.returns.media_lost += resumed["media_state"] != "connected"
        self._opening -= 1
        member.stage = Stage.JOINED
        last = max(other.seq for other in self._members[member.lobby])
        if resumed["replayed"]:
            self.returns.missed += last - member.seq
        else:
            self.returns.not_replayed += 1
            shown = member.seq if resumed["lobby"] is None else int(resumed["lobby"]["seq"])
            self.numbers.lost += shown - member.seq
            member.seq = shown

    def _all_are_back_and_level(self) -> bool:
        back = not self._away and not self._cut_at_ns and self._opening == 0
        return back and self._all_are_level()
