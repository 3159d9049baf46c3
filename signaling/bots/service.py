"""The bots of a running server: the pure core with a clock, the lobbies it hears of, and the providers it talks to.

Every step of the core is followed at once, and synchronously, by what it wants done (``performer.py``). Two tasks drive it
besides those who call: one keeps the deadlines, one hears who enters and leaves lobbies (``lobby_watch.py``). Those who
want bots use the first part, providers the second (``provider_connection.py``), bots in lobbies the third.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import trio
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, from_json, to_json

from signaling.admission import JoinRequest
from signaling.auth.company_usage import CompanyUsage, Resource
from signaling.auth.grants import Grants
from signaling.bots.answers import Answers
from signaling.bots.bot import Bot, BotRequest
from signaling.bots.core import BotCore
from signaling.bots.deadlines import BotLimits, Deadlines
from signaling.bots.errors import (
    BotConfigError,
    BotError,
    BotsDrainingError,
    InvalidRequestError,
    UnknownBotError,
    UnknownLobbyError,
)
from signaling.bots.ledger import Ledger
from signaling.bots.lifecycle import BotState, ProviderState
from signaling.bots.link import ProviderLink
from signaling.bots.lobby_watch import LobbyWatch
from signaling.bots.outputs import Output
from signaling.bots.performer import Performer
from signaling.bots.pool import ProviderPool
from signaling.bots.provider import Provider, ProviderSpec
from signaling.bots.registry import Registry
from signaling.bots.shadow import bot_of
from signaling.bots.views import BotsStatistics, BotView, ProviderView
from signaling.bus import Bus
from signaling.drain import Drain
from signaling.identifiers import new_id, new_secret
from signaling.lobbies import Lobbies
from signaling.logs import get_logger
from signaling.messages import CloseCode, ErrorCode
from signaling.messages.model import Name
from signaling.request_error import RequestError
from signaling.storage import BotRecord, DropBot, Store, StoreUnavailableError
from signaling.supervisor import supervise

#: The name of its tasks and its subscription, in metrics.
NAME = "bots"
#: After a fault of ours, until deadlines are looked at again.
FAULT_PAUSE_SECONDS = 1.0

_NAME: TypeAdapter[str] = TypeAdapter(Name)
_log = get_logger(__name__)


class BotService:
    """See the module. ``run`` must run as long as the server does. The ``Tickets`` of the gate, and an ``Answerer``."""

    def __init__(
        self,
        *,
        lobbies: Lobbies,
        bus: Bus,
        store: Store,
        usage: CompanyUsage,
        drain: Drain,
        failures: Counter[str],
        deadlines: Deadlines | None = None,
        limits: BotLimits | None = None,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self.deadlines = deadlines or Deadlines()
        self._limits = limits or BotLimits()
        self._lobbies = lobbies
        self._store = store
        self._usage = usage
        self._drain = drain
        self._failures = failures
        self._clock = clock
        outputs: deque[Output] = deque()
        self._pool = ProviderPool(self.deadlines, self._limits)
        self._ledger = Ledger(self._limits.history)
        self._core = BotCore(
            pool=self._pool,
            ledger=self._ledger,
            outputs=outputs,
            deadlines=self.deadlines,
            limits=self._limits,
            new_id=new_id,
            new_secret=new_secret,
        )
        self._registry = Registry(
            pool=self._pool,
            core=self._core,
            outputs=outputs,
            deadlines=self.deadlines,
            new_id=new_id,
            new_secret=new_secret,
        )
        #: provider id -> its connection, while it has one.
        self._links: dict[str, ProviderLink] = {}
        self._answers = Answers(
            core=self._core,
            ledger=self._ledger,
            pool=self._pool,
            links=self._links,
            answer_s=self.deadlines.answer_s,
            max_unanswered=self._limits.questions,
        )
        self._performer = Performer(
            outputs,
            links=self._links,
            ledger=self._ledger,
            pool=self._pool,
            bus=bus,
            lobbies=lobbies,
            store=store,
            usage=usage,
            fail_questions=self._answers.fail_bot,
            clock=clock,
        )
        self._watch = LobbyWatch(
            NAME,
            core=self._core,
            ledger=self._ledger,
            performer=self._performer,
            lobbies=lobbies,
            bus=bus,
            alone_s=self.deadlines.alone_s,
            clock=clock,
        )

    def restore(self, records: Iterable[BotRecord]) -> None:
        """Take the bots of before a restart back; called once, when lobbies and sessions are back, before ``run``."""
        now, at = self._clock(), datetime.now(UTC)
        for record in records:
            lobby = self._lobbies.get(record.lobby_id)
            if lobby is None:
                self._store.submit(DropBot(record.bot_id))
                continue
            try:
                bot = bot_of(record, lobby=lobby.name, company_id=lobby.company_id, now=now, at=at)
                provider = self._former_provider(record, now, at)
            except (KeyError, TypeError, ValueError, BotError) as error:
                # Of an older or newer version, or edited: what is not understood is not run.
                _log.warning("a bot is not restored", bot=record.bot_id, fault=repr(error))
                self._store.submit(DropBot(record.bot_id))
                continue
            self._usage.acquire(lobby.company_id, Resource.BOT, limited=False)
            self._performer.settled[bot.bot_id] = trio.Event()
            here = record.participant_id in lobby.participants
            if here and provider is not None:
                self._performer.settled.pop(bot.bot_id).set()
            self._core.restore(bot, provider, record.participant_id if here else None, now)
        self._performer.perform()

    async def run(self) -> None:
        """Keep deadlines and hear what happens in lobbies, for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_deadlines)
            nursery.start_soon(self._watch.run)

    # For those who want bots.

    async def request(
        self,
        lobby_id: str,
        *,
        provider: str | None = None,
        config: Mapping[str, Any] | None = None,
        name: str | None = None,
        company_id: str = "",
        idempotency_key: str | None = None,
        capability: str | None = None,
        requested_by: str = "",
    ) -> BotView:
        """Ask for a bot in a lobby; return at once how it stands. What becomes of it is told by events and ``find``.

        ``provider`` is a provider's name. ``company_id`` says who asks (empty: the operator, who may ask for any lobby).
        The same ``idempotency_key`` for lobbies of the same company: the same bot, made once.

        Raises: BotsDrainingError, UnknownLobbyError, InvalidRequestError, BotConfigError, BotCapacityError,
        IdempotencyConflictError, CompanyLimitError, CompanyError; then nothing has changed. StoreUnavailableError, and
        then the bot is stopped.
        """
        await trio.lowlevel.checkpoint()
        refusal = self._drain.refusal()
        if refusal is not None:
            raise BotsDrainingError(refusal)
        lobby = self._lobbies.get(lobby_id)
        if lobby is None or company_id not in {"", lobby.company_id}:
            raise UnknownLobbyError("there is no lobby of this id (any more)", field="lobby_id")
        wanted = BotRequest(
            lobby_id=lobby_id,
            lobby=lobby.name,
            company_id=lobby.company_id,
            provider=provider,
            capability=capability,
            config=_copied(config or {}),
            name=None if name is None else _validated_name(name),
            requested_by=requested_by,
            idempotency_key=idempotency_key,
        )
        known = self._core.find_same(wanted)
        if known is not None:
            await self._store.commit(*self._performer.changes(known))
            return known.view(self._clock())
        self._usage.acquire(lobby.company_id, Resource.BOT)
        try:
            bot = self._core.request(wanted, self._clock(), datetime.now(UTC))
        except BaseException:
            self._usage.release(lobby.company_id, Resource.BOT)
            raise
        self._performer.settled[bot.bot_id] = trio.Event()
        self._performer.perform()
        await self._commit(bot)
        return bot.view(self._clock())

    async def wait_settled(self, bot_id: str) -> BotView:
        """Wait until a bot is active, or gone, for the first time; return how it is then.

        Raises: UnknownBotError.
        """
        bot = self._ledger.get(bot_id)
        settled = self._performer.settled.get(bot_id)
        if settled is not None:
            await settled.wait()
        else:
            await trio.lowlevel.checkpoint()
        return bot.view(self._clock())

    def find(self, bot_id: str) -> BotView | None:
        """Return a bot, be it gone lately."""
        try:
            return self._ledger.get(bot_id).view(self._clock())
        except UnknownBotError:
            return None

    def listed(self, lobby_id: str | None = None, company_id: str | None = None) -> tuple[BotView, ...]:
        """Return the bots of a lobby, a company, or all: those alive, then those gone lately."""
        now = self._clock()
        return tuple(
            bot.view(now)
            for bot in self._ledger
            if lobby_id in {None, bot.request.lobby_id} and company_id in {None, bot.request.company_id}
        )

    async def stop(self, bot_id: str, reason: str) -> BotView:
        """Let a bot leave its lobby and end; return it in the state *leaving* or *gone*.

        Raises: UnknownBotError.
        """
        await trio.lowlevel.checkpoint()
        bot = self._ledger.get(bot_id)
        self._core.stop(bot, reason, self._clock())
        self._performer.perform()
        return bot.view(self._clock())

    def providers(self, company_id: str | None = None) -> tuple[ProviderView, ...]:
        """Return the providers of a company, of the operator (empty), or all (None)."""
        now = self._clock()
        return tuple(each.view(now) for each in self._pool if company_id in {None, each.company_id})

    def find_provider(self, provider_id: str) -> ProviderView | None:
        """Return a provider, unless it is gone."""
        return self._pool.get(provider_id).view(self._clock()) if provider_id in self._pool else None

    def drain_provider(self, provider_id: str, reason: str = "an administrator drains it") -> ProviderView:
        """Give a provider no new bots; those it has go on.

        Raises: UnknownProviderError.
        """
        provider = self._pool.get(provider_id)
        self._registry.drain(provider, reason)
        self._performer.perform()
        return provider.view(self._clock())

    def statistics(self) -> BotsStatistics:
        """Return the figures of all together."""
        bots = Counter(bot.state for bot in self._ledger.live)
        providers = Counter(each.state for each in self._pool)
        return BotsStatistics(
            bots={state: bots[state] for state in BotState if state is not BotState.GONE},
            providers={state: providers[state] for state in ProviderState if state is not ProviderState.GONE},
            entered=dict(self._core.entered),
            endings=dict(self._core.endings),
            reassignments=self._core.reassignments,
            messages=self._core.messages,
            unanswered=self._answers.failed,
            tickets_refused=self._core.tickets_refused,
        )

    # For providers.

    def register(
        self,
        link: ProviderLink,
        spec: ProviderSpec,
        company_id: str,
        *,
        has_heartbeat: bool,
        running: frozenset[str] = frozenset(),
    ) -> tuple[Provider, str]:
        """Let a provider be given bots over this link; return it, and the token to come back with.

        Raises: BotCapacityError.
        """
        provider, token = self._registry.register(
            spec,
            company_id,
            self._clock(),
            datetime.now(UTC),
            has_heartbeat=has_heartbeat,
            running=running,
        )
        self._links[provider.provider_id] = link
        self._performer.perform()
        return provider, token

    def resume(
        self,
        link: ProviderLink,
        spec: ProviderSpec,
        token_untrusted: str,
        company_id: str,
        running: frozenset[str],
    ) -> Provider | None:
        """Let a provider be back over this link, if the token is one's and it is not too late."""
        provider = self._registry.find(token_untrusted, company_id)
        if provider is None:
            return None
        former = self._links.get(provider.provider_id)
        self._links[provider.provider_id] = link
        if former is not None:
            former.close(CloseCode.SESSION_RESUMED_ELSEWHERE, "another connection came back as this provider")
        self._registry.resume(provider, spec, running, self._clock())
        self._performer.perform()
        return provider

    def lose(self, link: ProviderLink, provider: Provider, reason: str, *, goodbye: bool) -> None:
        """Note that a provider's link has ended; with ``goodbye`` it does not come back."""
        if self._links.get(provider.provider_id) is not link:
            return
        del self._links[provider.provider_id]
        if goodbye:
            self._registry.remove(provider, reason, self._clock())
        else:
            self._registry.lose(provider, reason, self._clock())
        self._performer.perform()

    def hear(self, provider: Provider, load: float | None = None) -> None:
        """Note that a provider lives, and how busy it says it is."""
        self._registry.hear(provider, self._clock(), load)
        self._performer.perform()

    def accept(self, provider: Provider, bot_id: str) -> None:
        """Raise StaleOfferError when the bot is not this provider's; see the core."""
        try:
            self._core.accept(provider, bot_id, self._clock())
        finally:
            self._performer.perform()

    def refuse(self, provider: Provider, bot_id: str, reason: str) -> None:
        """Raise StaleOfferError when the bot is not offered to this provider; see the core."""
        self._core.refuse(provider, bot_id, reason, self._clock())
        self._performer.perform()

    def stopped(self, provider: Provider, bot_id: str, reason: str, *, failed: bool) -> None:
        """Note that a provider is rid of a bot."""
        self._core.stopped(provider, bot_id, reason, self._clock(), failed=failed)
        self._performer.perform()

    def answered(
        self, provider: Provider, question_id: int, *, text: str | None = None, fault: str | None = None
    ) -> bool:
        """Give an answer, or why there is none, to who waits for it; tell whether somebody does."""
        return self._answers.decide(question_id, provider.provider_id, text=text, fault=fault)

    # For bots, and those who talk to them.

    def redeem(self, request: JoinRequest) -> Grants:
        """See ``admission.Tickets``."""
        assert request.bot_ticket is not None
        ticket = self._core.redeem(
            request.bot_ticket,
            self._clock(),
            lobby=request.lobby,
            company_id=request.session_grants.company_id,
            holder=request.session_id,
        )
        self._performer.perform()
        if ticket is None:
            text = "this bot ticket is none, was used, came too late, or is for another lobby"
            raise RequestError(ErrorCode.TOKEN_INVALID, text, field="bot_ticket")
        return Grants(
            lobby=ticket.lobby,
            identity=ticket.bot_id,
            is_bot=True,
            company_id=ticket.company_id,
            name=ticket.name,
        )

    async def answer(self, lobby_id: str, text: str, from_participant_id: str) -> str:
        """See ``peer_path.Answerer``."""
        return await self._answers.answer(lobby_id, text, from_participant_id)

    # Inside.

    async def _keep_deadlines(self) -> None:
        while True:
            await self._performer.wait_changed(self._next_timeout())
            if not await supervise(NAME, self._failures, self._handle_timeout):
                await trio.sleep(FAULT_PAUSE_SECONDS)

    def _next_timeout(self) -> float:
        return min(
            self._core.next_timeout(self._clock()), self._registry.next_timeout(), self._watch.next_timeout()
        )

    async def _handle_timeout(self) -> None:
        await trio.lowlevel.checkpoint()
        now = self._clock()
        try:
            self._registry.handle_timeout(now)
            self._core.handle_timeout(now)
            self._watch.handle_timeout(now)
        finally:
            self._performer.perform()

    def _former_provider(self, record: BotRecord, now: float, at: datetime) -> Provider | None:
        if record.provider is None or record.participant_id is None:
            return None
        return self._registry.restore(
            record.provider["provider_id"],
            record.provider["name"],
            record.provider["company_id"],
            bytes.fromhex(record.provider["token_digest"]),
            now,
            at,
        )

    async def _commit(self, bot: Bot) -> None:
        """Wait until what was asked for is kept; a bot of which that is not known is not run.

        Raises: StoreUnavailableError.
        """
        try:
            await self._store.commit(*self._performer.changes(bot))
        except StoreUnavailableError:
            self._core.stop(bot, "the database did not keep the request for it", self._clock())
            self._performer.perform()
            raise


def _copied(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a provider will be told, which nobody can change any more.

    Raises: BotConfigError.
    """
    try:
        copied: dict[str, Any] = from_json(to_json(dict(config), inf_nan_mode="constants"))
    except (PydanticSerializationError, ValueError) as error:
        raise BotConfigError(f"the config is not JSON: {error}", field="config") from None
    return copied


def _validated_name(name_untrusted: str) -> str:
    try:
        return _NAME.validate_python(name_untrusted)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise InvalidRequestError(f"`name`: {fault}", field="name") from None
