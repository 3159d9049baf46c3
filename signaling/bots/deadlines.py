"""How long what may take, and how much of it there may be; all in seconds, or counts."""

from dataclasses import dataclass

from signaling.bots.lifecycle import BotState


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How patient the service is."""

    #: A request waits so long for a provider that has room, is back, or registers.
    request_s: float = 2.0
    #: The same for a bot whose provider failed: as long as it takes to start a program again.
    reassign_s: float = 15.0
    #: A provider says yes or no.
    offer_s: float = 2.0
    #: Then its bot is in the lobby.
    join_s: float = 10.0
    #: A bot that was asked to leave has left, and its provider has said so.
    leave_s: float = 5.0
    #: A provider whose connection was lost is back.
    away_s: float = 5.0
    #: The same after a restart of the server: all come back at once, and late.
    restart_s: float = 20.0
    #: A provider is heard of so often, and is lost when it was not for ``late_s``.
    heartbeat_s: float = 2.0
    late_s: float = 7.0
    #: A provider that failed is passed over for so long; twice as long after each further failure, up to the maximum.
    cool_down_s: float = 1.0
    max_cool_down_s: float = 30.0
    #: A bot that was in its lobby for so long has done well: reassignments before that do not count any more.
    settled_s: float = 60.0
    #: A bot that is asked something has answered.
    answer_s: float = 20.0
    #: Bots leave a lobby that is kept open by nobody but bots.
    alone_s: float = 60.0

    def of(self, state: BotState, *, again: bool = False) -> float | None:
        """Return how long a bot may be in this state; None: for ever. ``again``: its former provider failed."""
        return {
            BotState.REQUESTED: self.reassign_s if again else self.request_s,
            BotState.OFFERED: self.offer_s,
            BotState.JOINING: self.join_s,
            BotState.LEAVING: self.leave_s,
        }.get(state)


@dataclass(frozen=True, slots=True)
class BotLimits:
    """How much there may be at once."""

    bots: int = 5000
    bots_per_lobby: int = 20
    providers: int = 1000
    #: Per company; the operator's own are not counted.
    providers_per_company: int = 100
    #: Bots that are gone and can still be asked about.
    history: int = 1000
    #: Offers of one bot, in a row, before it is given up.
    offers: int = 10
    #: In a row, of one bot that never did well in between (``Deadlines.settled_s``).
    reassignments: int = 3
    #: Questions to one bot that may be unanswered.
    questions: int = 20
