"""What was said in the chats of lobbies, for models that remember nothing: bounded by lines, by size, and in time."""

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from voicebot.services.openai_chat import ChatMessage, Role

#: Models count in tokens, of which there are no more than one for three bytes or so in any language; and a few for each message.
BYTES_A_TOKEN = 3
TOKENS_A_MESSAGE = 4


@dataclass(frozen=True, slots=True)
class MemoryLine:
    """Something that was said. ``key`` tells it apart from others, if that is needed."""

    role: Role
    text: str
    key: int | None = None


def token_estimate(text: str) -> int:
    """Return how many tokens a message has at most, about."""
    return len(text.encode(errors="replace")) // BYTES_A_TOKEN + TOKENS_A_MESSAGE


def fit(lines: Iterable[MemoryLine], tokens: int) -> list[ChatMessage]:
    """Return the newest lines that fit into so many tokens, oldest first."""
    kept: list[ChatMessage] = []
    for line in reversed(list(lines)):
        tokens -= token_estimate(line.text)
        if tokens < 0:
            break
        kept.append(ChatMessage(line.role, line.text))
    return kept[::-1]


class ChatMemory:
    """Of one chat: the newest ``capacity`` lines."""

    def __init__(self, capacity: int) -> None:
        self._lines: deque[MemoryLine] = deque(maxlen=capacity)
        self.used_at_s = 0.0

    def add(self, role: Role, text: str, key: int | None = None) -> None:
        """Note a line."""
        self._lines.append(MemoryLine(role, text, key))

    def recall(self, tokens: int, *, but: int | None = None) -> list[ChatMessage]:
        """Return what fits into so many tokens, without the line of this key."""
        return fit((line for line in self._lines if but is None or line.key != but), tokens)

    def __len__(self) -> int:
        return len(self._lines)


class ChatMemories:
    """Of many chats. The one that was not used for the longest time is forgotten when there are too many, or after ``keep_s``."""

    def __init__(self, *, chats: int, lines: int, keep_s: float) -> None:
        self._chats = chats
        self._lines = lines
        self._keep_s = keep_s
        self._memories: OrderedDict[Hashable, ChatMemory] = OrderedDict()

    def of(self, chat: Hashable, now_s: float) -> ChatMemory:
        """Return the memory of a chat; an empty one, if there is none (any more)."""
        while self._memories:
            oldest, memory = next(iter(self._memories.items()))
            if now_s - memory.used_at_s <= self._keep_s:
                break
            del self._memories[oldest]
        memory = self._memories.pop(chat) if chat in self._memories else ChatMemory(self._lines)
        memory.used_at_s = now_s
        self._memories[chat] = memory
        if len(self._memories) > self._chats:
            self._memories.popitem(last=False)
        return memory

    def __len__(self) -> int:
        return len(self._memories)
