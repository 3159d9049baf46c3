"""Thin clients that say lines of chat, each of which is timed to every participant of its lobby, its author included."""

import socket
from itertools import cycle
from time import monotonic_ns
from typing import Final

from bench.thin_clients import LATE_NS, PROBE_DIGITS, Client, Stage, ThinClients, request

#: The text of our lines, after which PROBE_DIGITS digits say when the line was sent.
PROBE: Final = b'"text":"bench '


class Chatters(ThinClients[Client]):
    """See the module."""

    def chat(self, lines_per_second: float, seconds: float, drain_s: float) -> None:
        """Say lines at this rate, in one lobby after the other, each by another of its members; then wait for all."""
        start = monotonic_ns()
        interval = 1e9 / lines_per_second
        speakers = [cycle(tuple(members)) for members in self._members if members]
        turns = cycle(speakers)
        for number in range(round(lines_per_second * seconds)):
            due = start + int(number * interval)
            while not self._stopped and monotonic_ns() < due:
                self._turn(due)
            if self._stopped or not speakers:
                return
            self.tally.asked_late += monotonic_ns() - due > LATE_NS
            self._say(next(next(turns)))
        self._wait_until(lambda: self.tally.delivered >= self.tally.expected, drain_s)

    def _make_client(self, opened: socket.socket, lobby: int, began_ns: int) -> Client:
        return Client(opened, lobby, began_ns)

    def _hear(self, client: Client, message: bytes, now_ns: int) -> None:  # noqa: ARG002 - whoever it is
        found = message.find(PROBE)
        if found >= 0:
            start = found + len(PROBE)
            self.tally.latency_ns.append(now_ns - int(message[start : start + PROBE_DIGITS]))
            self.tally.delivered += 1
        elif message.startswith(b'{"type":"error"'):
            self.tally.refused += 1

    def _say(self, client: Client) -> None:
        if client.stage is not Stage.JOINED:
            return
        members = self._members[client.lobby]
        self.tally.asked += 1
        self.tally.expected += sum(member.stage is Stage.JOINED for member in members)
        self._send(client, request("chat", {"text": f"bench {monotonic_ns():0{PROBE_DIGITS}}"}))
