"""All sessions: each is one supervised task in one nursery, found again by the hash of its resume token.

They are shadowed in the store, so that a server that starts again has them back: each waits for its client as after
a lost connection. When the server stops in order, it leaves them there (``Session.suspend``).
"""

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import structlog
import trio

import relay
from signaling import events
from signaling.auth.company_usage import CompanyUsage, Resource
from signaling.auth.grants import Grants
from signaling.bus import Bus
from signaling.ended_sessions import EndedSessions
from signaling.identifiers import new_secret
from signaling.lobbies import Lobbies
from signaling.logs import get_logger
from signaling.removals import Removal
from signaling.session import Session
from signaling.session_shadow import SessionShadow
from signaling.storage import SessionRecord, Snapshot, Store
from signaling.supervisor import supervise

#: How long a client that comes back is told why its session was ended: as long as it may be trying.
ENDED_SECONDS = 600.0

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Beginning:
    """How a session comes into being: anew (``company_id``), waiting for its client or not, or restored."""

    token_digest: bytes
    company_id: str = ""
    waiting: bool = False
    resumable: bool = True
    former: SessionRecord | None = None


class Sessions:
    """See the module. Made by ``open_sessions``."""

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        lobbies: Lobbies,
        bus: Bus,
        router: relay.Router,
        store: Store,
        usage: CompanyUsage,
        resume_seconds: float,
        failures: Counter[str],
    ) -> None:
        #: Sessions from before the last restart that were there to be resumed at start-up.
        self.restored = 0
        self._nursery = nursery
        self._lobbies = lobbies
        self._bus = bus
        self._router = router
        self._usage = usage
        self._resume_seconds = resume_seconds
        self._failures = failures
        self._shadow = SessionShadow(store)
        self._ended = EndedSessions(keep_seconds=ENDED_SECONDS)
        # Keyed by a hash: how long a lookup takes says nothing about how near a guess came.
        self._by_token: dict[bytes, Session] = {}
        self._by_id: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._by_token)

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._by_id.values()))

    @property
    def resume_seconds(self) -> float:
        """How long a session outlives its connection."""
        return self._resume_seconds

    async def open(
        self, *, company_id: str = "", waiting: bool = False, resumable: bool = True, limited: bool = True
    ) -> tuple[Session, str]:
        """Begin a session; return it with its resume token, which is kept nowhere else.

        With ``waiting`` it is for a client that has yet to connect, and expires if none resumes it. One that is not
        ``resumable`` ends with its connection. Without ``limited`` it counts, but is not refused: another is about to end.

        Raises: CompanyLimitError, CompanyError.
        """
        self._usage.acquire(company_id, Resource.SESSION, limited=limited)
        token = new_secret()
        session = await self._start(_Beginning(_digest(token), company_id, waiting, resumable))
        self._bus.publish(events.SessionOpened(session.session_id, company_id=session.belongs_to))
        return session, token

    def find(self, token_untrusted: str) -> Session | None:
        """Return the living session of this token."""
        session = self._by_token.get(_digest(token_untrusted))
        return session if session is not None and session.alive else None

    def get(self, session_id: str) -> Session | None:
        """Return the living session of this id."""
        session = self._by_id.get(session_id)
        return session if session is not None and session.alive else None

    def removal(self, token_untrusted: str) -> Removal | None:
        """Return why the session of this token was ended by somebody else, if it was lately."""
        return self._ended.find(_digest(token_untrusted), trio.current_time())

    def note_resumed(self, session: Session) -> None:
        """Tell the bus that a client took its session back."""
        self._bus.publish(events.SessionResumed(session.session_id, company_id=session.belongs_to))

    def flush(self) -> None:
        """Let what happened to sessions so far go to the store before what is committed next."""
        self._shadow.flush()

    async def restore(self, snapshot: Snapshot) -> None:
        """Take the lobbies and sessions of before a restart back; called once, before anybody connects."""
        self._lobbies.restore(snapshot.lobbies, snapshot.chat_seqs)
        former = sorted(snapshot.sessions, key=lambda record: record.joined_at or record.created_at)
        for record in former:
            self._usage.acquire(record.company_id, Resource.SESSION, limited=False)
            session = await self._start(_Beginning(record.token_digest, record.company_id, former=record))
            self._bus.publish(events.SessionRestored(session.session_id, company_id=session.belongs_to))
            self.restored += 1
        self._lobbies.close_abandoned()
        if self.restored or self._lobbies.restored:
            _log.info("restored", sessions=self.restored, lobbies=len(self._lobbies))

    async def run(self) -> None:
        """Keep the store informed until cancelled."""
        await self._shadow.run()

    async def _start(self, beginning: _Beginning) -> Session:
        session: Session = await self._nursery.start(self._run, beginning)
        return session

    async def _run(self, beginning: _Beginning, task_status: trio.TaskStatus[Session]) -> None:
        try:
            await supervise("session", self._failures, partial(self._live, beginning, task_status))
        finally:
            self._usage.release(beginning.company_id, Resource.SESSION)

    async def _live(self, beginning: _Beginning, task_status: trio.TaskStatus[Session]) -> None:
        """Hold one session from its beginning to its end."""
        async with trio.open_nursery() as nursery:
            session = Session(
                token_digest=beginning.token_digest,
                lobbies=self._lobbies,
                bus=self._bus,
                router=self._router,
                shadow=self._shadow,
                resume_seconds=self._resume_seconds,
                start_watching=nursery.start_soon,
                start_soon=nursery.start_soon,
                company_id=beginning.company_id,
                resumable=beginning.resumable,
                former=beginning.former,
            )
            # Inherited from the connection that opened it, which it will outlive.
            structlog.contextvars.clear_contextvars()
            structlog.contextvars.bind_contextvars(session=session.session_id)
            self._by_token[session.token_digest] = session
            self._by_id[session.session_id] = session
            try:
                with session.life:
                    self._begin(session, beginning)
                    task_status.started(session)
                    await session.run()
            except trio.Cancelled:
                # By the media task that failed, or by a server that stops: then the client may resume after a restart.
                self._forget(session)
                if nursery.cancel_scope.cancel_called:
                    session.dispose("failed")
                else:
                    session.suspend()
                raise
            except BaseException:
                self._forget(session)
                session.dispose("failed")
                raise
            self._forget(session)
            session.dispose(session.end_reason)
            # A media task of a session that is over has nothing to wait for.
            nursery.cancel_scope.cancel()

    def _begin(self, session: Session, beginning: _Beginning) -> None:
        if beginning.former is not None:
            self._take_back(session, beginning.former)
        if beginning.waiting or beginning.former is not None:
            session.await_client()
            session.keep()

    def _take_back(self, session: Session, former: SessionRecord) -> None:
        """Let a session be in its lobby again, if that is still there."""
        lobby = None if former.lobby_id is None else self._lobbies.get(former.lobby_id)
        if lobby is None or former.participant_id is None:
            return
        try:
            grants = Grants.from_json(former.grants)
        except ValueError as error:
            # Of an older or newer version: what is not understood grants nothing.
            _log.warning(
                "a session is not restored to its lobby", session=former.session_id, fault=str(error)
            )
            return
        session.restore(lobby, former, grants)

    def _forget(self, session: Session) -> None:
        del self._by_token[session.token_digest]
        del self._by_id[session.session_id]
        if session.removal is not None:
            self._ended.note(session.token_digest, session.removal, trio.current_time())


@asynccontextmanager
async def open_sessions(
    *,
    lobbies: Lobbies,
    bus: Bus,
    router: relay.Router,
    store: Store,
    usage: CompanyUsage,
    resume_seconds: float,
    failures: Counter[str],
    snapshot: Snapshot | None = None,
) -> AsyncIterator[Sessions]:
    """Run sessions for the length of a scope, those of the snapshot first; leaving it suspends them all (see there).

    The store must outlive the scope.
    """
    async with trio.open_nursery() as nursery:
        sessions = Sessions(
            nursery,
            lobbies=lobbies,
            bus=bus,
            router=router,
            store=store,
            usage=usage,
            resume_seconds=resume_seconds,
            failures=failures,
        )
        nursery.start_soon(sessions.run)
        try:
            if snapshot is not None:
                await sessions.restore(snapshot)
            yield sessions
        finally:
            nursery.cancel_scope.cancel()
            sessions.flush()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
