"""What an old file means for a store that may have something in it already. Pure: plans changes, makes none.

Names, lobbies and sessions that the store has are left as they are, so that importing twice is importing once and
nothing that happened here since is undone.

- A *protected name* comes with its old hash, which its owner's next login replaces.
- A *lobby* comes with its chat and stays (``persistent``). Private ones have no password in the old file: a join token,
  or a password set by an administrator, opens them.
- A *session* may be resumed with its old id as the token, as long after the next start as any session. It is in no
  lobby, and has no name that is protected, for in the old server the id was not much of a secret. Bots and sessions whose
  name was taken over are left behind.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pydantic import TypeAdapter, ValidationError

from signaling.legacy.sessions_file import LegacyChat, LegacyFile, LegacyLobby
from signaling.messages.model import ChatText, LobbyName, Name
from signaling.storage import (
    AddChat,
    Change,
    ChatRecord,
    LobbyRecord,
    NameRecord,
    PutLobby,
    PutName,
    PutSession,
    SessionRecord,
    Snapshot,
)

#: A shorter id could be guessed by trying.
MIN_TOKEN_LENGTH = 16

_NAME: TypeAdapter[str] = TypeAdapter(Name)
_LOBBY: TypeAdapter[str] = TypeAdapter(LobbyName)
_TEXT: TypeAdapter[str] = TypeAdapter(ChatText)


@dataclass(slots=True)
class ImportPlan:
    """The changes to make, and what is told of them."""

    changes: list[Change] = field(default_factory=list)
    names: int = 0
    lobbies: int = 0
    chat_lines: int = 0
    sessions: int = 0
    #: One line each: what is not imported, and why.
    skipped: list[str] = field(default_factory=list)
    #: One line each: what somebody should do about what is imported.
    notes: list[str] = field(default_factory=list)


class Planner:
    """See the module. ``name_key`` gives what names are compared by, ``new_id`` makes identifiers."""

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        now: datetime,
        name_key: Callable[[str], str],
        new_id: Callable[[str], str],
    ) -> None:
        self._now = now
        self._name_key = name_key
        self._new_id = new_id
        self._names = {name_key(record.name) for record in snapshot.names if not record.company_id}
        self._lobbies = {record.name for record in snapshot.lobbies if not record.company_id}
        self._tokens = {record.token_digest for record in snapshot.sessions}
        self._plan = ImportPlan()

    def plan(self, old: LegacyFile) -> ImportPlan:
        """Return the plan for a file. Call once."""
        self._plan.skipped.extend(old.faults)
        self._plan_names(old)
        self._plan_lobbies(old)
        self._plan_sessions(old)
        return self._plan

    def _plan_names(self, old: LegacyFile) -> None:
        for one in old.names:
            name = self._valid(_NAME, one.name, one.path)
            if name is None:
                continue
            key = self._name_key(name)
            if not key:
                self._skip(one.path, "the name has no character that can be seen")
            elif key in self._names:
                self._skip(one.path, f"the name {name!r} is protected already")
            else:
                self._names.add(key)
                self._plan.names += 1
                self._plan.changes.append(PutName(NameRecord(key, name, one.password_hash, self._now)))

    def _plan_lobbies(self, old: LegacyFile) -> None:
        # Sessions name the lobbies they are in, so most stand in the file many times.
        by_name: dict[str, list[LegacyLobby]] = {}
        for one in old.lobbies:
            name = self._valid(_LOBBY, one.name, one.path)
            if name is not None:
                by_name.setdefault(name, []).append(one)
        for name, mentions in by_name.items():
            if name in self._lobbies:
                self._skip(
                    mentions[0].path, f"there is a lobby {name!r} already; it stays as it is, with its chat"
                )
                continue
            self._plan_lobby(name, mentions)

    def _plan_lobby(self, name: str, mentions: list[LegacyLobby]) -> None:
        ids = list(dict.fromkeys(one.lobby_id for one in mentions if one.lobby_id))
        if len(ids) > 1:
            self._plan.notes.append(f"{len(ids)} lobbies are named {name!r}; they become one")
        # Where they differ, the stricter holds.
        private = any(one.private for one in mentions)
        if private:
            self._plan.notes.append(
                f"lobby {name!r} is private: enter it with a join token, or set a password as administrator"
            )
        created = min((one.created_at for one in mentions if one.created_at), default=self._now)
        lobby_id = self._new_id("l")
        self._lobbies.add(name)
        self._plan.lobbies += 1
        self._plan.changes.append(
            PutLobby(LobbyRecord(lobby_id, name, created, private=private, persistent=True))
        )
        # Each mention may hold the same lines.
        lines = list(dict.fromkeys(line for one in mentions for line in self._lines(one)))
        lines.sort(key=lambda line: line.sent_at or datetime.fromtimestamp(0, UTC))
        for seq, line in enumerate(lines, 1):
            record = ChatRecord(lobby_id, seq, "imported", line.name, line.text, line.sent_at or created)
            self._plan.changes.append(AddChat(record))
        self._plan.chat_lines += len(lines)

    def _lines(self, lobby: LegacyLobby) -> list[LegacyChat]:
        kept = []
        for index, line in enumerate(lobby.chat):
            path = f"{lobby.path}, line {index + 1} of its chat"
            name, text = self._valid(_NAME, line.name, path), self._valid(_TEXT, line.text, path)
            if name is not None and text is not None:
                kept.append(LegacyChat(name, text, line.sent_at))
        return kept

    def _plan_sessions(self, old: LegacyFile) -> None:
        for one in old.sessions:
            token = hashlib.sha256(one.session_id.encode("utf-8", "surrogatepass")).digest()
            name = None if one.name is None else self._valid(_NAME, one.name, one.path)
            if one.is_bot:
                self._skip(one.path, "it is a bot's; bots come back by themselves")
            elif one.displaced:
                self._skip(one.path, "somebody else has taken its name over")
            elif len(one.session_id) < MIN_TOKEN_LENGTH:
                self._skip(
                    one.path, f"its id is shorter than {MIN_TOKEN_LENGTH} characters and could be guessed"
                )
            elif token in self._tokens:
                self._skip(one.path, "it is here already")
            else:
                self._tokens.add(token)
                self._plan.sessions += 1
                if name is not None and self._name_key(name) in self._names:
                    name = None
                created = min(one.created_at or self._now, self._now)
                record = SessionRecord(self._new_id("s"), token, created, self._now, name=name)
                self._plan.changes.append(PutSession(record))

    def _valid(self, kind: TypeAdapter[str], text: str, path: str) -> str | None:
        try:
            return kind.validate_python(text)
        except ValidationError as error:
            said = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            self._skip(path, f"{text[:40]!r} cannot be used here: {said}")
            return None

    def _skip(self, path: str, reason: str) -> None:
        self._plan.skipped.append(f"{path}: {reason}")
