"""All bots, found by their id, ticket, participant, or idempotency key. Those that are gone are kept for a while."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator

from signaling.bots.bot import Bot
from signaling.bots.errors import UnknownBotError
from signaling.bots.lifecycle import BotState

#: Sessions that used a ticket and have not been seen in its lobby: joins that are under way, or failed.
_MAX_HOLDERS = 10_000


def digest(secret: str) -> bytes:
    """Return what is kept of a secret: how long a look-up takes then says nothing about how near a guess came."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


class Ledger:
    """See the module. Overflow policy: the bot that has been gone the longest is forgotten."""

    def __init__(self, history: int) -> None:
        self._history = history
        self._live: dict[str, Bot] = {}
        self._by_lobby: dict[str, dict[str, Bot]] = {}
        #: Those that have a deadline, oldest first.
        self._timed: dict[str, Bot] = {}
        self._gone: OrderedDict[str, Bot] = OrderedDict()
        self._keys: dict[tuple[str, str], Bot] = {}
        self._tickets: dict[bytes, Bot] = {}
        self._participants: dict[str, Bot] = {}
        self._holders: OrderedDict[str, Bot] = OrderedDict()

    @property
    def live_count(self) -> int:
        """How many are not gone."""
        return len(self._live)

    @property
    def live(self) -> tuple[Bot, ...]:
        """Those that are not gone."""
        return tuple(self._live.values())

    @property
    def timed(self) -> tuple[Bot, ...]:
        """Those that are neither active nor gone, in the order in which they entered their state."""
        return tuple(self._timed.values())

    def __iter__(self) -> Iterator[Bot]:
        return iter((*self._live.values(), *self._gone.values()))

    def get(self, bot_id: str) -> Bot:
        """Return the bot of this id, be it gone.

        Raises: UnknownBotError.
        """
        bot = self._live.get(bot_id) or self._gone.get(bot_id)
        if bot is None:
            raise UnknownBotError(f"there is no bot {bot_id!r}, or it has been gone for long")
        return bot

    def by_key(self, company_id: str, key: str | None) -> Bot | None:
        """Return the bot that was asked for with this idempotency key."""
        return None if key is None else self._keys.get((company_id, key))

    def by_ticket(self, ticket_untrusted: str) -> Bot | None:
        """Return the bot that may use this ticket."""
        return self._tickets.get(digest(ticket_untrusted))

    def by_participant(self, participant_id: str) -> Bot | None:
        """Return the bot that this participant is."""
        return self._participants.get(participant_id)

    def in_lobby(self, lobby_id: str) -> tuple[Bot, ...]:
        """Return the live bots of a lobby, in the order in which they were asked for."""
        return tuple(self._by_lobby.get(lobby_id, {}).values())

    def add(self, bot: Bot) -> None:
        """Keep a new bot."""
        self._live[bot.bot_id] = bot
        self._by_lobby.setdefault(bot.request.lobby_id, {})[bot.bot_id] = bot
        if bot.request.idempotency_key is not None:
            self._keys[bot.request.company_id, bot.request.idempotency_key] = bot

    def note_state(self, bot: Bot) -> None:
        """Follow a bot into its new state."""
        self._timed.pop(bot.bot_id, None)
        if bot.state is BotState.GONE:
            del self._live[bot.bot_id]
            self._leave_lobby(bot)
            self._gone[bot.bot_id] = bot
            if len(self._gone) > self._history:
                self._forget(self._gone.popitem(last=False)[1])
        elif bot.state is not BotState.ACTIVE:
            self._timed[bot.bot_id] = bot

    def give_ticket(self, bot: Bot, ticket: str) -> None:
        """Let the bot be found by this ticket, and by no former one."""
        self.void_ticket(bot)
        bot.ticket_digest = digest(ticket)
        self._tickets[bot.ticket_digest] = bot

    def void_ticket(self, bot: Bot) -> None:
        """Let the bot be found by no ticket."""
        if bot.ticket_digest is not None:
            del self._tickets[bot.ticket_digest]
            bot.ticket_digest = None

    def give_participant(self, bot: Bot, participant_id: str | None) -> None:
        """Note who the bot is in its lobby; None: nobody any more."""
        if bot.participant_id is not None:
            self._participants.pop(bot.participant_id, None)
        bot.participant_id = participant_id
        if participant_id is not None:
            self._participants[participant_id] = bot

    def expect(self, session_id: str, bot: Bot) -> None:
        """Note that this session used the bot's ticket and is about to join."""
        bot.holder = session_id
        self._holders.pop(session_id, None)
        self._holders[session_id] = bot
        if len(self._holders) > _MAX_HOLDERS:
            self._holders.popitem(last=False)

    def expected(self, session_id: str) -> Bot | None:
        """Return the bot whose ticket this session used and has not joined with yet, be it too late."""
        return self._holders.get(session_id)

    def forget_holder(self, session_id: str) -> None:
        """Note that this session has joined."""
        self._holders.pop(session_id, None)

    def _leave_lobby(self, bot: Bot) -> None:
        others = self._by_lobby[bot.request.lobby_id]
        del others[bot.bot_id]
        if not others:
            del self._by_lobby[bot.request.lobby_id]

    def _forget(self, bot: Bot) -> None:
        key = bot.request.idempotency_key
        if key is not None:
            self._keys.pop((bot.request.company_id, key), None)
