"""Runs bots as a relay asks for them, each apart from the others: what one does, or fails at, is its own affair.

Whatever carries the messages uses it: ``handle`` takes those of the relay, ``tell`` gives it ours. ``run`` is the scope
in which the bots live; leaving it ends them all.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

import trio

from signaling.messages import ClientMessage, ServerMessage
from signaling.messages.bots import (
    MAX_ANSWER_LENGTH,
    AcceptBot,
    AnswerQuestion,
    BotOffer,
    BotQuestion,
    BotStop,
    BotStopped,
    FailQuestion,
    ProviderDraining,
    RefuseBot,
)
from signaling.messages.model import MAX_LINE_LENGTH
from voicebot.bot import Assignment, Bot
from voicebot.connection import Connection

#: Makes a bot; what it raises is the reason of a refusal.
MakeBot = Callable[[Assignment], Bot]
#: Opens a connection to the relay for one bot.
ConnectBot = Callable[[], AbstractAsyncContextManager[Connection]]
#: Sends a message to the relay; never waits.
Tell = Callable[[ClientMessage], None]
#: Told what went wrong with a bot, for a log.
Report = Callable[[str, BaseException], None]


@dataclass(slots=True, eq=False)
class _Job:
    """One bot, from the offer to its end."""

    bot_id: str
    bot: Bot
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    in_lobby: bool = False


class BotRunner:
    """See the module."""

    def __init__(
        self, make: MakeBot, *, capacity: int, connect: ConnectBot, tell: Tell, report: Report
    ) -> None:
        #: Whether offers are refused.
        self.draining = False
        #: Bots that ended by an exception.
        self.failures = 0
        self._make = make
        self._capacity = capacity
        self._connect = connect
        self._tell = tell
        self._report = report
        self._jobs: dict[str, _Job] = {}
        self._nursery: trio.Nursery | None = None
        self._emptied = trio.Event()

    @property
    def running(self) -> tuple[str, ...]:
        """Ids of the bots that are in their lobbies, or on their way."""
        return tuple(self._jobs)

    @property
    def load(self) -> float:
        """How busy it is, from 0 to 1."""
        return min(1.0, len(self._jobs) / self._capacity)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Let bots run until cancelled; that ends them."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._nursery = None

    async def wait_empty(self) -> None:
        """Wait until no bot runs."""
        while self._jobs:
            self._emptied = trio.Event()
            await self._emptied.wait()

    def handle(self, message: ServerMessage) -> None:
        """Do what the relay says; other messages are none of the runner's."""
        if isinstance(message, BotOffer):
            self._take(message)
        elif isinstance(message, BotStop):
            job = self._jobs.get(message.bot_id)
            if job is not None:
                job.scope.cancel()
        elif isinstance(message, BotQuestion):
            self._ask(message)
        elif isinstance(message, ProviderDraining):
            self.draining = True

    def abandon_joining(self) -> None:
        """End the bots that are on their way: after a lost connection the relay asks somebody else for them."""
        for job in self._jobs.values():
            if not job.in_lobby:
                job.scope.cancel()

    def _take(self, offer: BotOffer) -> None:
        former = self._jobs.get(offer.bot_id)
        if former is not None:
            # It was taken from us, and comes back before its end is done with: the new one takes its place.
            former.scope.cancel()
            del self._jobs[offer.bot_id]
        if self._nursery is None or self.draining or len(self._jobs) >= self._capacity:
            why = "it is draining" if self.draining else f"it runs {len(self._jobs)} bots, as many as it can"
            self._tell(RefuseBot(bot_id=offer.bot_id, reason=why))
            return
        assignment = Assignment(
            bot_id=offer.bot_id,
            lobby=offer.lobby,
            lobby_id=offer.lobby_id,
            company_id=offer.company_id,
            name=offer.name,
            config=offer.config,
        )
        try:
            bot = self._make(assignment)
        except Exception as error:  # noqa: BLE001 - a bot author's code: its faults are its own
            self._tell(RefuseBot(bot_id=offer.bot_id, reason=in_one_line(error)))
            return
        job = self._jobs[offer.bot_id] = _Job(offer.bot_id, bot)
        self._tell(AcceptBot(bot_id=offer.bot_id))
        self._nursery.start_soon(self._run, job, offer)

    async def _run(self, job: _Job, offer: BotOffer) -> None:
        reason, failed = "it has finished", False
        try:
            with job.scope:
                async with self._connect() as connection:
                    with trio.fail_after(offer.join_seconds):
                        await connection.join(offer.lobby, offer.name, is_bot=True, bot_ticket=offer.ticket)
                    job.in_lobby = True
                    await job.bot.run(connection)
            if job.scope.cancelled_caught:
                reason = "stopped as told"
        except Exception as error:  # noqa: BLE001 - the supervisor of one bot
            reason, failed = in_one_line(error), True
            self.failures += 1
            self._report(job.bot_id, error)
        finally:
            if self._jobs.get(job.bot_id) is job:
                del self._jobs[job.bot_id]
                if not self._jobs:
                    self._emptied.set()
                self._tell(BotStopped(bot_id=job.bot_id, reason=reason, failed=failed))

    def _ask(self, question: BotQuestion) -> None:
        job = self._jobs.get(question.bot_id)
        if job is None or self._nursery is None:
            self._tell(FailQuestion(question_id=question.question_id, reason="the bot is not here any more"))
        else:
            self._nursery.start_soon(self._answer, job, question)

    async def _answer(self, job: _Job, question: BotQuestion) -> None:
        try:
            with trio.fail_after(question.answer_seconds):
                text = await job.bot.answer(question.text, question.participant_id)
            self._tell(AnswerQuestion(question_id=question.question_id, text=text[:MAX_ANSWER_LENGTH]))
        except Exception as error:  # noqa: BLE001 - a bot author's code, as above
            self._tell(FailQuestion(question_id=question.question_id, reason=in_one_line(error)))


def in_one_line(error: BaseException) -> str:
    """Return what an exception says, as a reason may say it."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    printable = "".join(each if each.isprintable() else " " for each in text)
    return printable.encode(errors="replace").decode()[:MAX_LINE_LENGTH]
