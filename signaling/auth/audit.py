"""The audit log: who did what as an administrator, durable in the store, and a line in the log.

Texts come from requests: what would start a new line, move the cursor or turn the direction of writing is written out,
long ones are cut, and what looks like a secret is left out, whatever the caller meant to record.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from signaling.logs import get_logger
from signaling.storage import AddAudit, AuditRecord, Store, StoreUnavailableError

MAX_TEXT_LENGTH = 200
MAX_ITEMS = 32
MAX_DEPTH = 4
#: All texts and numbers of a detail together.
MAX_DETAIL_LENGTH = 4000

HIDDEN = "[hidden]"
LEFT_OUT = "[left out: too large]"

_SECRET_NAMES = re.compile(
    r"passw|secret|token|api_?key|credential|authori[sz]ation|cookie|private_?key|hash|digest", re.IGNORECASE
)
#: API keys, JSON Web Tokens, argon2 hashes and PEM keys, wherever they turn up.
_SECRET_VALUES = re.compile(
    r"tr_[A-Za-z0-9_-]{20,}|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*(\.[A-Za-z0-9_-]*)?|\$argon2\w*\$\S+|-----BEGIN .*",
    re.DOTALL,
)
_CONTROLS = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

_log = get_logger(__name__)


class AuditLog:
    """See the module."""

    def __init__(self, store: Store, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        #: Entries that are in the log and perhaps not in the store.
        self.undurable = 0
        self.recorded = 0
        self._store = store
        self._clock = clock

    async def record(
        self,
        actor: str,
        action: str,
        target: str,
        detail: Mapping[str, Any] | None = None,
        correlation_id: str = "",
    ) -> bool:
        """Record that ``actor`` did ``action`` to ``target``; tells whether that is durable.

        It raises nothing when it is not: an administrator must be able to act while the store is down, and the log has
        the entry.
        """
        entry = AuditRecord(
            at=self._clock(),
            actor=safe_text(actor),
            action=safe_text(action),
            target=safe_text(target),
            detail=safe_detail(detail or {}),
            correlation_id=safe_text(correlation_id),
        )
        shown = {"actor": entry.actor, "action": entry.action, "target": entry.target, "detail": entry.detail}
        if entry.correlation_id:
            shown["correlation_id"] = entry.correlation_id
        _log.info("admin action", **shown)
        self.recorded += 1
        try:
            await self._store.commit(AddAudit(entry))
        except StoreUnavailableError as error:
            self.undurable += 1
            _log.error("an entry of the audit log may not have been stored", **shown, reason=str(error))
            return False
        return True


def safe_text(text_untrusted: str, *, longest: int = MAX_TEXT_LENGTH) -> str:
    """Return a text of one line that can do nothing to who reads it, and holds no secret that can be recognised."""
    cut = text_untrusted[: 2 * longest]  # a secret that begins within what is shown is seen whole enough
    shown = "".join(_written_out(character) for character in _SECRET_VALUES.sub(HIDDEN, cut))
    return shown if len(shown) <= longest and len(text_untrusted) <= longest else shown[:longest] + "..."


def safe_detail(detail_untrusted: Mapping[str, Any]) -> dict[str, Any]:
    """Return a detail as JSON can hold it, bounded in size and depth, without secrets."""
    budget = _Budget(MAX_DETAIL_LENGTH)
    shown = budget.safe(dict(detail_untrusted), 0)
    assert isinstance(shown, dict)
    return shown


class _Budget:
    """What is left of the size that one detail may have."""

    def __init__(self, characters: int) -> None:
        self._left = characters

    def safe(self, value: Any, depth: int) -> Any:
        if depth > MAX_DEPTH or self._left <= 0:
            return LEFT_OUT
        if isinstance(value, Mapping):
            return self._mapping(value, depth)
        if isinstance(value, list | tuple | set | frozenset):
            items = [self.safe(item, depth + 1) for item in list(value)[:MAX_ITEMS]]
            return items if len(value) <= MAX_ITEMS else [*items, LEFT_OUT]
        if value is None or isinstance(value, bool):
            return value
        if (
            isinstance(value, int | float) and abs(value) < 10**18
        ):  # NaN and infinity are not JSON: written as text
            self._left -= 20
            return value
        text = safe_text(HIDDEN if isinstance(value, bytes | bytearray) else str(value))
        self._left -= len(text)
        return text

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for name, item in list(value.items())[:MAX_ITEMS]:
            text = safe_text(str(name))
            self._left -= len(text)
            shown[text] = HIDDEN if _SECRET_NAMES.search(str(name)) else self.safe(item, depth + 1)
        if len(value) > MAX_ITEMS:
            shown["..."] = LEFT_OUT
        return shown


def _written_out(character: str) -> str:
    if unicodedata.category(character) in _CONTROLS:
        return f"\\u{ord(character):04x}"
    return character
