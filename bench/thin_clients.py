"""Thousands of WebSocket clients in one thread: non-blocking sockets, one epoll, as much of RFC 6455 as they need.

A client here is a few fields, not an object of a library: the server is what is measured, and its clients must cost
less than it does. Frames are told apart by their headers. Of what they carry, only three things are looked at here: the
welcome and the reply to `join`, the payload of a ping, which is answered, and the close frame. What is done with all
others is the subclass's affair: `chatters.py`, `crowd_members.py`.

Everything here runs in one thread and is steered from another by `stop` and by reading the counters.
"""

import json
import os
import select
import socket
from abc import ABC, abstractmethod
from array import array
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import cycle
from time import monotonic_ns
from typing import Final, Generic, Self, TypeVar
from urllib.parse import SplitResult

from bench.errors import BenchError

RECEIVE_BYTES: Final = 64 * 1024
EVENTS: Final = 512
LONGEST_WAIT_S: Final = 0.05  # so that `stop` is noticed
MAX_OPENING: Final = 512  # connections under way at once: beyond, the schedule waits for the server
PROBE_DIGITS: Final = 20
"""Of the time at which an event was asked for, which the event carries."""

LATE_NS: Final = 5_000_000
"""Behind the schedule by more is late."""

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA


class Stage(Enum):
    """How far a client is."""

    UPGRADING = auto()  # TCP is connecting, or the server has not accepted the WebSocket yet
    GREETED = auto()  # it has; the welcome or the reply to `join` is awaited
    JOINED = auto()
    LOST = auto()


class Client:
    """One connection."""

    __slots__ = ("began_ns", "lobby", "rest", "socket", "stage")

    def __init__(self, opened: socket.socket, lobby: int, began_ns: int) -> None:
        self.socket = opened
        self.lobby = lobby
        self.began_ns = began_ns
        self.stage = Stage.UPGRADING
        self.rest = b""  # of a frame that has not come whole


Member = TypeVar("Member", bound=Client)


@dataclass
class Tally:
    """What has happened so far; read by the other thread while it grows."""

    opened: int = 0  # sockets
    joined: int = 0
    failed: int = 0  # before they had joined
    lost: int = 0  # after
    pings: int = 0
    asked: int = 0  # lines of chat, and other things of which others are told
    asked_late: int = 0  # more than LATE_NS behind the schedule
    expected: int = 0  # deliveries of these
    delivered: int = 0
    refused: int = 0  # error replies
    reasons: dict[str, int] = field(default_factory=dict)  # of failures and losses
    upgraded_ns: "array[int]" = field(default_factory=lambda: array("q"))  # connect() to welcome
    joined_ns: "array[int]" = field(default_factory=lambda: array("q"))  # connect() to the reply to `join`
    latency_ns: "array[int]" = field(
        default_factory=lambda: array("q")
    )  # from asking for an event to receiving it
    idle_ns: int = 0  # time in which there was nothing to do

    def note(self, reason: str) -> None:
        """Count the reason of a failure or a loss."""
        self.reasons[reason] = self.reasons.get(reason, 0) + 1


class ThinClients(ABC, Generic[Member]):
    """See the module. A context manager: leaving it closes every socket."""

    def __init__(self, url: SplitResult, lobbies: list[str]) -> None:
        self.tally = Tally()
        self._lobbies = lobbies
        self._address, self._family = _resolve(url)
        self._request = _upgrade_request(url)
        self._members: list[list[Member]] = [[] for _ in lobbies]
        self._clients: dict[int, Member] = {}
        self._opening = 0
        self._epoll = select.epoll()
        self._stopped = False
        self._arrived: deque[Member] = deque()
        self._adopted = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in tuple(self._clients.values()):
            with suppress(OSError):  # a polite end, so that the server keeps no session to be resumed
                client.socket.send(masked(CLOSE, (1000).to_bytes(2)))
            client.socket.close()
        self._epoll.close()

    def stop(self) -> None:
        """Let whatever runs, and all that would run after it, return soon; from any thread."""
        self._stopped = True

    def adopt(self, client: Member) -> None:
        """Take one more, who has joined by other means; called from another thread.

        *Owns* nothing: its socket must outlive all that is done here.
        """
        self._arrived.append(client)

    # What a subclass adds.

    @abstractmethod
    def _make_client(self, opened: socket.socket, lobby: int, began_ns: int) -> Member:
        """Make a client of a socket that is about to connect."""

    @abstractmethod
    def _hear(self, client: Member, message: bytes, now_ns: int) -> None:
        """Take a message to a client that has joined."""

    def _enter(self, client: Member, joined: bytes) -> None:
        """Take the reply to `join`."""

    def _do_chores(self, now_ns: int) -> None:
        """Do what is due besides; called often."""

    # What they do. Each returns when it is done or stopped.

    def open(self, count: int, rate: float, patience_s: float) -> None:
        """Open `count` connections at `rate` a second; each joins the next lobby. Waits until all have or failed."""
        start = monotonic_ns()
        interval = 1e9 / rate
        lobbies = cycle(range(len(self._lobbies)))
        while not self._stopped and self.tally.opened < count:
            due = start + int(self.tally.opened * interval)
            if self._opening < MAX_OPENING and due <= monotonic_ns():
                self._connect(next(lobbies))
            self._turn(due if self._opening < MAX_OPENING else 0)
        self._wait_until(lambda: self._opening == 0, patience_s)

    def await_adopted(self, count: int, patience_s: float) -> None:
        """Answer pings until so many have been adopted."""
        self._wait_until(lambda: self._adopted == count, patience_s)

    def listen(self, seconds: float) -> None:
        """Answer pings for so long."""
        self._wait_until(lambda: False, seconds)

    # One turn of the loop.

    def _wait_until(self, condition: Callable[[], bool], seconds: float) -> None:
        deadline = monotonic_ns() + int(seconds * 1e9)
        while not self._stopped and monotonic_ns() < deadline and not condition():
            self._turn(deadline)

    def _turn(self, until_ns: int) -> None:
        """Serve what has arrived; wait for it no longer than `until_ns` (0: any time)."""
        began = monotonic_ns()
        left_s = (until_ns - began) / 1e9 if until_ns else LONGEST_WAIT_S
        events = self._epoll.poll(max(0.0, min(left_s, LONGEST_WAIT_S)), EVENTS)
        self.tally.idle_ns += monotonic_ns() - began
        for descriptor, event in events:
            client = self._clients.get(descriptor)
            if client is None:
                continue
            if event & select.EPOLLOUT:
                self._start_upgrade(client)
            else:
                self._receive(client)
        while self._arrived:
            self._take_in(self._arrived.popleft())
        self._do_chores(monotonic_ns())

    def _take_in(self, client: Member) -> None:
        client.stage = Stage.JOINED
        self._clients[client.socket.fileno()] = client
        self._members[client.lobby].append(client)
        self._epoll.register(client.socket.fileno(), select.EPOLLIN)
        self._adopted += 1
        self.tally.joined += 1

    def _connect(self, lobby: int) -> None:
        self.tally.opened += 1
        opened = self._new_socket()
        client = self._make_client(opened, lobby, monotonic_ns())
        self._start(client)

    def _new_socket(self) -> socket.socket:
        opened = socket.socket(self._family, socket.SOCK_STREAM)
        opened.setblocking(False)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return opened

    def _start(self, client: Member) -> None:
        """Let a client connect its socket."""
        with suppress(BlockingIOError):
            client.socket.connect(self._address)
        self._clients[client.socket.fileno()] = client
        self._opening += 1
        self._epoll.register(client.socket.fileno(), select.EPOLLOUT)

    def _start_upgrade(self, client: Member) -> None:
        failure = client.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failure:
            self._lose(client, os.strerror(failure))
            return
        self._epoll.modify(client.socket.fileno(), select.EPOLLIN)
        self._send(client, self._request)

    def _receive(self, client: Member, size: int = RECEIVE_BYTES) -> None:
        try:
            piece = client.socket.recv(size)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(client, error.strerror or "error")
            return
        now = monotonic_ns()
        if not piece:
            self._lose(client, "closed without a word")
            return
        data = client.rest + piece if client.rest else piece
        position = 0
        if client.stage is Stage.UPGRADING:
            position = data.find(b"\r\n\r\n") + 4
            if position < 4:
                client.rest = data
                return
            if not data.startswith(b"HTTP/1.1 101 "):
                self._lose(client, data.partition(b"\r\n")[0].decode("ascii", "replace"))
                return
            client.stage = Stage.GREETED
        self._read_frames(client, data, position, now)

    def _read_frames(self, client: Member, data: bytes, position: int, now: int) -> None:
        """Walk over the frames of `data`; what is left of the last one is kept. Server frames are not masked."""
        size = len(data)
        while size - position >= 2:
            length = data[position + 1]
            body = position + 2
            if length >= 126:
                wide = 2 if length == 126 else 8
                if size - body < wide:
                    break
                length = int.from_bytes(data[body : body + wide])
                body += wide
            end = body + length
            if end > size:
                break
            opcode = data[position] & 0x0F
            if opcode == TEXT:
                self._read_text(client, data, body, end, now)
            elif opcode == PING:
                self.tally.pings += 1
                self._send(client, masked(PONG, data[body:end]))
            elif opcode == CLOSE:
                code = int.from_bytes(data[body : body + 2])
                self._lose(
                    client, f"closed with {code} {data[body + 2 : end].decode(errors='replace')}".strip()
                )
                return
            position = end
        client.rest = data[position:]

    def _read_text(self, client: Member, data: bytes, body: int, end: int, now: int) -> None:
        if client.stage is Stage.JOINED:
            self._hear(client, data[body:end], now)
        elif client.stage is Stage.GREETED:
            self._read_greeting(client, data[body:end], now)

    def _read_greeting(self, client: Member, message: bytes, now: int) -> None:
        """Take what comes before a client has joined: the welcome, and the reply to `join`."""
        if message.startswith(b'{"type":"welcome"'):
            self.tally.upgraded_ns.append(now - client.began_ns)
            number = len(self.tally.upgraded_ns)
            join = {"lobby": self._lobbies[client.lobby], "name": f"bench {number}"}
            self._send(client, request("join", join))
        elif message.startswith(b'{"type":"joined"'):
            self.tally.joined_ns.append(now - client.began_ns)
            self.tally.joined += 1
            self._opening -= 1
            client.stage = Stage.JOINED
            self._members[client.lobby].append(client)
            self._enter(client, message)
        elif message.startswith(b'{"type":"error"'):
            self._lose(client, json.loads(message)["data"]["error"])

    def _send(self, client: Member, data: bytes) -> None:
        """Send a frame. A client sends so little that its socket always has room."""
        try:
            whole = client.socket.send(data) == len(data)
        except OSError as error:
            self._lose(client, error.strerror or "error")
            return
        if not whole:
            self._lose(client, "the socket had no room for a frame of the client")

    def _lose(self, client: Member, reason: str) -> None:
        """Note the end of a connection, and why."""
        if client.stage is Stage.LOST:
            return
        if client.stage is Stage.JOINED:
            self.tally.lost += 1
        else:
            self.tally.failed += 1
            self._opening -= 1
        self.tally.note(reason)
        client.stage = Stage.LOST
        del self._clients[client.socket.fileno()]
        client.socket.close()


def _resolve(url: SplitResult) -> tuple[tuple[str, int], socket.AddressFamily]:
    port = url.port or 80
    try:
        family, _, _, _, address = socket.getaddrinfo(url.hostname, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise BenchError(f"the host {url.hostname!r} is unknown ({error.strerror})") from error
    return (str(address[0]), port), family


def _upgrade_request(url: SplitResult) -> bytes:
    return (
        f"GET {url.path or '/ws'} HTTP/1.1\r\nHost: {url.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def request(kind: str, data: Mapping[str, object], number: int = 1) -> bytes:
    """Return the frame of a request."""
    return masked(TEXT, json.dumps({"type": kind, "data": data, "id": number}).encode())


def masked(opcode: int, payload: bytes) -> bytes:
    """Return a whole frame from a client (RFC 6455 section 5.3). Nothing here is longer than 65,535 bytes."""
    key = os.urandom(4)
    size = len(payload)
    header = (
        bytes((0x80 | opcode, 0x80 | size)) if size < 126 else bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2)
    )
    pad = int.from_bytes((key * (size // 4 + 1))[:size])
    return header + key + (int.from_bytes(payload) ^ pad).to_bytes(size)
