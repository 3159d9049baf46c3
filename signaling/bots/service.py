"""The bots of a running server: the pure core with a clock, the lobbies it hears of, and the providers it talks to.

Every step of the core is carried out at once, here and synchronously: what it wants published goes to the bus, what it
wants said to a provider's link. Two tasks drive it besides those who call: one keeps the deadlines, one hears who enters
and leaves lobbies. Those who want bots use the first part, providers the second (``provider_connection.py``), bots in
lobbies the third.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import trio
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, from_json, to_json

from signaling import events
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
from signaling.bots.events import BotActive, BotEvent, BotGone, BotReassigned
from signaling.bots.ledger import Ledger
from signaling.bots.lifecycle import BotState, ProviderState
from signaling.bots.link import ProviderLink
from signaling.bots.lonely_lobbies import LonelyLobbies
from signaling.bots.outputs import (
    DropProvider,
    Expel,
    Output,
    Publish,
    SendDrain,
    SendOffer,
    SendStop,
)
from signaling.bots.pool import ProviderPool
from signaling.bots.provider import Provider, ProviderSpec
from signaling.bots.registry import Registry
from signaling.bots.shadow import bot_of, record_of
from signaling.bots.views import BotsStatistics, BotView, ProviderView
from signaling.bus import Bus, Overflow, SubscriptionLostError
from signaling.drain import Drain
from signaling.event_handler import run_handler
from signaling.identifiers import new_id, new_secret
from signaling.lobbies import Lobbies
from signaling.logs import get_logger
from signaling.messages import CloseCode, ErrorCode
from signaling.messages.bots import BotOffer, BotStop, ProviderDraining
from signaling.messages.model import Name
from signaling.removals import kicked
from signaling.request_error import RequestError
from signaling.stamped import Stamped
from signaling.storage import BotRecord, Change, DropBot, PutBot, Store, StoreUnavailableError
from signaling.supervisor import supervise

#: The name of its tasks and its subscription, in metrics.
NAME = "bots"
#: After a fault of ours, until deadlines are looked at again.
FAULT_PAUSE_SECONDS = 1.0

_HEARD = (events.ParticipantEntered, events.ParticipantGone, events.LobbyClosed, events.ChatSaid)
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
        self._bus = bus
        self._store = store
        self._usage = usage
        self._drain = drain
        self._failures = failures
        self._clock = clock
        self._outputs: deque[Output] = deque()
        self._performing = False
        self._changed = trio.Event()
        self._pool = ProviderPool(self.deadlines, self._limits)
        self._ledger = Ledger(self._limits.history)
        self._core = BotCore(
            pool=self._pool,
            ledger=self._ledger,
            outputs=self._outputs,
            deadlines=self.deadlines,
            limits=self._limits,
            new_id=new_id,
            new_secret=new_secret,
        )
        self._registry = Registry(
            pool=self._pool,
            core=self._core,
            outputs=self._outputs,
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
        self._lonely = LonelyLobbies(patience_s=self.deadlines.alone_s)
        #: bot id -> set once it is active or gone.
        self._settled: dict[str, trio.Event] = {}

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
            self._settled[bot.bot_id] = trio.Event()
            here = record.participant_id in lobby.participants
            if here and provider is not None:
                self._settled.pop(bot.bot_id).set()
            self._core.restore(bot, provider, record.participant_id if here else None, now)
        self._perform()

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

    async def run(self) -> None:
        """Keep deadlines and hear what happens in lobbies, for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_deadlines)
            nursery.start_soon(self._listen)

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
            await self._commit(known)
            return known.view(self._clock())
        self._usage.acquire(lobby.company_id, Resource.BOT)
        try:
            bot = self._core.request(wanted, self._clock(), datetime.now(UTC))
        except BaseException:
            self._usage.release(lobby.company_id, Resource.BOT)
            raise
        self._settled[bot.bot_id] = trio.Event()
        self._perform()
        await self._commit(bot)
        return bot.view(self._clock())

    async def _commit(self, bot: Bot) -> None:
        """Wait until what was asked for is kept; a bot of which that is not known is not run.

        Raises: StoreUnavailableError.
        """
        try:
            await self._store.commit(*self._changes(bot))
        except StoreUnavailableError:
            self._core.stop(bot, "the database did not keep the request for it", self._clock())
            self._perform()
            raise

    def _changes(self, bot: Bot) -> tuple[Change, ...]:
        if bot.state is BotState.GONE:
            return (DropBot(bot.bot_id),)
        known = bot.provider_id is not None and bot.provider_id in self._pool
        provider = self._pool.get(bot.provider_id) if known and bot.provider_id is not None else None
        return (PutBot(record_of(bot, provider, self._clock())),)

    async def wait_settled(self, bot_id: str) -> BotView:
        """Wait until a bot is active, or gone, for the first time; return how it is then.

        Raises: UnknownBotError.
        """
        bot = self._ledger.get(bot_id)
        settled = self._settled.get(bot_id)
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
        self._perform()
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
        self._perform()
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
        self._perform()
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
        self._perform()
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
        self._perform()

    def hear(self, provider: Provider, load: float | None = None) -> None:
        """Note that a provider lives, and how busy it says it is."""
        self._registry.hear(provider, self._clock(), load)
        self._perform()

    def accept(self, provider: Provider, bot_id: str) -> None:
        """Raise StaleOfferError when the bot is not this provider's; see the core."""
        try:
            self._core.accept(provider, bot_id, self._clock())
        finally:
            self._perform()

    def refuse(self, provider: Provider, bot_id: str, reason: str) -> None:
        """Raise StaleOfferError when the bot is not offered to this provider; see the core."""
        self._core.refuse(provider, bot_id, reason, self._clock())
        self._perform()

    def stopped(self, provider: Provider, bot_id: str, reason: str, *, failed: bool) -> None:
        """Note that a provider is rid of a bot."""
        self._core.stopped(provider, bot_id, reason, self._clock(), failed=failed)
        self._perform()

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
        self._perform()
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

    # Inside: what the core wants done.

    def _perform(self) -> None:
        """Do what the last step wants done. Who is told something may answer at once; that is another step."""
        if not self._outputs:
            return
        self._changed.set()
        if self._performing:
            return
        self._performing = True
        try:
            while self._outputs:
                self._do(self._outputs.popleft())
        finally:
            self._performing = False

    def _do(self, output: Output) -> None:
        if isinstance(output, Publish):
            self._publish(output.event)
        elif isinstance(output, Expel):
            lobby = self._lobbies.get(output.lobby_id)
            participant = None if lobby is None else lobby.participants.get(output.participant_id)
            if participant is not None:
                participant.dismiss(kicked(output.reason))
        else:
            link = self._links.get(output.provider_id)
            if link is not None:
                self._tell(link, output)

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

    def _publish(self, event: events.Event) -> None:
        if isinstance(event, BotEvent):
            if isinstance(event, BotActive | BotGone):
                settled = self._settled.pop(event.bot_id, None)
                if settled is not None:
                    settled.set()
            if not isinstance(event, BotActive):
                self._answers.fail_bot(event.bot_id, f"it has left ({event.reason})")
            if isinstance(event, BotGone):
                self._usage.release(event.company_id, Resource.BOT)
            if not isinstance(event, BotReassigned):
                self._store.submit(*self._changes(self._ledger.get(event.bot_id)))
        self._bus.publish(event)

    # Inside: its tasks.

    async def _keep_deadlines(self) -> None:
        while True:
            self._changed = trio.Event()
            with trio.move_on_at(self._next_timeout()):
                await self._changed.wait()
            if not await supervise(NAME, self._failures, partial(self._handle_timeout)):
                await trio.sleep(FAULT_PAUSE_SECONDS)

    def _next_timeout(self) -> float:
        return min(
            self._core.next_timeout(self._clock()), self._registry.next_timeout(), self._lonely.next_timeout()
        )

    async def _handle_timeout(self) -> None:
        await trio.lowlevel.checkpoint()
        now = self._clock()
        try:
            self._registry.handle_timeout(now)
            self._core.handle_timeout(now)
            for lobby_id in self._lonely.overdue(now):
                for bot in self._ledger.in_lobby(lobby_id):
                    self._core.stop(bot, "nobody but bots is left in the lobby", now)
        finally:
            self._perform()

    async def _listen(self) -> None:
        while True:
            try:
                with self._bus.subscribe(NAME, types=_HEARD, overflow=Overflow.CLOSE) as subscription:
                    await self._catch_up()
                    await run_handler(subscription, self._hear)
            except SubscriptionLostError:
                _log.warning("the bots missed events, and look at all lobbies instead")

    async def _hear(self, stamped: Stamped) -> None:
        event = stamped.event
        if isinstance(event, events.ChatSaid):
            bot = self._ledger.by_participant(event.message.participant_id)
            if bot is not None:
                self._core.note_message(bot)
        elif isinstance(event, events.ParticipantEntered):
            self._entered(event.lobby_id, event.session_id, event.participant.participant_id)
        elif isinstance(event, events.ParticipantGone):
            self._gone(event.lobby_id, event.participant_id, event.reason)
        elif isinstance(event, events.LobbyClosed):
            self._lonely.forget(event.lobby_id)
            for bot in self._ledger.in_lobby(event.lobby_id):
                self._core.stop(bot, f"the lobby was closed: {event.reason}", self._clock())
            self._perform()

    def _entered(self, lobby_id: str, session_id: str, participant_id: str) -> None:
        bot = self._ledger.expected(session_id)
        lobby = self._lobbies.get(lobby_id)
        if bot is not None and lobby is not None and lobby.name == bot.request.lobby:
            self._core.entered_lobby(bot, lobby_id, participant_id, session_id, self._clock())
        self._look_for_people(lobby_id)
        self._perform()

    def _gone(self, lobby_id: str, participant_id: str, reason: str) -> None:
        bot = self._ledger.by_participant(participant_id)
        if bot is not None:
            self._core.left_lobby(bot, reason, self._clock())
        self._look_for_people(lobby_id)
        self._perform()

    def _look_for_people(self, lobby_id: str) -> None:
        """Note whether a lobby is kept open by bots alone."""
        lobby = self._lobbies.get(lobby_id)
        bots = self._ledger.in_lobby(lobby_id)
        lonely = (
            lobby is not None
            and bool(bots)
            and not lobby.record.persistent
            and all(each.is_bot for each in lobby.participants.values())
        )
        if self._lonely.note(lobby_id, self._clock(), lonely=lonely):
            self._changed.set()

    async def _catch_up(self) -> None:
        """See for oneself who is where: at the beginning, and after events were missed."""
        await trio.lowlevel.checkpoint()
        for bot in self._ledger.live:
            lobby = self._lobbies.get(bot.request.lobby_id)
            if lobby is None:
                self._core.stop(bot, "the lobby was closed", self._clock())
                continue
            present = lobby.participants
            if bot.participant_id is not None and bot.participant_id not in present:
                self._core.left_lobby(bot, "disconnected", self._clock())
        for lobby in self._lobbies:
            for participant in tuple(lobby.participants.values()):
                if self._ledger.expected(participant.session_id) is not None:
                    self._entered(lobby.lobby_id, participant.session_id, participant.participant_id)
            self._look_for_people(lobby.lobby_id)
        self._perform()


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
