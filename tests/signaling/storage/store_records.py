"""Records to keep, with every field set, and texts that databases dislike."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

from signaling.storage import (
    AuditRecord,
    BotRecord,
    ChatRecord,
    CompanyRecord,
    DeadLetterRecord,
    EventRecord,
    LobbyRecord,
    NameRecord,
    SessionRecord,
)

NOW = datetime(2026, 2, 28, 23, 59, 59, 999_999, tzinfo=UTC)
ELSEWHERE = timezone(timedelta(hours=-9, minutes=-30))
LARGEST = (1 << 63) - 1
#: NUL, what NUL is escaped with, lone surrogates, the last character there is, quotes.
ODD = "a\0b\x1ac\x1a0000\ud83d\ude00\udfff\U0010ffff'\"\\%s:x\r\n\u0130"

SESSION = SessionRecord(
    session_id="s1",
    token_digest=bytes(range(256)),
    created_at=NOW,
    last_seen_at=NOW + timedelta(microseconds=1),
    company_id=ODD,
    lobby_id="l1",
    participant_id="p1",
    name=ODD,
    is_bot=True,
    joined_at=datetime(1969, 7, 20, 20, 17, 40, 5, tzinfo=UTC),
    grants={"lobby": ODD, "can_chat": False, "limits": [1, 2.5, None], "large": 1 << 80},
)
LOBBY = LobbyRecord("l1", ODD, NOW, "acme", True, "$argon2id$...", LARGEST, True)
LINE = ChatRecord("l1", 1, "p1", ODD, ODD, NOW)
NAME = NameRecord(ODD, ODD, "$argon2id$...", NOW, ODD)
COMPANY = CompanyRecord("acme", ODD, NOW, (b"\0" * 32, b"\xff" * 32), False, {ODD: LARGEST, "lobbies": 0})
BOT = BotRecord(
    "b1", "l1", NOW, {"name": ODD, "config": {ODD: [1, None]}}, {"name": ODD}, "p1", NOW, {ODD: 1.5}
)
AUDIT = AuditRecord(NOW, ODD, "kick", ODD, {ODD: [ODD]}, ODD)
EVENT = EventRecord(1, NOW, "SessionJoined", {"deep": {"text": ODD}}, "s1", "l1", ODD)
LETTER = DeadLetterRecord("d1", "https://host/" + ODD, "SessionJoined", ODD, LARGEST, ODD, NOW, NOW)


def line(seq: int, lobby_id: str = "l1") -> ChatRecord:
    return replace(LINE, seq=seq, lobby_id=lobby_id)


def event(seq: int, **fields: object) -> EventRecord:
    return replace(EVENT, seq=seq, **fields)
