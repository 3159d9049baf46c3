"""The chat of one lobby: the last lines in memory, all of them in the store.

A line is in memory at once and in the store a moment later; who wrote it is told so only then (``Outcome.durable`` in
``handlers.py``). After a restart the memory is empty until ``recall_if_possible`` has fetched the last lines.
"""

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime

from signaling.logs import get_logger
from signaling.messages import ChatMessage
from signaling.storage import AddChat, ChatRecord, Store, StoreUnavailableError

#: Lines of chat a lobby remembers, and how many of them a newcomer is told.
CHAT_HISTORY = 200
CHAT_SNAPSHOT = 50

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Page:
    """Lines in ascending order; ``more``: there are older ones."""

    lines: tuple[ChatMessage, ...]
    more: bool


class Chat:
    """See the module. ``seq`` is the number of the last line there is."""

    def __init__(self, lobby_id: str, store: Store, *, seq: int = 0) -> None:
        self._lobby_id = lobby_id
        self._store = store
        self._seq = seq
        self._lines: deque[ChatMessage] = deque(maxlen=CHAT_HISTORY)
        self._recalled = seq == 0

    @property
    def lines(self) -> tuple[ChatMessage, ...]:
        """The lines in memory."""
        return tuple(self._lines)

    @property
    def latest(self) -> tuple[ChatMessage, ...]:
        """What a newcomer is told."""
        return tuple(self._lines)[-CHAT_SNAPSHOT:]

    def add(self, participant_id: str, name: str, text: str) -> ChatMessage:
        """Add a line; return it with its number."""
        self._seq += 1
        line = ChatMessage(
            seq=self._seq, participant_id=participant_id, name=name, text=text, sent_at=datetime.now(UTC)
        )
        self._lines.append(line)
        return line

    def change(self, line: ChatMessage) -> AddChat:
        """Return what the store must commit before the line is acknowledged."""
        return AddChat(
            ChatRecord(self._lobby_id, line.seq, line.participant_id, line.name, line.text, line.sent_at)
        )

    async def recall_if_possible(self) -> None:
        """Fetch the last lines from before a restart, if that has not been done; a store that fails is tried again later."""
        if self._recalled:
            return
        try:
            fetched = await self._fetch(before=self._oldest_seq, limit=CHAT_HISTORY)
        except StoreUnavailableError as error:
            _log.warning("the chat of before the restart cannot be shown yet", fault=str(error))
            return
        if self._recalled:  # somebody else was faster
            return
        self._recalled = True
        for line in reversed(fetched):
            if len(self._lines) < CHAT_HISTORY:
                self._lines.appendleft(line)

    async def page(self, *, before: int | None, limit: int) -> Page:
        """Return the last ``limit`` lines with numbers below ``before`` (None: the newest).

        Raises: StoreUnavailableError when some of them are in the store only.
        """
        wanted = limit + 1  # one more tells whether there are more
        lines = [line for line in self._lines if before is None or line.seq < before][-wanted:]
        oldest = lines[0].seq if lines else min(self._seq + 1, before or self._seq + 1)
        if len(lines) < wanted and oldest > 1:
            lines = [*await self._fetch(before=oldest, limit=wanted - len(lines)), *lines]
        return Page(tuple(lines[-limit:]), more=len(lines) > limit)

    @property
    def _oldest_seq(self) -> int:
        """The lowest number in memory."""
        return self._lines[0].seq if self._lines else self._seq + 1

    async def _fetch(self, *, before: int, limit: int) -> tuple[ChatMessage, ...]:
        records = await self._store.chat_before(self._lobby_id, before=before, limit=limit)
        return tuple(
            ChatMessage(
                seq=record.seq,
                participant_id=record.participant_id,
                name=record.name,
                text=record.text,
                sent_at=record.sent_at,
            )
            for record in records
        )
