"""What was said in a conversation by voice, in text: for the model of the next connection, which remembers nothing of the former."""

from collections import deque

from voicebot.speech import HeardSpan

#: Lines of the conversation that the next connection is told of, and how long they may be together.
MEMORY_LINES = 30
MEMORY_LENGTH = 6000


class VoiceMemory:
    """See the module; bounded by ``MEMORY_LINES`` and ``MEMORY_LENGTH``."""

    def __init__(self) -> None:
        self._lines: deque[tuple[str, str, str]] = deque(maxlen=MEMORY_LINES)

    def add(self, role: str, text: str, item_id: str = "") -> None:
        """Note a line, if there is anything in it."""
        text = " ".join(text.split())[:MEMORY_LENGTH]
        if text:
            self._lines.append((role, text, item_id))

    def cut(self, span: HeardSpan) -> None:
        """Note that only a part of an item was heard: about so much of its text."""
        for number, (role, text, item_id) in enumerate(self._lines):
            if item_id == span.item_id and span.length_ms:
                heard = text[: len(text) * span.heard_ms // span.length_ms].rstrip()
                self._lines[number] = (role, f"{heard}…", "")

    def lines(self) -> list[tuple[str, str]]:
        """Return the newest lines that fit, oldest first."""
        kept: list[tuple[str, str]] = []
        left = MEMORY_LENGTH
        for role, text, _ in reversed(self._lines):
            left -= len(text)
            if left < 0:
                break
            kept.append((role, text))
        return kept[::-1]
