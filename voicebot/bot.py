"""What a bot author writes: a class whose ``run`` is one bot's stay in one lobby. A provider makes and runs them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from voicebot.connection import Connection

#: Bots with this capability answer questions that are put to them directly (``Bot.answer``).
CHAT = "chat"


class UnansweredError(Exception):
    """The bot does not answer this; the text says why, to who asked."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """Where a bot is wanted, under which name, and how."""

    bot_id: str
    lobby: str
    lobby_id: str
    company_id: str
    name: str
    #: As the class's ``config_schema`` has it; the relay has checked it.
    config: Mapping[str, Any]


class Bot:
    """Derive from it. Made anew for each assignment; what ``__init__`` raises is the reason of a refusal.

    The class says what may be asked for; a provider registers with it.
    """

    #: What its provider is called, unless the provider is told otherwise.
    title: ClassVar[str] = "Bot"
    description: ClassVar[str] = ""
    #: Words by which it may be asked for, such as ``chat``.
    capabilities: ClassVar[tuple[str, ...]] = ()
    #: JSON Schema of the config, in the subset of ``signaling/BOTS.md``.
    config_schema: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, assignment: Assignment) -> None:
        self.assignment = assignment

    async def run(self, connection: Connection) -> None:
        """Be in the lobby: the connection has joined it. Returning ends the bot; raising, too, and it is tried again elsewhere.

        Cancelled when the bot is to leave.
        """
        raise NotImplementedError

    async def answer(self, text: str, participant_id: str) -> str:  # noqa: ARG002 - for those who override it
        """Return what the bot says to who asks it directly, beside the lobby's chat. Called many times at once.

        Raises: UnansweredError, or anything else.
        """
        raise UnansweredError(f"{self.title} answers no questions")
