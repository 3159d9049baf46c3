"""A store that keeps its changes in a list, takes a commit whole or not at all, and can be told to refuse."""

from dataclasses import dataclass, field

from signaling.storage import (
    AddChat,
    Change,
    ChatRecord,
    PutLobby,
    PutName,
    PutSession,
    Snapshot,
    StoreUnavailableError,
)


@dataclass
class KeptInLists:
    commits: list[tuple[Change, ...]] = field(default_factory=list)
    fault: str | None = None

    def of(self, kind: type[Change]) -> list:
        return [change for commit in self.commits for change in commit if isinstance(change, kind)]

    @property
    def chat(self) -> list[ChatRecord]:
        return [change.line for change in self.of(AddChat)]

    async def load(self) -> Snapshot:
        return Snapshot(
            sessions=tuple(change.session for change in self.of(PutSession)),
            lobbies=tuple(change.lobby for change in self.of(PutLobby)),
            names=tuple(change.name for change in self.of(PutName)),
        )

    async def commit(self, *changes: Change) -> None:
        if self.fault is not None:
            raise StoreUnavailableError(self.fault)
        self.commits.append(changes)
