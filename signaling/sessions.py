"""All sessions: each is one supervised task in one nursery, found again by the hash of its resume token."""

import hashlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import structlog
import trio

import relay
from signaling import events
from signaling.bus import Bus
from signaling.identifiers import new_secret
from signaling.lobbies import Lobbies
from signaling.session import Session
from signaling.supervisor import supervise


class Sessions:
    """See the module. Made by ``open_sessions``."""

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        lobbies: Lobbies,
        bus: Bus,
        router: relay.Router,
        resume_seconds: float,
        failures: Counter[str],
    ) -> None:
        self._nursery = nursery
        self._lobbies = lobbies
        self._bus = bus
        self._router = router
        self._resume_seconds = resume_seconds
        self._failures = failures
        # Keyed by a hash: how long a lookup takes says nothing about how near a guess came.
        self._by_token: dict[bytes, Session] = {}

    def __len__(self) -> int:
        return len(self._by_token)

    @property
    def resume_seconds(self) -> float:
        """How long a session outlives its connection."""
        return self._resume_seconds

    async def open(self) -> tuple[Session, str]:
        """Begin a session; return it with its resume token, which is kept nowhere else."""
        token = new_secret()
        session = await self._nursery.start(self._run, _digest(token))
        self._bus.publish(events.SessionOpened(session.session_id))
        return session, token

    def find(self, token_untrusted: str) -> Session | None:
        """Return the living session of this token."""
        session = self._by_token.get(_digest(token_untrusted))
        return session if session is not None and session.alive else None

    def note_resumed(self, session: Session) -> None:
        """Tell the bus that a client took its session back."""
        self._bus.publish(events.SessionResumed(session.session_id))

    async def _run(self, key: bytes, task_status: trio.TaskStatus[Session]) -> None:
        await supervise("session", self._failures, partial(self._live, key, task_status))

    async def _live(self, key: bytes, task_status: trio.TaskStatus[Session]) -> None:
        """Hold one session from its beginning to its end."""
        async with trio.open_nursery() as nursery:
            session = Session(
                lobbies=self._lobbies,
                bus=self._bus,
                router=self._router,
                resume_seconds=self._resume_seconds,
                start_watching=nursery.start_soon,
            )
            # Inherited from the connection that opened it, which it will outlive.
            structlog.contextvars.clear_contextvars()
            structlog.contextvars.bind_contextvars(session=session.session_id)
            self._by_token[key] = session
            try:
                with session.life:
                    task_status.started(session)
                    await trio.sleep_forever()
            finally:
                del self._by_token[key]
                if not session.life.cancel_called:
                    session.end_reason = "closing"
                session.dispose()
                # A media task of a session that is over has nothing to wait for.
                nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_sessions(
    *, lobbies: Lobbies, bus: Bus, router: relay.Router, resume_seconds: float, failures: Counter[str]
) -> AsyncIterator[Sessions]:
    """Run sessions for the length of a scope; leaving it ends them all."""
    async with trio.open_nursery() as nursery:
        yield Sessions(
            nursery,
            lobbies=lobbies,
            bus=bus,
            router=router,
            resume_seconds=resume_seconds,
            failures=failures,
        )
        nursery.cancel_scope.cancel()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
