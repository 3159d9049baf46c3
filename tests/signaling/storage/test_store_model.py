"""Any sequence of changes leaves a store on SQLite as it leaves the one in memory, also over restarts and locks."""

import shutil
import sqlite3
import tempfile
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

import trio
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from store_records import AUDIT, BOT, COMPANY, LETTER, LOBBY, NAME, NOW, SESSION, event, line

from signaling.storage import (
    AddAudit,
    AddChat,
    AddDeadLetter,
    AddEvent,
    DropBot,
    DropCompany,
    DropDeadLetter,
    DropLobby,
    DropName,
    DropSession,
    PutBot,
    PutCompany,
    PutLobby,
    PutName,
    PutSession,
)
from signaling.storage.memory import MemoryStore
from signaling.storage.opening import open_store

IDS = st.sampled_from(["a", "b", "\0"])
NUMBERS = st.integers(1, 6)
TEXTS = st.text(st.characters(exclude_categories=()), max_size=5)
MAYBE = st.none() | TEXTS
#: Of an hour that clocks show twice, UTC knows once.
TIMES = st.datetimes(timezones=st.just(NOW.tzinfo)).map(lambda at: at.replace(fold=0))
JSON = st.dictionaries(TEXTS, st.none() | st.integers() | TEXTS | st.lists(TEXTS, max_size=2), max_size=2)

CHANGES = st.one_of(
    st.builds(
        lambda key, name, grants: PutSession(replace(SESSION, session_id=key, name=name, grants=grants)),
        IDS,
        MAYBE,
        st.none() | JSON,
    ),
    st.builds(DropSession, IDS),
    st.builds(lambda key, name: PutLobby(replace(LOBBY, lobby_id=key, name=name)), IDS, TEXTS),
    st.builds(DropLobby, IDS),
    st.builds(lambda key, seq, text: AddChat(replace(line(seq, key), text=text)), IDS, NUMBERS, TEXTS),
    st.builds(
        lambda company, key, at: PutName(replace(NAME, company_id=company, key=key, protected_at=at)),
        IDS,
        IDS,
        TIMES,
    ),
    st.builds(DropName, IDS, IDS),
    st.builds(
        lambda key, digests: PutCompany(replace(COMPANY, company_id=key, key_digests=tuple(digests))),
        IDS,
        st.lists(st.binary(max_size=3), max_size=2),
    ),
    st.builds(DropCompany, IDS),
    st.builds(
        lambda key, provider, joined_at: PutBot(
            replace(BOT, bot_id=key, provider=provider, joined_at=joined_at)
        ),
        IDS,
        st.none() | JSON,
        st.none() | TIMES,
    ),
    st.builds(DropBot, IDS),
    st.builds(
        lambda seq, kind, lobby, data: AddEvent(event(seq, type=kind, lobby_id=lobby, data=data)),
        NUMBERS,
        IDS,
        st.none() | IDS,
        JSON,
    ),
    st.builds(lambda text: AddAudit(replace(AUDIT, action=text)), TEXTS),
    st.builds(lambda key, at: AddDeadLetter(replace(LETTER, delivery_id=key, given_up_at=at)), IDS, TIMES),
    st.builds(DropDeadLetter, IDS),
)


class StoreThread:
    """A store that a thread with a Trio of its own keeps open, for callers that have none."""

    def __init__(self, url: str) -> None:
        self._started: SimpleQueue = SimpleQueue()
        self._thread = Thread(target=trio.run, args=(self._main, url), daemon=True)
        self._thread.start()
        self.store, self._token, self._stop = self._started.get(timeout=60)

    def call(self, method, *arguments, **options):
        async def call():
            with trio.fail_after(60):
                return await method(*arguments, **options)

        return trio.from_thread.run(call, trio_token=self._token)

    def submit(self, *changes) -> None:
        trio.from_thread.run_sync(self.store.submit, *changes, trio_token=self._token)

    def end(self) -> None:
        trio.from_thread.run_sync(self._stop.set, trio_token=self._token)
        self._thread.join(60)
        assert not self._thread.is_alive()

    async def _main(self, url: str) -> None:
        stop = trio.Event()
        async with open_store(url, patience_seconds=50) as store:
            self._started.put((store, trio.lowlevel.current_trio_token(), stop))
            await stop.wait()


def unordered(snapshot):
    return {
        name: sorted(map(repr, getattr(snapshot, name)))
        for name in ("sessions", "lobbies", "names", "companies", "bots")
    } | {"chat_seqs": dict(snapshot.chat_seqs), "event_seq": snapshot.event_seq}


class SqliteAgainstMemory(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.directory = Path(tempfile.mkdtemp())
        self.path = self.directory / "x.db"
        self.thread = StoreThread(f"sqlite:///{self.path}")
        self.memory = MemoryStore()
        self.changed = False

    @rule(changes=st.lists(CHANGES, max_size=6))
    def submit(self, changes):
        self.thread.submit(*changes)
        self.memory.submit(*changes)

    @rule(changes=st.lists(CHANGES, max_size=6))
    def commit(self, changes):
        self.thread.call(self.thread.store.commit, *changes)
        self.memory.submit(*changes)
        self.changed = True

    @rule()
    def restart(self):
        self.thread.end()
        self.thread = StoreThread(f"sqlite:///{self.path}")

    @rule(changes=st.lists(CHANGES, min_size=1, max_size=6))
    def commit_after_a_lock(self, changes):
        other = sqlite3.connect(self.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        self.thread.submit(*changes)
        other.execute("ROLLBACK")
        other.close()
        self.memory.submit(*changes)

    @invariant()
    def both_hold_the_same(self):
        if not self.changed:
            return
        self.changed = False
        same = self.same
        assert unordered(self.thread.call(self.thread.store.load)) == unordered(trio.run(self.memory.load))
        for key in ("a", "b", "\0"):
            for before in (None, 3):
                same("chat_before", key, before=before, limit=4)
            same("events_after", 0, limit=9, lobby_id=key)
            same("events_after", 2, limit=2, types=frozenset({key, "a"}))
        same("audit_before", before=None, limit=99)
        same("dead_letters", limit=2)

    def same(self, name, *arguments, **options):
        here = self.thread.call(getattr(self.thread.store, name), *arguments, **options)

        async def there():
            return await getattr(self.memory, name)(*arguments, **options)

        assert here == trio.run(there)

    def teardown(self):
        try:
            self.thread.call(self.thread.store.commit)
            self.changed = True
            self.both_hold_the_same()
            assert self.thread.store.statistics().rejected == 0
        finally:
            self.thread.end()
            shutil.rmtree(self.directory)


TestSqliteAgainstMemory = SqliteAgainstMemory.TestCase
TestSqliteAgainstMemory.settings = settings(
    max_examples=15,
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
