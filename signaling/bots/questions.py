"""What is asked of bots, and the answers: who waits for what. The service sees to who may answer."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import trio


class Question:
    """One of them, until there is an answer, or a reason why there is none."""

    def __init__(self, question_id: int, bot_id: str, provider_id: str) -> None:
        self.question_id = question_id
        self.bot_id = bot_id
        self.provider_id = provider_id
        self.text: str | None = None
        self.fault: str | None = None
        self._decided = trio.Event()

    def decide(self, *, text: str | None = None, fault: str | None = None) -> None:
        """Set the outcome; only the first counts."""
        if not self._decided.is_set():
            self.text, self.fault = text, fault
            self._decided.set()

    async def wait_decided(self) -> None:
        """Wait for the outcome."""
        await self._decided.wait()


class Questions:
    """All that are not answered yet."""

    def __init__(self) -> None:
        self._open: dict[int, Question] = {}
        self._numbers = count(1)
        self._of_bots: Counter[str] = Counter()

    def unanswered(self, bot_id: str) -> int:
        """Return how many wait for this bot."""
        return self._of_bots[bot_id]

    @contextmanager
    def ask(self, bot_id: str, provider_id: str) -> Iterator[Question]:
        """Open a question for the length of a scope; its answer is awaited inside."""
        question = Question(next(self._numbers), bot_id, provider_id)
        self._open[question.question_id] = question
        self._of_bots[bot_id] += 1
        try:
            yield question
        finally:
            del self._open[question.question_id]
            self._of_bots[bot_id] -= 1
            if not self._of_bots[bot_id]:
                del self._of_bots[bot_id]

    def find(self, question_id: int, provider_id: str) -> Question | None:
        """Return an open question, if it was put to this provider."""
        question = self._open.get(question_id)
        return question if question is not None and question.provider_id == provider_id else None

    def fail_bot(self, bot_id: str, fault: str) -> None:
        """End all that wait for this bot."""
        if bot_id in self._of_bots:
            for question in tuple(self._open.values()):
                if question.bot_id == bot_id:
                    question.decide(fault=fault)
