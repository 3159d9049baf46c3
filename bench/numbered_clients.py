"""Thin clients that check the number of every event of their lobby.

The number grows by one. A member that misses a number has lost an event; one that sees a number again has got it twice.
"""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic_ns
from typing import Final, TypeVar
from urllib.parse import SplitResult

from bench.lean_websocket import EVENT_NUMBER
from bench.thin_clients import PROBE_DIGITS, Client, Stage, ThinClients

#: Texts and names of ours, after which PROBE_DIGITS digits say when they were sent.
PROBE_WORD: Final = "bench"


class NumberedClient(Client):
    """One of them."""

    __slots__ = ("own_ns", "seq")

    def __init__(self, opened: socket.socket, lobby: int, began_ns: int) -> None:
        super().__init__(opened, lobby, began_ns)
        self.seq = 0  # of the last event
        self.own_ns: set[int] = set()  # when it asked for events that it has not heard of yet

    def asks(self) -> int:
        """Note that it asks for an event now; return when that is."""
        asked_ns = monotonic_ns()
        self.own_ns.add(asked_ns)
        return asked_ns

    def is_own(self, asked_ns: int) -> bool:
        """Tell whether an event is the one it asked for then; it is heard of once."""
        if asked_ns not in self.own_ns:
            return False
        self.own_ns.discard(asked_ns)
        return True

    @property
    def lives(self) -> bool:
        """Whether it is to hear everything now."""
        return self.stage is Stage.JOINED


Numbered = TypeVar("Numbered", bound=NumberedClient)


@dataclass
class NumberTally:
    """What the numbers say."""

    events: int = 0  # received by those who live
    lost: int = 0  # numbers skipped, or not reached by the end
    duplicated: int = 0


class NumberedClients(ThinClients[Numbered]):
    """See the module."""

    def __init__(self, url: SplitResult, lobbies: list[str]) -> None:
        super().__init__(url, lobbies)
        self.numbers = NumberTally()

    def settle_accounts(self) -> None:
        """Count as lost what a member has not got that another of its lobby has; nothing more is asked for."""
        for lobby in range(len(self._members)):
            live = self._living(lobby)
            last = max((member.seq for member in live), default=0)
            self.numbers.lost += sum(last - member.seq for member in live)

    def _check_number(self, member: Numbered, message: bytes) -> bool:
        """Tell whether a message is an event of the lobby; then its number is checked."""
        found = EVENT_NUMBER.search(message)
        if found is None:
            return False
        seq = int(found[1])
        self.numbers.events += 1
        if seq <= member.seq:
            self.numbers.duplicated += 1
        else:
            self.numbers.lost += seq - member.seq - 1
            member.seq = seq
        return True

    def _all_are_level(self) -> bool:
        """Whether all that live have heard as much as the others of their lobby."""
        lobbies = range(len(self._members))
        return all(len({member.seq for member in self._living(lobby)}) <= 1 for lobby in lobbies)

    def _living(self, lobby: int) -> Sequence[Numbered]:
        return [member for member in self._members[lobby] if member.lives]


def probe_text(asked_ns: int) -> str:
    """Return a text or a name that says when it was sent."""
    return f"{PROBE_WORD} {asked_ns:0{PROBE_DIGITS}}"


def probed_ns(message: bytes, field: bytes) -> int:
    """Return what `probe_text` was given, whose text is the value of `field`; 0 when it is not there."""
    probe = b'"%s":"%s ' % (field, PROBE_WORD.encode())
    found = message.find(probe)
    start = found + len(probe)
    return int(message[start : start + PROBE_DIGITS]) if found >= 0 else 0
