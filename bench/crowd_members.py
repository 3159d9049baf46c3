"""The crowd's clients: they chat, change names and mute, check the number of every event, and some of them go bad.

Each event that is asked for here is timed from just before the `send` of whoever asks
to just after the `recv` of every other member that lives.
"""

import json
import re
import select
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle
from time import monotonic_ns
from typing import Final
from urllib.parse import SplitResult

from bench.numbered_clients import NumberedClient, NumberedClients, probe_text, probed_ns
from bench.slowness import Slowness, cut_off, narrow, slowness_of
from bench.thin_clients import LATE_NS, Stage, request

#: Chat above all, and now and then a new name or a microphone that is muted.
ACTIONS: Final = ("chat", "chat", "chat", "chat", "set_name", "chat", "chat", "chat", "chat", "mute")
CHORE_INTERVAL_NS: Final = 500_000_000
CONSENT_CHORES: Final = 10  # chores from one consent check to the next: five seconds
SLOW_READ_BYTES: Final = 16  # at each chore
HISTORY_LINES: Final = 100

_JOINED_SEQ: Final = re.compile(rb'"seq":(\d+)\},"re":\d+\}$')
_CHAT: Final = b'{"type":"chat",'
_RENAMED: Final = b'{"type":"participant_updated",'
_TRACK_UPDATED: Final = b'{"type":"track_updated",'
_ERROR: Final = b'{"type":"error",'


class Member(NumberedClient):
    """One client of the crowd."""

    __slots__ = ("consent", "media", "muted", "slowness", "track_id")

    def __init__(self, opened: socket.socket, lobby: int, began_ns: int, slowness: Slowness | None) -> None:
        super().__init__(opened, lobby, began_ns)
        self.slowness = slowness
        self.track_id = ""
        self.muted = False
        self.media: socket.socket | None = None
        self.consent = b""

    @property
    def lives(self) -> bool:
        """Whether it is to hear everything."""
        return self.stage is Stage.JOINED and self.slowness is None


@dataclass(frozen=True)
class Farewell:
    """How the connection of a slow member ended, as that member found out once it read."""

    slowness: Slowness
    told: str


@dataclass
class CrowdTally:
    """Beside the `Tally` of all thin clients, and what the numbers say."""

    refusals: dict[str, int] = field(default_factory=dict)
    done: dict[str, int] = field(default_factory=dict)  # asked for, by kind
    farewells: list[Farewell] = field(default_factory=list)


class CrowdMembers(NumberedClients[Member]):
    """See the module. The first `slow` that `open` connects go bad when `act` begins."""

    def __init__(self, url: SplitResult, lobbies: list[str], slow: int) -> None:
        super().__init__(url, lobbies)
        self.counts = CrowdTally()
        self._slow_to_make = slow
        self._made = 0
        self._slow: list[Member] = []
        self._only_reading = False
        self._next_chore_ns = 0
        self._chores = 0
        self._requests = 1
        self._waiting: dict[int, int] = {}  # request -> those who shall hear of it
        self._muted_ns: dict[tuple[str, bool], int] = {}  # track, to what -> when that was asked for

    # What they do. Each returns when it is done or stopped.

    def act(self, rate: float, seconds: float, drain_s: float) -> None:
        """Let some go bad and the others ask for events at this rate, one lobby after the other; then wait for all."""
        self._go_bad()
        actors = self._turns()
        start = monotonic_ns()
        for number in range(round(rate * seconds)):
            due = start + int(number * 1e9 / rate)
            while not self._stopped and monotonic_ns() < due:
                self._turn(due)
            if self._stopped:
                return
            self.tally.asked_late += monotonic_ns() - due > LATE_NS
            self._ask(ACTIONS[number % len(ACTIONS)], next(actors))
        self._wait_until(
            lambda: self.tally.delivered >= self.tally.expected and self._all_are_level(), drain_s
        )

    def hear_out(self, patience_s: float) -> None:
        """Let the slow members read all there is, up to the server's last words.

        They answer no ping on the way: the server's system would reset the closed connection, and drop what it still has.
        """
        self._only_reading = True
        for member in self._slow:
            if member.stage is not Stage.LOST and member.slowness is not Slowness.VANISHED:
                self._epoll.register(member.socket.fileno(), select.EPOLLIN)
        readers = [member for member in self._slow if member.slowness is not Slowness.VANISHED]
        self._wait_until(lambda: all(member.stage is Stage.LOST for member in readers), patience_s)
        for member in self._slow:
            if member.slowness is Slowness.VANISHED:
                self.counts.farewells.append(Farewell(member.slowness, "nothing can reach it"))
            elif member.slowness is not None and member.stage is not Stage.LOST:
                self.counts.farewells.append(Farewell(member.slowness, "nothing"))

    # What `ThinClients` asks for.

    def _make_client(self, opened: socket.socket, lobby: int, began_ns: int) -> Member:
        slowness = slowness_of(self._made) if self._made < self._slow_to_make else None
        self._made += 1
        if slowness is not None:
            narrow(opened)
        return Member(opened, lobby, began_ns, slowness)

    def _enter(self, client: Member, joined: bytes) -> None:
        found = _JOINED_SEQ.search(joined)
        if found is not None:
            client.seq = int(found[1])

    def _hear(self, client: Member, message: bytes, now_ns: int) -> None:
        if client.slowness is not None:
            return
        if self._check_number(client, message):
            self._time(client, message, now_ns)
        elif message.startswith(_ERROR):
            error = json.loads(message)
            self.tally.refused += 1
            self.tally.expected -= self._waiting.pop(error.get("re"), 0)
            code = error["data"]["code"]
            self.counts.refusals[code] = self.counts.refusals.get(code, 0) + 1

    def _do_chores(self, now_ns: int) -> None:
        if now_ns < self._next_chore_ns:
            return
        self._next_chore_ns = now_ns + CHORE_INTERVAL_NS
        self._chores += 1
        for member in self._slow:
            if member.stage is not Stage.JOINED:
                continue
            if member.slowness is Slowness.SLOW:
                self._receive(member, SLOW_READ_BYTES)
            elif member.slowness is Slowness.GREEDY:
                with suppress(OSError):  # what it hears of the end is found out when it reads
                    member.socket.send(request("chat_history", {"limit": HISTORY_LINES}))
        if self._chores % CONSENT_CHORES == 0:
            for member in self._clients.values():
                if member.media is not None:
                    with suppress(OSError):
                        member.media.send(member.consent)

    def _send(self, client: Member, data: bytes) -> None:
        if not (self._only_reading and client.slowness is not None):
            super()._send(client, data)

    def _lose(self, client: Member, reason: str) -> None:
        if client.slowness is not None and client in self._slow and client.stage is not Stage.LOST:
            self.counts.farewells.append(Farewell(client.slowness, reason))
            client.stage = Stage.LOST
            del self._clients[client.socket.fileno()]
            client.socket.close()
        else:
            super()._lose(client, reason)

    # Events.

    def _time(self, member: Member, message: bytes, now_ns: int) -> None:
        asked_ns = self._asked_ns(message)
        if asked_ns and not member.is_own(asked_ns):
            self.tally.latency_ns.append(now_ns - asked_ns)
            self.tally.delivered += 1

    def _asked_ns(self, message: bytes) -> int:
        """Return when this event was asked for; 0 when it was not by us."""
        if message.startswith(_CHAT):
            return probed_ns(message, b"text")
        if message.startswith(_RENAMED):
            return probed_ns(message, b"name")
        if message.startswith(_TRACK_UPDATED):
            track = json.loads(message)["data"]["track"]
            return self._muted_ns.get((track["track_id"], track["muted"]), 0)
        return 0

    # Acting.

    def _turns(self) -> Iterator[Member]:
        """Return who acts, without end: lobby after lobby, member after member."""
        live = [self._living(lobby) for lobby in range(len(self._members))]
        rounds = cycle([cycle(members) for members in live if members])
        return (next(members) for members in rounds)

    def _ask(self, action: str, member: Member) -> None:
        if action == "mute":
            member = self._publisher_beside(member)
            action = "mute" if member.track_id else "chat"
        if not member.lives:
            return
        others = len(self._living(member.lobby)) - 1
        self.tally.asked += 1
        self.tally.expected += others
        self.counts.done[action] = self.counts.done.get(action, 0) + 1
        self._requests += 1
        self._waiting[self._requests] = others
        asked_ns = member.asks()
        text = probe_text(asked_ns)
        data: dict[str, object] = {"name": text} if action == "set_name" else {"text": text}
        if action == "mute":
            member.muted = not member.muted
            self._muted_ns[member.track_id, member.muted] = asked_ns
            data = {"track_id": member.track_id, "muted": member.muted}
        self._send(member, request(action, data, self._requests))

    def _publisher_beside(self, member: Member) -> Member:
        return next((other for other in self._members[member.lobby] if other.track_id), member)

    # Going bad.

    def _go_bad(self) -> None:
        self._slow = [each for each in self._clients.values() if each.slowness and each.stage is Stage.JOINED]
        for member in self._slow:
            self._epoll.unregister(member.socket.fileno())
            if member.slowness is Slowness.VANISHED:
                cut_off(member.socket)

    @property
    def slow(self) -> Sequence[Member]:
        """Those that went bad."""
        return self._slow
