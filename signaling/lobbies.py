"""All lobbies: opened by who enters one that is not there, closed when the last one leaves; or both on purpose.

A lobby is found by its company and its name. All are shadowed in the store, so that those who were in one find it again
after a restart, but only what is made on purpose is acknowledged as kept.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import trio

from signaling import events
from signaling.auth.company_usage import CompanyUsage, Resource
from signaling.auth.errors import AuthError
from signaling.bus import Bus
from signaling.chat import Chat
from signaling.identifiers import new_id
from signaling.lobby import Lobby
from signaling.participant import Participant
from signaling.replay import REPLAY_CHARACTERS, REPLAY_SECONDS, Replay
from signaling.storage import DropLobby, LobbyRecord, PutLobby, Store, StoreUnavailableError
from signaling.voices.counters import SoundCounters
from signaling.voices.lobby_mix import LobbyMix
from signaling.voices.mix import OpenMix

#: A restored lobby counts on from somewhere else, so that an event's number from before the restart means nothing.
_FIRST_SEQ_RANGE = 2**48


class LobbyExistsError(Exception):
    """There is a lobby of this name already."""


class LobbyFullError(Exception):
    """The lobby has as many participants as it may have."""


@dataclass(frozen=True, slots=True)
class LobbyOptions:
    """What a lobby asks of those who enter, and how long it stays. See ``LobbyRecord``."""

    private: bool = False
    #: argon2id; with one, whoever knows the password may enter.
    password_hash: str | None = None
    capacity: int | None = None
    persistent: bool = False


#: What one gets by asking for a lobby that is not there.
ON_DEMAND = LobbyOptions()


class Lobbies:
    """See the module. ``capacity`` is the limit of lobbies that have none of their own; ``open_mix`` makes their mixers, if any."""

    def __init__(
        self,
        bus: Bus,
        *,
        store: Store,
        usage: CompanyUsage,
        on_audio: Callable[[Lobby], None],
        open_mix: OpenMix | None = None,
        capacity: int | None = None,
        replay_seconds: float = REPLAY_SECONDS,
        replay_characters: int = REPLAY_CHARACTERS,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        #: Lobbies that were there at start-up.
        self.restored = 0
        #: Participants in all lobbies now.
        self.participant_count = 0
        #: Of sound as samples, in all lobbies.
        self.sound = SoundCounters()
        self._bus = bus
        self._store = store
        self._usage = usage
        self._on_audio = on_audio
        self._open_mix = open_mix
        self._capacity = capacity
        self._replay_seconds = replay_seconds
        self._replay_characters = replay_characters
        self._clock = clock
        self._by_name: dict[tuple[str, str], Lobby] = {}
        self._by_id: dict[str, Lobby] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Lobby]:
        return iter(tuple(self._by_id.values()))

    @property
    def open(self) -> Mapping[str, Lobby]:
        """Lobbies of no company, by name."""
        return {name: lobby for (company_id, name), lobby in self._by_name.items() if not company_id}

    def find(self, name: str, company_id: str = "") -> Lobby | None:
        """Return the lobby of this name and company."""
        return self._by_name.get((company_id, name))

    def get(self, lobby_id: str) -> Lobby | None:
        """Return the lobby of this id."""
        return self._by_id.get(lobby_id)

    def list_public(self, company_id: str = "") -> tuple[Lobby, ...]:
        """Return the lobbies of a company that anybody may know of, by name."""
        public = (lobby for lobby in self if lobby.company_id == company_id and not lobby.record.private)
        return tuple(sorted(public, key=lambda lobby: lobby.name))

    # On purpose.

    async def create(self, name: str, options: LobbyOptions = ON_DEMAND, *, company_id: str = "") -> Lobby:
        """Make a lobby; it is durable when this returns.

        One that is not persistent lasts from its first participant to its last.

        Raises: LobbyExistsError, CompanyLimitError, CompanyError; StoreUnavailableError, and then there is no lobby
        unless somebody has entered it already.
        """
        if (company_id, name) in self._by_name:
            raise LobbyExistsError(f"there is a lobby {name!r} already: use it, or choose another name")
        self._usage.acquire(company_id, Resource.LOBBY)
        lobby = self._open(name, company_id, options)
        try:
            await self._store.commit(PutLobby(lobby.record))
        except StoreUnavailableError:
            if not lobby.participants and lobby.lobby_id in self._by_id:
                self._store.submit(self._close(lobby, "the database did not take it"))
            raise
        return lobby

    async def update(self, lobby: Lobby, options: LobbyOptions) -> None:
        """Change what a lobby asks of those who enter from now on; durable when this returns.

        Who is in it stays, whatever its capacity.

        Raises: StoreUnavailableError; the change holds, but may be forgotten by a restart.
        """
        lobby.record = replace(
            lobby.record,
            private=options.private,
            password_hash=options.password_hash,
            capacity=options.capacity,
            persistent=options.persistent,
        )
        self._bus.publish(
            events.LobbyUpdated(lobby.name, lobby_id=lobby.lobby_id, company_id=lobby.company_id)
        )
        if options.persistent or lobby.participants:
            await self._store.commit(PutLobby(lobby.record))
        else:
            await self._store.commit(self._close(lobby, "empty"))

    async def close(self, lobby: Lobby, reason: str) -> None:
        """End a lobby: everybody is told and is in no lobby any more, and its chat is deleted.

        Raises: StoreUnavailableError; the lobby is closed, but may be back after a restart.
        """
        if lobby.lobby_id not in self._by_id:
            return
        for _ in lobby.participants:
            self._count_out(lobby)
        lobby.close(reason)
        await self._store.commit(self._drop(lobby))

    # By participants.

    def enter(
        self,
        name: str,
        participant: Participant,
        *,
        company_id: str = "",
        opening: LobbyOptions = ON_DEMAND,
        leaving: tuple[Participant, ...] = (),
    ) -> Lobby:
        """Let a participant into the lobby of this name; one that is not there is made like ``opening``.

        ``leaving``: the participants (of any lobby) who will leave in the same step, to make room.

        Raises: LobbyFullError, CompanyLimitError, CompanyError; then nothing has changed.
        """
        lobby = self.find(name, company_id)
        if lobby is None:
            self._usage.acquire(company_id, Resource.LOBBY)
        elif not lobby.has_room(but=leaving):
            raise LobbyFullError(f"the lobby is full: it takes {lobby.record.capacity} participants")
        try:
            # Who moves within the company makes it no larger.
            self._usage.acquire(
                company_id, Resource.PARTICIPANT, limited=not self._any_of(company_id, leaving)
            )
        except AuthError:
            if lobby is None:
                self._usage.release(company_id, Resource.LOBBY)
            raise
        self.participant_count += 1
        if lobby is None:
            lobby = self._open(name, company_id, opening)
            self._store.submit(PutLobby(lobby.record))
        lobby.enter(participant)
        return lobby

    def leave(self, lobby: Lobby, participant: Participant, reason: str) -> None:
        """Take a participant out of its lobby."""
        lobby.remove(participant, reason)
        self._count_out(lobby)
        if not lobby.participants and not lobby.record.persistent:
            self._store.submit(self._close(lobby, "empty"))

    # Restarts.

    def restore(self, records: Iterable[LobbyRecord], chat_seqs: Mapping[str, int]) -> None:
        """Take the lobbies of before a restart back. Then come the sessions, then ``close_abandoned``."""
        for record in records:
            self._usage.acquire(record.company_id, Resource.LOBBY, limited=False)
            self._add(record, chat_seq=chat_seqs.get(record.lobby_id, 0), first_seq=_new_first_seq())
            self.restored += 1

    def restore_participant(self, lobby: Lobby, participant: Participant) -> None:
        """Let a participant be where it was before a restart."""
        self._usage.acquire(lobby.company_id, Resource.PARTICIPANT, limited=False)
        self.participant_count += 1
        lobby.restore(participant)

    def suspend_participant(self, lobby: Lobby, participant: Participant) -> None:
        """Take a participant out who shall be restored after a restart; the store keeps all as it is."""
        lobby.suspend(participant)
        self._count_out(lobby)

    def close_abandoned(self) -> None:
        """Close the restored lobbies that are not persistent and to which nobody can come back."""
        for lobby in self:
            if not lobby.participants and not lobby.record.persistent:
                self._store.submit(self._close(lobby, "empty"))

    def _open(self, name: str, company_id: str, options: LobbyOptions) -> Lobby:
        record = LobbyRecord(
            lobby_id=new_id("l"),
            name=name,
            created_at=datetime.now(UTC),
            company_id=company_id,
            private=options.private,
            password_hash=options.password_hash,
            capacity=self._capacity if options.capacity is None else options.capacity,
            persistent=options.persistent,
        )
        lobby = self._add(record)
        self._bus.publish(events.LobbyOpened(name, lobby_id=record.lobby_id, company_id=company_id))
        return lobby

    def _add(self, record: LobbyRecord, *, chat_seq: int = 0, first_seq: int = 0) -> Lobby:
        lobby = Lobby(
            record,
            self._bus,
            chat=Chat(record.lobby_id, self._store, seq=chat_seq),
            replay=Replay(
                first_seq=first_seq,
                max_seconds=self._replay_seconds,
                max_characters=self._replay_characters,
            ),
            mix=LobbyMix(self._open_mix, self.sound),
            on_audio=self._on_audio,
            clock=self._clock,
        )
        self._by_name[record.company_id, record.name] = lobby
        self._by_id[record.lobby_id] = lobby
        return lobby

    def _close(self, lobby: Lobby, reason: str) -> DropLobby:
        """Close a lobby that nobody is in; return what the store must hear."""
        self._bus.publish(
            events.LobbyClosed(lobby.name, reason, lobby_id=lobby.lobby_id, company_id=lobby.company_id)
        )
        return self._drop(lobby)

    def _drop(self, lobby: Lobby) -> DropLobby:
        del self._by_name[lobby.company_id, lobby.name]
        del self._by_id[lobby.lobby_id]
        self._usage.release(lobby.company_id, Resource.LOBBY)
        return DropLobby(lobby.lobby_id)

    def _count_out(self, lobby: Lobby) -> None:
        self.participant_count -= 1
        self._usage.release(lobby.company_id, Resource.PARTICIPANT)

    def _any_of(self, company_id: str, participants: Iterable[Participant]) -> bool:
        return any(participant.company_id == company_id for participant in participants)


def _new_first_seq() -> int:
    return 1 + secrets.randbelow(_FIRST_SEQ_RANGE)
