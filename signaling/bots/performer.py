"""Does what the core and the registry of providers want done: tells the bus and the providers, lobbies and the store.

All of it is synchronous, and none of it waits. Who is told something may answer at once; that is another step, whose
wishes come after those of the first.
"""

from collections import deque
from collections.abc import Callable

import trio

from signaling.auth.company_usage import CompanyUsage, Resource
from signaling.bots.bot import Bot
from signaling.bots.events import BotActive, BotEvent, BotGone, BotReassigned
from signaling.bots.ledger import Ledger
from signaling.bots.lifecycle import BotState
from signaling.bots.link import ProviderLink
from signaling.bots.outputs import DropProvider, Expel, Output, Publish, SendDrain, SendOffer, SendStop
from signaling.bots.pool import ProviderPool
from signaling.bots.shadow import record_of
from signaling.bus import Bus
from signaling.lobbies import Lobbies
from signaling.messages import CloseCode
from signaling.messages.bots import BotOffer, BotStop, ProviderDraining
from signaling.removals import kicked
from signaling.storage import Change, DropBot, PutBot, Store


class Performer:
    """See the module. ``fail_questions`` is told of bots that cannot answer any more, and why."""

    def __init__(
        self,
        outputs: deque[Output],
        *,
        links: dict[str, ProviderLink],
        ledger: Ledger,
        pool: ProviderPool,
        bus: Bus,
        lobbies: Lobbies,
        store: Store,
        usage: CompanyUsage,
        fail_questions: Callable[[str, str], None],
        clock: Callable[[], float],
    ) -> None:
        #: bot id -> set once it is active or gone, for the first time.
        self.settled: dict[str, trio.Event] = {}
        self._outputs = outputs
        self._links = links
        self._ledger = ledger
        self._pool = pool
        self._bus = bus
        self._lobbies = lobbies
        self._store = store
        self._usage = usage
        self._fail_questions = fail_questions
        self._clock = clock
        self._performing = False
        self._changed = trio.Event()

    def perform(self) -> None:
        """Do what the last step wants done."""
        if not self._outputs:
            return
        self.wake()
        if self._performing:
            return
        self._performing = True
        try:
            while self._outputs:
                self._do(self._outputs.popleft())
        finally:
            self._performing = False

    def wake(self) -> None:
        """Let who waits for changes look again."""
        self._changed.set()

    async def wait_changed(self, until: float) -> None:
        """Wait until something was done, or until a time."""
        with trio.move_on_at(until):
            await self._changed.wait()
        self._changed = trio.Event()

    def changes(self, bot: Bot) -> tuple[Change, ...]:
        """Return what the store is to keep of a bot as it is now: one that is to end is not wanted after a restart."""
        if bot.state in {BotState.LEAVING, BotState.GONE}:
            return (DropBot(bot.bot_id),)
        provider = None
        if bot.provider_id is not None and bot.provider_id in self._pool:
            provider = self._pool.get(bot.provider_id)
        return (PutBot(record_of(bot, provider, self._clock())),)

    def _do(self, output: Output) -> None:
        if isinstance(output, Publish):
            if isinstance(output.event, BotEvent):
                self._follow(output.event)
            self._bus.publish(output.event)
        elif isinstance(output, Expel):
            lobby = self._lobbies.get(output.lobby_id)
            participant = None if lobby is None else lobby.participants.get(output.participant_id)
            if participant is not None:
                participant.dismiss(kicked(output.reason))
        elif (link := self._links.get(output.provider_id)) is not None:
            self._tell(link, output)

    def _follow(self, event: BotEvent) -> None:
        """Do what comes with the event of a bot."""
        if isinstance(event, BotActive | BotGone) and event.bot_id in self.settled:
            self.settled.pop(event.bot_id).set()
        if isinstance(event, BotGone):
            self._usage.release(event.company_id, Resource.BOT)
        if not isinstance(event, BotActive):
            self._fail_questions(event.bot_id, f"it has left ({event.reason})")
        if not isinstance(event, BotReassigned):  # what follows it says more
            self._store.submit(*self.changes(self._ledger.get(event.bot_id)))

    def _tell(self, link: ProviderLink, output: SendOffer | SendStop | SendDrain | DropProvider) -> None:
        if isinstance(output, SendOffer):
            offer = output.offer
            link.send(
                BotOffer(
                    bot_id=offer.bot_id,
                    lobby=offer.lobby,
                    lobby_id=offer.lobby_id,
                    company_id=offer.company_id,
                    name=offer.name,
                    config=dict(offer.config),
                    ticket=offer.ticket,
                    accept_seconds=offer.deadline_s,
                    join_seconds=offer.join_s,
                )
            )
        elif isinstance(output, SendStop):
            link.send(BotStop(bot_id=output.bot_id, reason=output.reason))
        elif isinstance(output, SendDrain):
            link.send(ProviderDraining(reason=output.reason))
        else:
            del self._links[output.provider_id]
            link.close(CloseCode.KEEPALIVE_TIMEOUT, output.reason)
