"""Thousands of connected peers that say only what keeps them alive, from one plain thread.

Each has a WebSocket whose pings must be answered and a media socket: a consent check every `consent_s` (RFC 7675; Chrome
sends one every 2.5 s), and every second time an empty receiver report, as a client sends that hears nothing. What comes
back is read just before the next check: the answer to the last one must be among it.
"""

import heapq
import select
import socket
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic_ns
from typing import Final

import trio

from bench.lean_websocket import PING, PONG, FrameReader, encode_frame
from bench.peer import DATAGRAM_BYTES
from media.srtp import SrtpSession

TICK_S: Final = 0.02  # how late a check or a pong may be: nobody minds, and fewer rounds cost less
STUN_SUCCESS: Final = b"\x01\x01"
RECEIVE_BYTES: Final = 4_096
EVENTS: Final = 1_024


@dataclass
class Idler:
    """One of them."""

    websocket: socket.socket
    reader: FrameReader
    media: socket.socket
    consent: bytes
    srtp: SrtpSession
    ssrc: int
    checks: int = 0
    closed: bool = False

    def receiver_report(self) -> bytes:
        """Return an empty receiver report (RFC 3550 section 6.4.2), protected."""
        return self.srtp.protect_rtcp(b"\x80\xc9\x00\x01" + self.ssrc.to_bytes(4))


@dataclass
class IdlerCounts:
    """What all of them together have sent and heard. Read racily; the numbers only grow."""

    checks: int = 0
    answered: int = 0
    unanswered: int = 0  # nothing came back until the next check was due
    reports: int = 0
    pings: int = 0
    closed: int = 0  # WebSockets that the relay ended


class Idlers:
    """The thread, and everybody in it."""

    def __init__(self, consent_s: float) -> None:
        self._consent_ns = round(consent_s * 1e9)
        self._epoll = select.epoll()
        self._by_fd: dict[int, Idler] = {}
        self._arrived: list[Idler] = []
        self._due: list[tuple[int, int]] = []
        self._stopping = False
        self.counts = IdlerCounts()

    def add(self, idler: Idler) -> None:
        """Take one more; called from another thread. *Owns* nothing: the sockets must outlive the scope of `run`."""
        self._arrived.append(idler)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep everybody alive until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, self._loop)
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._stopping = True

    def _loop(self) -> None:
        with self._epoll:
            while not self._stopping:
                self._welcome()
                for fd, _ in self._epoll.poll(TICK_S, EVENTS):
                    self._read_websocket(self._by_fd[fd])
                now = monotonic_ns()
                while self._due and self._due[0][0] <= now:
                    due_ns, fd = heapq.heappop(self._due)
                    self._check(self._by_fd[fd])
                    # From when it was due: a thread that falls behind sends late, and not less.
                    heapq.heappush(self._due, (due_ns + self._consent_ns, fd))

    def _welcome(self) -> None:
        while self._arrived:
            idler = self._arrived.pop()
            fd = idler.websocket.fileno()
            self._by_fd[fd] = idler
            heapq.heappush(self._due, (monotonic_ns() + self._consent_ns, fd))
            self._take_frames(idler, b"")  # what was read before the socket was handed over
            self._epoll.register(fd, select.EPOLLIN)

    def _read_websocket(self, idler: Idler) -> None:
        try:
            received = idler.websocket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if received:
            self._take_frames(idler, received)
        elif not idler.closed:
            idler.closed = True
            self.counts.closed += 1
            self._epoll.unregister(idler.websocket)

    def _take_frames(self, idler: Idler, received: bytes) -> None:
        for opcode, payload in idler.reader.feed(received):
            if opcode == PING:
                self.counts.pings += 1
                with suppress(OSError):  # the relay has gone, or does not read: it will say so
                    idler.websocket.send(encode_frame(PONG, payload))

    def _check(self, idler: Idler) -> None:
        """Look for the answer to the last check, and send the next."""
        answered = self._drain(idler.media)
        if idler.checks:
            self.counts.answered += answered
            self.counts.unanswered += not answered
        with suppress(OSError):
            idler.media.send(idler.consent)
            idler.checks += 1
            self.counts.checks += 1
            if idler.checks % 2 == 0:
                idler.media.send(idler.receiver_report())
                self.counts.reports += 1

    @staticmethod
    def _drain(media: socket.socket) -> bool:
        """Read all that has come. *Returns* whether an answer to a check was in it."""
        found = False
        with suppress(OSError):
            while True:
                found |= media.recv(DATAGRAM_BYTES).startswith(STUN_SUCCESS)
        return found
