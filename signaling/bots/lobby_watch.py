"""What happens in lobbies, for the bots: which of them are there, what they say, and whether anybody else is."""

from collections.abc import Callable

import trio

from signaling import events
from signaling.bots.core import BotCore
from signaling.bots.ledger import Ledger
from signaling.bots.lonely_lobbies import LonelyLobbies
from signaling.bots.performer import Performer
from signaling.bus import Bus, Overflow, SubscriptionLostError
from signaling.event_handler import run_handler
from signaling.lobbies import Lobbies
from signaling.logs import get_logger
from signaling.stamped import Stamped
from signaling.supervisor import supervise

_HEARD = (events.ParticipantEntered, events.ParticipantGone, events.LobbyClosed, events.ChatSaid)
_log = get_logger(__name__)


class LobbyWatch:
    """See the module. ``run`` hears; it looks for itself at the beginning, and when it has missed something."""

    def __init__(
        self,
        name: str,
        *,
        core: BotCore,
        ledger: Ledger,
        performer: Performer,
        lobbies: Lobbies,
        bus: Bus,
        alone_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._name = name
        self._core = core
        self._ledger = ledger
        self._performer = performer
        self._lobbies = lobbies
        self._bus = bus
        self._clock = clock
        self._lonely = LonelyLobbies(alone_s)

    async def run(self) -> None:
        """Hear what happens, for ever."""
        while True:
            try:
                with self._bus.subscribe(self._name, types=_HEARD, overflow=Overflow.CLOSE) as subscription:
                    await supervise(self._name, subscription.failures, self._look)
                    await run_handler(subscription, self._hear)
            except SubscriptionLostError:
                _log.warning("the bots missed events, and look at all lobbies instead")

    def next_timeout(self) -> float:
        """Return when ``handle_timeout`` is due."""
        return self._lonely.next_timeout()

    def handle_timeout(self, now: float) -> None:
        """Let bots leave the lobbies that nobody else is in; what that brings about is for the caller to perform."""
        for lobby_id in self._lonely.overdue(now):
            for bot in self._ledger.in_lobby(lobby_id):
                self._core.stop(bot, "nobody but bots is left in the lobby", now)

    async def _hear(self, stamped: Stamped) -> None:
        event = stamped.event
        try:
            if isinstance(event, events.ChatSaid):
                bot = self._ledger.by_participant(event.message.participant_id)
                if bot is not None:
                    self._core.note_message(bot)
            elif isinstance(event, events.ParticipantEntered):
                self._enter(event.lobby_id, event.session_id, event.participant.participant_id)
            elif isinstance(event, events.ParticipantGone):
                self._leave(event.lobby_id, event.participant_id, event.reason)
            elif isinstance(event, events.LobbyClosed):
                self._close(event.lobby_id, f"the lobby was closed: {event.reason}")
        finally:
            self._performer.perform()

    def _enter(self, lobby_id: str, session_id: str, participant_id: str) -> None:
        bot = self._ledger.expected(session_id)
        lobby = self._lobbies.get(lobby_id)
        if bot is not None and lobby is not None and lobby.name == bot.request.lobby:
            self._core.entered_lobby(bot, lobby_id, participant_id, session_id, self._clock())
        self._look_for_people(lobby_id)

    def _leave(self, lobby_id: str, participant_id: str, reason: str) -> None:
        bot = self._ledger.by_participant(participant_id)
        if bot is not None:
            self._core.left_lobby(bot, reason, self._clock())
        self._look_for_people(lobby_id)

    def _close(self, lobby_id: str, reason: str) -> None:
        self._lonely.forget(lobby_id)
        for bot in self._ledger.in_lobby(lobby_id):
            self._core.stop(bot, reason, self._clock())

    def _look_for_people(self, lobby_id: str) -> None:
        """Note whether a lobby is kept open by bots alone."""
        lobby = self._lobbies.get(lobby_id)
        lonely = (
            lobby is not None
            and bool(self._ledger.in_lobby(lobby_id))
            and not lobby.record.persistent
            and all(each.is_bot for each in lobby.participants.values())
        )
        if self._lonely.note(lobby_id, self._clock(), lonely=lonely):
            self._performer.wake()

    async def _look(self) -> None:
        """See for oneself who is where."""
        await trio.lowlevel.checkpoint()
        for bot in self._ledger.live:
            lobby = self._lobbies.get(bot.request.lobby_id)
            if lobby is None:
                self._close(bot.request.lobby_id, "the lobby was closed")
            elif bot.participant_id is not None and bot.participant_id not in lobby.participants:
                self._core.left_lobby(bot, "disconnected", self._clock())
        for lobby in self._lobbies:
            for participant in tuple(lobby.participants.values()):
                if self._ledger.expected(participant.session_id) is not None:
                    self._enter(lobby.lobby_id, participant.session_id, participant.participant_id)
            self._look_for_people(lobby.lobby_id)
        self._performer.perform()
