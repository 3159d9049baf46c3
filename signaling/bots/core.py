"""The life of all bots, without clock, socket or task: what happened goes in, with the time; what to do comes out.

Each method is one step: when it returns (or raises) everything is consistent, and ``outputs`` holds what the step wants
done. ``next_timeout`` says when to call ``handle_timeout``. Two promises are kept by construction: a bot leaves every
state but *active* by a deadline, and a bot is in its provider's ``bots`` exactly from its offer until that provider is
rid of it.
"""

import math
from collections import Counter, deque
from collections.abc import Callable
from datetime import datetime

from signaling.bots import events
from signaling.bots.bot import Bot, BotRequest, BotTicket
from signaling.bots.config_schema import check_size
from signaling.bots.deadlines import BotLimits, Deadlines
from signaling.bots.errors import BotCapacityError, IdempotencyConflictError, StaleOfferError
from signaling.bots.ledger import Ledger
from signaling.bots.lifecycle import BotState, Ending, Step, next_state
from signaling.bots.outputs import Expel, Offer, Output, Publish, SendOffer, SendStop
from signaling.bots.pool import ProviderPool
from signaling.bots.provider import Provider

#: Reasons of a participant's leaving: the bot said goodbye, or was lost. All others are somebody else's will.
OWN_REASONS = frozenset({"left", "moved"})
LOST_REASONS = frozenset({"disconnected", "failed"})


class BotCore:
    """See the module. ``new_id`` and ``new_secret`` are where identifiers and tickets come from."""

    def __init__(
        self,
        *,
        pool: ProviderPool,
        ledger: Ledger,
        outputs: deque[Output],
        deadlines: Deadlines,
        limits: BotLimits,
        new_id: Callable[[str], str],
        new_secret: Callable[[], str],
    ) -> None:
        self.outputs = outputs
        #: state -> bots that entered it; ending -> bots that ended so. They only grow.
        self.entered: Counter[BotState] = Counter()
        self.endings: Counter[Ending] = Counter()
        self.reassignments = 0
        self.messages = 0
        self.tickets_refused = 0
        self._pool = pool
        self._ledger = ledger
        self._deadlines = deadlines
        self._limits = limits
        self._new_id = new_id
        self._new_secret = new_secret

    def next_timeout(self, now: float) -> float:
        """Return when ``handle_timeout`` is due; infinity: not before something else happens."""
        timed = self._ledger.timed
        soonest = min((bot.deadline for bot in timed), default=math.inf)
        if any(bot.state is BotState.REQUESTED for bot in timed):
            soonest = min(soonest, self._pool.next_recovery(now))
        return soonest

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        for bot in self._ledger.timed:
            if bot.deadline <= now:
                self._expire(bot, now)
        self.place_waiting(now)

    # Those who want bots.

    def find_same(self, wanted: BotRequest) -> Bot | None:
        """Return the bot that was asked for with the same idempotency key.

        Raises: IdempotencyConflictError when something else was asked for with it.
        """
        known = self._ledger.by_key(wanted.company_id, wanted.idempotency_key)
        if known is not None and not known.request.is_same_as(wanted):
            raise IdempotencyConflictError(
                "this idempotency key was used for another request: use a new key for each request"
            )
        return known

    def request(self, wanted: BotRequest, now: float, at: datetime) -> Bot:
        """Begin with a bot, or find the one that was asked for with the same idempotency key.

        Raises: BotConfigError, BotCapacityError, IdempotencyConflictError; then nothing has changed.
        """
        known = self.find_same(wanted)
        if known is not None:
            return known
        check_size(wanted.config)
        if self._ledger.live_count >= self._limits.bots:
            raise BotCapacityError(f"there are {self._limits.bots} bots, as many as there may be: try later")
        if len(self._ledger.in_lobby(wanted.lobby_id)) >= self._limits.bots_per_lobby:
            raise BotCapacityError(
                f"the lobby has {self._limits.bots_per_lobby} bots, as many as it may have: stop one first"
            )
        self._pool.check_config(wanted)
        bot = Bot(self._new_id("b"), wanted, requested_at=at, requested_time=now)
        self._ledger.add(bot)
        self._entered(bot, "asked for" + (f" by {wanted.requested_by}" if wanted.requested_by else ""), now)
        self._place(bot, now)
        return bot

    def restore(self, bot: Bot, provider: Provider | None, participant_id: str | None, now: float) -> None:
        """Take a bot of before a restart back: as active, if it is in its lobby and its provider may come back."""
        self._ledger.add(bot)
        bot.since = now
        if provider is None or participant_id is None:
            bot.former_provider_id = ""  # it is patient, as one that needs another provider
            self._entered(bot, "the server started again", now)
            self._place(bot, now)
            return
        bot.state = BotState.ACTIVE
        bot.reason = "it was here when the server started again"
        bot.active_since = now
        bot.provider_id, bot.provider_name = provider.provider_id, provider.name
        provider.bots.add(bot.bot_id)
        self._ledger.give_participant(bot, participant_id)

    def stop(self, bot: Bot, reason: str, now: float) -> None:
        """End a bot, wherever it stands; nothing brings it back."""
        if bot.state is BotState.GONE:
            return
        bot.stop_reason = bot.stop_reason or reason
        if bot.state is BotState.REQUESTED:
            self._end(bot, Ending.STOPPED, reason, now)
        elif bot.state is BotState.OFFERED:
            self._send_stop(bot, reason)
            self._release(bot)
            self._end(bot, Ending.STOPPED, reason, now)
        elif bot.state in {BotState.JOINING, BotState.ACTIVE}:
            self._send_stop(bot, reason)
            self._leave(bot, reason, now)
        self.place_waiting(now)

    # Providers, about single bots.

    def accept(self, provider: Provider, bot_id: str, now: float) -> None:
        """Note that a provider runs the bot. To say so twice is nothing.

        Raises: StaleOfferError when the bot is not, or not any more, this provider's.
        """
        bot = self._of(provider, bot_id)
        if bot is None:
            reason = "the offer is not open any more"
            self.outputs.append(SendStop(provider.provider_id, bot_id, reason))
            raise StaleOfferError(f"{reason}: do not start this bot, or stop it")
        if bot.state is BotState.OFFERED:
            self._accepted(bot, provider, now)

    def refuse(self, provider: Provider, bot_id: str, reason: str, now: float) -> None:
        """Note that a provider does not run the bot, for a reason of its own; another one is asked.

        Raises: StaleOfferError when the bot was not offered to it, or it has accepted.
        """
        bot = self._of(provider, bot_id)
        if bot is None or bot.state is not BotState.OFFERED:
            raise StaleOfferError("this bot is not offered to you, or you have accepted it: send `stopped`")
        provider.statistics.refused += 1
        self._retry(bot, f"{provider.name!r} refused: {reason}", now)
        self.place_waiting(now)

    def stopped(self, provider: Provider, bot_id: str, reason: str, now: float, *, failed: bool) -> None:
        """Note that a provider is rid of a bot. Of one that is not its any more, this is no news."""
        bot = self._of(provider, bot_id)
        if bot is None:
            return
        what = f"{provider.name!r} {'failed' if failed else 'ended it'}: {reason}"
        if bot.state is BotState.OFFERED:
            self._retry(bot, what, now)
        elif bot.state is BotState.JOINING:
            self._note_failure(bot, now)
            self._retry(bot, what, now)
        elif failed:
            self._lost(bot, what, now)
        else:
            self._finish(bot, bot.stop_reason or what, now)
        self.place_waiting(now)

    def lose(self, provider: Provider, now: float) -> None:
        """Take bots that are not yet in their lobbies from a provider that went away; the others may yet do well."""
        for bot in self._bots_of(provider):
            if bot.state in {BotState.OFFERED, BotState.JOINING}:
                self._retry(bot, f"the connection of {provider.name!r} was lost", now, may_return=True)
        self.place_waiting(now)

    def abandon(self, provider: Provider, reason: str, now: float) -> None:
        """Take all bots from a provider that is no more."""
        what = f"{provider.name!r} is gone: {reason}"
        for bot in self._bots_of(provider):
            if bot.state in {BotState.OFFERED, BotState.JOINING}:
                self._retry(bot, what, now, may_return=True)
            else:
                self._lost(bot, what, now)
        self.place_waiting(now)

    def compare(self, provider: Provider, running: frozenset[str], now: float) -> None:
        """Make a provider that came back, and us, agree about its bots."""
        for bot_id in sorted(running - provider.bots):
            self.outputs.append(SendStop(provider.provider_id, bot_id, "it was given to another provider"))
        for bot in self._bots_of(provider):
            missing = bot.bot_id not in running
            what = f"{provider.name!r} came back without it"
            if bot.state is BotState.OFFERED or (missing and bot.state is BotState.JOINING):
                # The offer, or the word that it failed, went with the connection.
                self._retry(bot, what, now, may_return=True)
            elif missing and bot.state is BotState.LEAVING:
                self._finish(bot, bot.stop_reason or bot.reason, now)
            elif missing:
                self._lost(bot, what, now)
            elif bot.state is BotState.LEAVING:
                self._send_stop(bot, bot.reason)
        self.place_waiting(now)

    # Their bots, in lobbies.

    def redeem(
        self, ticket_untrusted: str, now: float, *, lobby: str | None, company_id: str, holder: str
    ) -> BotTicket | None:
        """Take a ticket: it is good once, before its deadline, for its lobby, and for nobody of another company.

        ``holder`` is the session that will join with it. A bot that comes before its provider's word stands for it.
        """
        bot = self._ledger.by_ticket(ticket_untrusted)
        if (
            bot is None
            or now >= bot.deadline
            or lobby not in {None, bot.request.lobby}
            or company_id not in {"", bot.request.company_id}
        ):
            self.tickets_refused += 1
            return None
        assert bot.provider_id is not None  # it has a ticket
        self._ledger.void_ticket(bot)
        self._ledger.expect(holder, bot)
        if bot.state is BotState.OFFERED:
            self._accepted(bot, self._pool.get(bot.provider_id), now)
        return bot.ticket()

    def entered_lobby(self, bot: Bot, lobby_id: str, participant_id: str, holder: str, now: float) -> bool:
        """Note that a session which used a ticket of the bot is in its lobby; tell whether it may stay.

        ``lobby_id`` is another one when the bot's lobby has ended and a new one has its name.
        """
        self._ledger.forget_holder(holder)
        due = holder == bot.holder and lobby_id == bot.request.lobby_id
        if due and bot.state in {BotState.JOINING, BotState.LEAVING}:
            bot.holder = None
            self._ledger.give_participant(bot, participant_id)
            if bot.state is BotState.JOINING:
                self._joined(bot, now)
            return True  # one that is leaving is taken out with its bot
        self.outputs.append(Expel(lobby_id, participant_id, "this bot is not wanted any more"))
        return False

    def left_lobby(self, bot: Bot, reason: str, now: float) -> None:
        """Note that the bot's participant has left the lobby."""
        if bot.participant_id is None:
            return
        self._ledger.give_participant(bot, None)
        if bot.state is not BotState.ACTIVE:
            return
        if reason in LOST_REASONS:
            self._send_stop(bot, "its session was lost")
            self._lost(bot, f"its session was lost ({reason})", now)
        else:
            if reason not in OWN_REASONS:
                bot.stop_reason = bot.stop_reason or reason
            self._send_stop(bot, reason)
            self._leave(bot, reason, now)
        self.place_waiting(now)

    def note_message(self, bot: Bot) -> None:
        """Count a line of chat that the bot wrote, or an answer."""
        self.messages += 1
        bot.messages += 1
        if bot.provider_id is not None and bot.provider_id in self._pool:
            self._pool.get(bot.provider_id).statistics.messages += 1

    # Inside.

    def place_waiting(self, now: float) -> None:
        """Try again for those who wait: something may have changed."""
        if self._pool.has_room(now):
            for bot in self._ledger.timed:
                if bot.state is BotState.REQUESTED:
                    self._place(bot, now)

    def _place(self, bot: Bot, now: float) -> None:
        choice = self._pool.choose(bot, now)
        if choice.provider is not None:
            self._offer(bot, choice.provider, now)
        elif not choice.hopeful:
            self._end(bot, Ending.NOT_PLACED, choice.reason, now)

    def _offer(self, bot: Bot, provider: Provider, now: float) -> None:
        secret = self._new_secret()
        bot.provider_id, bot.provider_name = provider.provider_id, provider.name
        bot.offers += 1
        bot.offers_in_a_row += 1
        provider.bots.add(bot.bot_id)
        provider.offered_at = now
        provider.statistics.offers += 1
        self._ledger.give_ticket(bot, secret)
        self._move(bot, Step.OFFER, f"offered to {provider.name!r}", now)
        offer = Offer(
            bot_id=bot.bot_id,
            lobby=bot.request.lobby,
            lobby_id=bot.request.lobby_id,
            company_id=bot.request.company_id,
            name=bot.name,
            config=bot.request.config,
            ticket=secret,
            deadline_s=self._deadlines.offer_s,
            join_s=self._deadlines.join_s,
        )
        self.outputs.append(SendOffer(provider.provider_id, offer))

    def _accepted(self, bot: Bot, provider: Provider, now: float) -> None:
        provider.statistics.accepted += 1
        self._move(bot, Step.ACCEPT, f"{provider.name!r} accepted", now)

    def _joined(self, bot: Bot, now: float) -> None:
        assert bot.provider_id is not None
        bot.active_since = now
        if bot.first_joined is None:
            bot.first_joined = now
        bot.begin_anew()
        bot.joins += 1
        provider = self._pool.get(bot.provider_id)
        provider.statistics.joins += 1
        provider.note_success()
        self._move(bot, Step.JOIN, "it joined the lobby", now)

    def _expire(self, bot: Bot, now: float) -> None:
        if bot.state is BotState.REQUESTED:
            self._give_up(bot, now)
            return
        assert bot.provider_id is not None
        provider = self._pool.get(bot.provider_id)
        if bot.state is BotState.LEAVING:
            self._finish(bot, f"{bot.stop_reason or bot.reason}; it did not end in time", now)
            return
        self._send_stop(bot, "too late")
        if bot.state is BotState.OFFERED:
            provider.statistics.expired += 1
            fault = f"{provider.name!r} did not answer within {self._deadlines.offer_s:g} s"
        else:
            fault = f"the bot of {provider.name!r} did not join within {self._deadlines.join_s:g} s"
        self._note_failure(bot, now)
        self._retry(bot, fault, now)

    def _give_up(self, bot: Bot, now: float) -> None:
        """End a bot that has waited long enough for a provider, unless there is one just now."""
        choice = self._pool.choose(bot, now)
        if choice.provider is not None:
            self._offer(bot, choice.provider, now)
        else:
            waited = bot.deadline - bot.since
            self._end(bot, Ending.NOT_PLACED, f"{choice.reason}, not within {waited:g} s", now)

    def _retry(self, bot: Bot, why: str, now: float, *, may_return: bool = False) -> None:
        """Look for another provider for a bot that never was in its lobby; or for the same, if that ``may_return``."""
        assert bot.provider_id is not None
        if not may_return:
            bot.tried[bot.provider_id] = why
        self._release(bot)
        self._move(bot, Step.RETRY, why, now)
        self._place(bot, now)

    def _lost(self, bot: Bot, why: str, now: float) -> None:
        """Look for another provider for a bot that was in its lobby, unless its end was asked for."""
        if bot.stop_reason is not None:
            self._finish(bot, bot.stop_reason, now)
            return
        self._note_failure(bot, now)
        if bot.active_since is not None and now - bot.active_since >= self._deadlines.settled_s:
            bot.reassigned_in_a_row = 0
        if bot.reassigned_in_a_row >= self._limits.reassignments:
            what = f"{why}; it failed {bot.reassigned_in_a_row + 1} times in a row and is not tried again"
            self._finish(bot, what, now, Ending.FAILED)
            return
        self._expel(bot, why)
        self._count_active(bot, now)
        bot.reassignments += 1
        bot.reassigned_in_a_row += 1
        self.reassignments += 1
        bot.begin_anew()
        bot.former_provider_id = bot.provider_id
        self._publish(bot, events.BotReassigned, why, reassignments=bot.reassignments)
        self._release(bot)
        self._move(bot, Step.RETRY, why, now)
        self._place(bot, now)

    def _leave(self, bot: Bot, reason: str, now: float) -> None:
        self._ledger.void_ticket(bot)
        self._count_active(bot, now)
        self._move(bot, Step.LEAVE, reason, now)

    def _finish(self, bot: Bot, reason: str, now: float, ending: Ending | None = None) -> None:
        """End a bot that had a provider, in whatever way it went."""
        self._expel(bot, reason)
        self._count_active(bot, now)
        self._release(bot)
        if ending is None:
            ending = Ending.LEFT if bot.stop_reason is None else Ending.STOPPED
        self._end(bot, ending, reason, now)

    def _end(self, bot: Bot, ending: Ending, reason: str, now: float) -> None:
        bot.ending = ending
        self.endings[ending] += 1
        self._move(bot, Step.END, reason, now)

    def _release(self, bot: Bot) -> None:
        """Part the bot from its provider, whose name it keeps."""
        self._ledger.void_ticket(bot)
        bot.holder = None
        if bot.provider_id is not None and bot.provider_id in self._pool:
            self._pool.get(bot.provider_id).bots.discard(bot.bot_id)

    def _expel(self, bot: Bot, reason: str) -> None:
        if bot.participant_id is not None:
            self.outputs.append(Expel(bot.request.lobby_id, bot.participant_id, reason))
            self._ledger.give_participant(bot, None)

    def _count_active(self, bot: Bot, now: float) -> None:
        if bot.active_since is None:
            return
        lasted, bot.active_since = now - bot.active_since, None
        bot.active_seconds += lasted
        if bot.provider_id is not None and bot.provider_id in self._pool:
            self._pool.get(bot.provider_id).statistics.active_seconds += lasted

    def _note_failure(self, bot: Bot, now: float) -> None:
        bot.failures += 1
        if bot.provider_id is not None and bot.provider_id in self._pool:
            self._pool.note_failure(self._pool.get(bot.provider_id), now)

    def _send_stop(self, bot: Bot, reason: str) -> None:
        assert bot.provider_id is not None
        self.outputs.append(SendStop(bot.provider_id, bot.bot_id, reason))

    def _of(self, provider: Provider, bot_id: str) -> Bot | None:
        return self._ledger.get(bot_id) if bot_id in provider.bots else None

    def _bots_of(self, provider: Provider) -> list[Bot]:
        # In the order in which they were asked for, as far as ids tell nothing: that of the ledger.
        return [bot for bot in self._ledger.live if bot.bot_id in provider.bots]

    def _move(self, bot: Bot, step: Step, reason: str, now: float) -> None:
        bot.state = next_state(bot.state, step)
        self._entered(bot, reason, now)

    def _entered(self, bot: Bot, reason: str, now: float) -> None:
        bot.reason = reason
        bot.since = now
        patience = self._deadlines.of(bot.state, again=bot.former_provider_id is not None)
        bot.deadline = math.inf if patience is None else now + patience
        self._ledger.note_state(bot)
        self.entered[bot.state] += 1
        more: dict[str, object] = {}
        if bot.state is BotState.REQUESTED:
            more["requested_by"] = bot.request.requested_by
        elif bot.state is BotState.ACTIVE:
            more["participant_id"] = bot.participant_id
        elif bot.state is BotState.GONE:
            more["ending"] = bot.ending
        self._publish(bot, events.STATE_EVENTS[bot.state], reason, **more)

    def _publish(self, bot: Bot, kind: Callable[..., events.BotEvent], reason: str, **more: object) -> None:
        request = bot.request
        event = kind(
            lobby=request.lobby,
            bot_id=bot.bot_id,
            provider_id=bot.provider_id or "",
            provider=bot.provider_name or "",
            reason=reason,
            lobby_id=request.lobby_id,
            company_id=request.company_id,
            **more,
        )
        self.outputs.append(Publish(event))
