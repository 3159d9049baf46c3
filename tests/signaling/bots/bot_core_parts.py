"""The pure core of the bots with a clock one sets by hand, and what it wants done, kept in order."""

from collections import deque
from datetime import UTC, datetime
from itertools import count
from typing import TypeVar

from signaling.bots.bot import Bot, BotRequest
from signaling.bots.config_schema import ConfigSchema
from signaling.bots.core import BotCore
from signaling.bots.deadlines import BotLimits, Deadlines
from signaling.bots.events import BotEvent
from signaling.bots.ledger import Ledger
from signaling.bots.outputs import Offer, Output, Publish, SendOffer
from signaling.bots.pool import ProviderPool
from signaling.bots.provider import Provider, ProviderSpec
from signaling.bots.registry import Registry

AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
Kind = TypeVar("Kind")


class Parts:
    def __init__(self, deadlines: Deadlines | None = None, limits: BotLimits | None = None) -> None:
        self.now = 0.0
        self.deadlines = deadlines or Deadlines()
        self.limits = limits or BotLimits()
        numbers = count(1)
        names = {
            "new_id": lambda prefix: f"{prefix}-{next(numbers)}",
            "new_secret": lambda: f"secret-{next(numbers)}",
        }
        self.outputs: deque[Output] = deque()
        self.pool = ProviderPool(self.deadlines, self.limits)
        self.ledger = Ledger(self.limits.history)
        common = {"pool": self.pool, "outputs": self.outputs, "deadlines": self.deadlines, **names}
        self.core = BotCore(ledger=self.ledger, limits=self.limits, **common)
        self.registry = Registry(core=self.core, **common)
        #: provider id -> what it was offered, in order.
        self.offers: dict[str, list[Offer]] = {}
        self._participants = count(1)

    # What happens.

    def provider(self, name: str = "Echo", company_id: str = "", **more: object) -> Provider:
        schema = ConfigSchema(more.pop("config_schema", {}))
        spec = ProviderSpec(name, config_schema=schema, **more)
        return self.registry.register(spec, company_id, self.now, AT)[0]

    def request(self, **more: object) -> Bot:
        wanted = BotRequest(**{"lobby_id": "l-1", "lobby": "garden"} | more)
        return self.core.request(wanted, self.now, AT)

    def accept(self, bot: Bot) -> None:
        self.core.accept(self.provider_of(bot), bot.bot_id, self.now)

    def enter(self, bot: Bot, session: str | None = None) -> str:
        """Let the bot's present ticket be used, and its session be in the lobby."""
        offer = self.offer_of(bot)
        holder = session or f"s-{bot.bot_id}-{bot.offers}"
        ticket = self.core.redeem(offer.ticket, self.now, lobby=offer.lobby, company_id="", holder=holder)
        assert ticket is not None
        return self.arrive(bot, holder)

    def arrive(self, bot: Bot, holder: str) -> str:
        participant_id = f"p-{next(self._participants)}"
        self.core.entered_lobby(bot, bot.request.lobby_id, participant_id, holder, self.now)
        return participant_id

    def active(self, **more: object) -> Bot:
        bot = self.request(**more)
        self.accept(bot)
        self.enter(bot)
        return bot

    def wait(self, seconds: float) -> None:
        """Let time pass, doing what is due when it is due."""
        end = self.now + seconds
        while (due := self.next_timeout()) <= end:
            self.now = max(self.now, due)
            self.registry.handle_timeout(self.now)
            self.core.handle_timeout(self.now)
        self.now = end

    def next_timeout(self) -> float:
        return min(self.core.next_timeout(self.now), self.registry.next_timeout())

    # What comes of it.

    def provider_of(self, bot: Bot) -> Provider:
        assert bot.provider_id is not None
        return self.pool.get(bot.provider_id)

    def offer_of(self, bot: Bot) -> Offer:
        """The last offer of this bot."""
        found = [
            output.offer
            for output in self.outputs
            if isinstance(output, SendOffer) and output.offer.bot_id == bot.bot_id
        ]
        return found[-1]

    def found(self, kind: type[Kind]) -> list[Kind]:
        return [output for output in self.outputs if isinstance(output, kind)]

    def events(self, bot: Bot) -> list[str]:
        return [
            type(output.event).__name__
            for output in self.outputs
            if isinstance(output, Publish)
            and isinstance(output.event, BotEvent)
            and output.event.bot_id == bot.bot_id
        ]
