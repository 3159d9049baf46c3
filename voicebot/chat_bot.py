"""A bot that talks in a lobby's chat: greets who comes, answers who writes, and who asks it directly."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, ClassVar

from signaling.messages import MAX_CHAT_LENGTH, ChatPosted, ParticipantJoined
from voicebot.bot import CHAT, Assignment, Bot
from voicebot.connection import Connection
from voicebot.errors import VoicebotError

HELP = "I can tell you the `time`, who is here (`who`), or repeat what you `say`."


class ChatBot(Bot):
    """See the module. ``config``: ``greeting``, with ``{name}`` for who comes; empty: it greets nobody."""

    title: ClassVar[str] = "Chat"
    description: ClassVar[str] = "Greets who comes, and answers in the lobby's chat."
    capabilities: ClassVar[tuple[str, ...]] = (CHAT,)
    config_schema: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "properties": {"greeting": {"type": "string", "maxLength": 500}},
        "additionalProperties": False,
    }

    def __init__(self, assignment: Assignment) -> None:
        super().__init__(assignment)
        self._greeting: str = assignment.config.get("greeting", "Welcome, {name}!")
        self._connection: Connection | None = None

    async def run(self, connection: Connection) -> None:
        """See ``Bot``."""
        self._connection = connection
        async for event in connection.events():
            match event:
                case ParticipantJoined(participant=other) if not other.is_bot and self._greeting:
                    await self._say(self._greeting.replace("{name}", other.name))
                case ChatPosted(message=line):
                    author = connection.lobby.participants.get(line.participant_id)
                    if author is not None and not author.is_bot:  # two bots would never stop
                        await self._say(self._reply(line.text, author.name))

    async def answer(self, text: str, participant_id: str) -> str:
        """See ``Bot``."""
        people = {} if self._connection is None else self._connection.lobby.participants
        asker = people.get(participant_id)
        return self._reply(text, "you" if asker is None else asker.name)

    async def _say(self, text: str) -> None:
        """Write a line. One that cannot be written is no reason to leave: if the connection is lost, ``events`` says so."""
        assert self._connection is not None
        line = _sayable(text)
        if line:
            with suppress(VoicebotError):
                await self._connection.chat(line)

    def _reply(self, text: str, asker: str) -> str:
        command, _, rest = text.strip().partition(" ")
        match command.lower().strip(".,!?"):
            case "hello" | "hi" | "hey":
                return f"Hello, {asker}! {HELP}"
            case "time":
                return f"It is {datetime.now(UTC):%H:%M} UTC."
            case "who":
                people = () if self._connection is None else self._connection.lobby.participants.values()
                return f"Here are {', '.join(each.name for each in people)}."
            case "say" if rest:
                return rest
            case _:
                return HELP


def _sayable(text: str) -> str:
    """Return what a line of chat may hold of a text that anybody may have had a part in."""
    kept = "".join(each for each in text if each.isprintable() or each in "\n\t")
    return kept.strip()[:MAX_CHAT_LENGTH].strip()
