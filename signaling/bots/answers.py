"""What is asked of bots, and their answers: an answer has one who waits for it, and a deadline.

A question goes to the bot's provider, not through the lobby's chat: others need not read it, and an answer is known to
be the answer to it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count

import trio

from signaling.bots.bot import Bot
from signaling.bots.core import BotCore
from signaling.bots.ledger import Ledger
from signaling.bots.lifecycle import BotState
from signaling.bots.link import ProviderLink
from signaling.bots.pool import ProviderPool
from signaling.messages.bots import BotQuestion
from signaling.peer_path.answerer import AnswerError, BotFailedError, BotTimeoutError, NoBotError

#: Bots of providers with this capability answer questions.
CHAT = "chat"


class _Question:
    """One of them, until there is an answer, or a reason why there is none."""

    def __init__(self, question_id: int, bot_id: str, provider_id: str) -> None:
        self.question_id = question_id
        self.bot_id = bot_id
        self.provider_id = provider_id
        self.text: str | None = None
        self.fault: str | None = None
        self.decided = trio.Event()

    def decide(self, *, text: str | None = None, fault: str | None = None) -> None:
        """Set the outcome; only the first counts."""
        if not self.decided.is_set():
            self.text, self.fault = text, fault
            self.decided.set()


class Answers:
    """See the module. An ``Answerer`` of the peer path."""

    def __init__(
        self,
        *,
        core: BotCore,
        ledger: Ledger,
        pool: ProviderPool,
        links: Mapping[str, ProviderLink],
        answer_s: float,
        max_unanswered: int,
    ) -> None:
        #: Questions that got no answer; only grows.
        self.failed = 0
        self._core = core
        self._ledger = ledger
        self._pool = pool
        self._links = links
        self._answer_s = answer_s
        self._max_unanswered = max_unanswered
        self._open: dict[int, _Question] = {}
        self._numbers = count(1)
        self._unanswered: Counter[str] = Counter()

    async def answer(self, lobby_id: str, text: str, from_participant_id: str) -> str:
        """Return what the bot says: of those that answer, the one that was asked for first.

        Raises: NoBotError, BotTimeoutError, BotFailedError.
        """
        bot = self._chat_bot(lobby_id)
        try:
            answer = await self._ask(bot, text, from_participant_id)
        except AnswerError:
            self.failed += 1
            raise
        self._core.note_message(bot)
        return answer

    def decide(
        self, question_id: int, provider_id: str, *, text: str | None = None, fault: str | None = None
    ) -> bool:
        """Take an answer, or why there is none, from a provider; tell whether the question is its, and open."""
        question = self._open.get(question_id)
        if question is None or question.provider_id != provider_id:
            return False
        question.decide(text=text, fault=fault)
        return True

    def fail_bot(self, bot_id: str, fault: str) -> None:
        """End all questions that wait for a bot."""
        if bot_id in self._unanswered:
            for question in tuple(self._open.values()):
                if question.bot_id == bot_id:
                    question.decide(fault=fault)

    def _chat_bot(self, lobby_id: str) -> Bot:
        for bot in self._ledger.in_lobby(lobby_id):
            if bot.state is not BotState.ACTIVE or bot.provider_id is None:
                continue
            if CHAT in self._pool.get(bot.provider_id).spec.capabilities:
                return bot
        raise NoBotError("no bot in this lobby answers: ask for one first")

    async def _ask(self, bot: Bot, text: str, from_participant_id: str) -> str:
        assert bot.provider_id is not None
        link = self._links.get(bot.provider_id)
        if link is None:
            raise BotFailedError("the bot's provider is not connected just now: ask again in a moment")
        if self._unanswered[bot.bot_id] >= self._max_unanswered:
            raise BotFailedError(f"the bot has {self._max_unanswered} questions to answer: ask later")
        with self._opened(bot.bot_id, bot.provider_id) as question:
            link.send(
                BotQuestion(
                    question_id=question.question_id,
                    bot_id=bot.bot_id,
                    text=text,
                    participant_id=from_participant_id,
                    answer_seconds=self._answer_s,
                )
            )
            with trio.move_on_after(self._answer_s) as patience:
                await question.decided.wait()
        if patience.cancelled_caught:
            raise BotTimeoutError(f"the bot did not answer within {self._answer_s:g} s")
        if question.text is None:
            raise BotFailedError(f"the bot did not answer: {question.fault}")
        return question.text

    @contextmanager
    def _opened(self, bot_id: str, provider_id: str) -> Iterator[_Question]:
        question = _Question(next(self._numbers), bot_id, provider_id)
        self._open[question.question_id] = question
        self._unanswered[bot_id] += 1
        try:
            yield question
        finally:
            del self._open[question.question_id]
            self._unanswered[bot_id] -= 1
            if not self._unanswered[bot_id]:
                del self._unanswered[bot_id]
