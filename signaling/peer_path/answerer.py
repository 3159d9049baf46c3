"""Who answers what peers write to their lobby's bot, and how that can fail."""

from typing import Protocol


class AnswerError(Exception):
    """There is no answer; ``code`` is stable, the text is for the peer to read."""

    code = "bot_failed"


class NoBotError(AnswerError):
    """No bot in the lobby answers text."""

    code = "no_bot"


class BotTimeoutError(AnswerError):
    """The bot took too long."""

    code = "bot_timeout"


class BotFailedError(AnswerError):
    """The bot refused, failed, or left meanwhile."""


class Answerer(Protocol):
    """Knows the bots of lobbies."""

    async def answer(self, lobby_id: str, text: str, from_participant_id: str) -> str:
        """Return what the lobby's bot says to this text.

        Called many times at once. Cancelled when the one who asks is gone, or has waited long enough.

        Raises: NoBotError, BotTimeoutError, BotFailedError.
        """


class NobodyAnswers:
    """The answerer of a server without bots."""

    async def answer(self, lobby_id: str, text: str, from_participant_id: str) -> str:  # noqa: ARG002 - whoever asks
        """See ``Answerer``."""
        raise NoBotError("no bot in this lobby answers: ask for one first")
