"""What one peer asks its lobby's bot: a few at a time, each waited for beside everything else, and not for ever."""

from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from signaling.messages import ErrorCode
from signaling.peer_path.answerer import Answerer, AnswerError
from signaling.peer_path.codes import PeerErrorCode
from signaling.peer_path.messages import PeerReply, Response
from signaling.request_error import RequestError
from signaling.session import Membership
from signaling.session_limits import SessionLimits
from signaling.supervisor import supervise

#: Questions that may be unanswered at a time.
MAX_QUESTIONS = 4
#: How long an answer is waited for, whatever the answerer's own patience.
ANSWER_SECONDS = 30.0


class Questions:
    """See the module. ``send_error`` takes a code and a text."""

    def __init__(
        self,
        answerer: Answerer,
        *,
        failures: Counter[str],
        tell: Callable[[PeerReply], None],
        send_error: Callable[[str, str], None],
    ) -> None:
        self._answerer = answerer
        self._failures = failures
        self._tell = tell
        self._send_error = send_error
        self._unanswered = 0

    def ask(self, text: str, limits: SessionLimits, membership: Membership, nursery: trio.Nursery) -> None:
        """Ask; the answer, or why there is none, is told when it comes. Counts as a line of chat.

        Raises: RequestError when there are too many.
        """
        if not limits.take("chat", trio.current_time()):
            raise RequestError(ErrorCode.RATE_LIMITED, "too many messages to the bot: wait a moment")
        if self._unanswered >= MAX_QUESTIONS:
            fault = f"{MAX_QUESTIONS} messages to the bot are unanswered: wait for one of them"
            raise RequestError(ErrorCode.RATE_LIMITED, fault)
        self._unanswered += 1
        nursery.start_soon(self._wait, partial(self._relate, text, membership))

    async def _wait(self, relate: Callable[[], Awaitable[None]]) -> None:
        try:
            if not await supervise("peer_answer", self._failures, relate):
                self._send_error(ErrorCode.INTERNAL, "the bot failed; the server's log has the details")
        finally:
            self._unanswered -= 1

    async def _relate(self, text: str, membership: Membership) -> None:
        asker = membership.participant.participant_id
        try:
            with trio.fail_after(ANSWER_SECONDS):
                content = await self._answerer.answer(membership.lobby.lobby_id, text, asker)
        except AnswerError as error:
            self._send_error(error.code, str(error))
        except trio.TooSlowError:
            self._send_error(PeerErrorCode.BOT_TIMEOUT, f"the bot did not answer within {ANSWER_SECONDS:g} s")
        else:
            # A bot's own text may hold what cannot be sent.
            self._tell(Response(content=content.encode(errors="replace").decode()))
