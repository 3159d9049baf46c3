"""Whatever happens to bots and providers in whatever order: nobody is forgotten, nothing is doubled, all ends."""

import itertools

from bot_core_parts import Parts
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from signaling.bots.bot import Bot
from signaling.bots.deadlines import BotLimits
from signaling.bots.errors import BotCapacityError, StaleOfferError
from signaling.bots.events import STATE_EVENTS, BotEvent, BotRequested
from signaling.bots.lifecycle import TRANSITIONS, BotState, ProviderState
from signaling.bots.outputs import DropProvider, Expel, Publish, SendOffer
from signaling.bots.provider import Provider

LOBBIES = ("l-1", "l-2")
#: Longer than any chain of deadlines, with every provider tried and every reassignment used up.
FOR_EVER_S = 3600.0


class Bots(RuleBasedStateMachine):
    """The lobbies are played here: who is in them, and for which bot."""

    @initialize()
    def begin(self) -> None:
        self.parts = Parts(limits=BotLimits(bots_per_lobby=4, reassignments=2, offers=3, history=1000))
        self.bots: list[Bot] = []
        self.providers: list[Provider] = []
        #: participant -> its bot.
        self.present: dict[str, Bot] = {}
        #: Sessions that used a ticket and are not in yet.
        self.on_the_way: list[tuple[Bot, str]] = []
        self.seen = 0
        self.register(2, "A")
        self.request("l-1", None)

    # Rules.

    @rule(capacity=st.integers(1, 3), name=st.sampled_from("AB"))
    def register(self, capacity: int, name: str) -> None:
        self.providers.append(self.parts.provider(name, capacity=capacity))

    @rule(lobby_id=st.sampled_from(LOBBIES), provider=st.sampled_from([None, "A", "B"]))
    def request(self, lobby_id: str, provider: str | None) -> None:
        try:
            self.bots.append(self.parts.request(lobby_id=lobby_id, provider=provider))
        except BotCapacityError:
            assert len(self.parts.ledger.in_lobby(lobby_id)) == 4

    @rule(data=st.data())
    def accept_or_refuse(self, data: st.DataObject) -> None:
        """Any provider says anything about any bot."""
        provider, bot = self._living(data), self._bot(data)
        theirs = bot.state is BotState.OFFERED and bot.provider_id == provider.provider_id
        before = bot.state, bot.provider_id
        try:
            if data.draw(st.booleans()):
                self.parts.core.accept(provider, bot.bot_id, self.parts.now)
            else:
                self.parts.core.refuse(provider, bot.bot_id, "no", self.parts.now)
                assert theirs
        except StaleOfferError:
            assert not theirs
        if bot.provider_id != provider.provider_id and not theirs:
            assert (bot.state, bot.provider_id) == before

    @rule(data=st.data(), failed=st.booleans())
    def stopped(self, data: st.DataObject, failed: bool) -> None:
        provider, bot = self._living(data), self._bot(data)
        theirs, before = bot.bot_id in provider.bots, bot.state
        self.parts.core.stopped(provider, bot.bot_id, "why", self.parts.now, failed=failed)
        assert theirs or bot.state is before or before is BotState.REQUESTED

    @rule(data=st.data())
    def use_ticket(self, data: st.DataObject) -> None:
        """Any ticket that ever was; only the present one is good."""
        offers = [each.offer for each in self.parts.found(SendOffer)]
        offer = data.draw(st.sampled_from(offers))
        holder = f"s-{len(self.parts.outputs)}-{self.seen}"
        self.seen += 1
        ticket = self.parts.core.redeem(
            offer.ticket, self.parts.now, lobby=offer.lobby, company_id="", holder=holder
        )
        if ticket is not None:
            bot = self.parts.ledger.get(offer.bot_id)
            assert bot.state is BotState.JOINING or bot.state is BotState.LEAVING
            self.on_the_way.append((bot, holder))

    @precondition(lambda self: self.on_the_way)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        bot, holder = self.on_the_way.pop(data.draw(st.integers(0, len(self.on_the_way) - 1)))
        participant_id = f"late-{self.seen}"
        self.seen += 1
        self.present[participant_id] = bot
        stays = self.parts.core.entered_lobby(
            bot, bot.request.lobby_id, participant_id, holder, self.parts.now
        )
        assert stays == (bot.participant_id == participant_id)

    @rule(data=st.data())
    def come(self, data: st.DataObject) -> None:
        """All goes well with a bot, as far as it goes."""
        bot = self._bot(data)
        if bot.state is BotState.OFFERED:
            self.parts.accept(bot)
            participant_id = self.parts.enter(bot, f"s-{self.seen}")
            self.seen += 1
            assert bot.participant_id == participant_id
            self.present[participant_id] = bot

    @precondition(lambda self: self.present)
    @rule(data=st.data(), reason=st.sampled_from(["left", "disconnected", "kicked"]))
    def leave(self, data: st.DataObject, reason: str) -> None:
        participant_id = data.draw(st.sampled_from(sorted(self.present)))
        del self.present[participant_id]
        bot = self.parts.ledger.by_participant(participant_id)
        if bot is not None:
            self.parts.core.left_lobby(bot, reason, self.parts.now)

    @rule(data=st.data())
    def stop(self, data: st.DataObject) -> None:
        bot = self._bot(data)
        self.parts.core.stop(bot, "enough", self.parts.now)
        assert bot.state in {BotState.LEAVING, BotState.GONE}

    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        self.parts.registry.lose(self._living(data), "broke", self.parts.now)

    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        provider = self._living(data)
        known = [*sorted(provider.bots), "b-unknown"]
        running = data.draw(st.sets(st.sampled_from(known)))
        missing = [bot for bot in self.bots if bot.bot_id in provider.bots - running]
        self.parts.registry.resume(provider, provider.spec, frozenset(running), self.parts.now)
        assert all(bot.state in {BotState.REQUESTED, BotState.OFFERED, BotState.GONE} for bot in missing)

    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        provider = self._living(data)
        taken = [bot for bot in self.bots if bot.bot_id in provider.bots]
        self.parts.registry.remove(provider, "it died", self.parts.now)
        assert all(
            bot.provider_id != provider.provider_id or bot.state is not BotState.ACTIVE for bot in taken
        )

    @rule(data=st.data())
    def drain(self, data: st.DataObject) -> None:
        self.parts.registry.drain(self._living(data), "deploy")

    @rule(data=st.data(), load=st.sampled_from([0.0, 0.5, 1.0]))
    def hear(self, data: st.DataObject, load: float) -> None:
        self.parts.registry.hear(self._living(data), self.parts.now, load)

    @rule(seconds=st.sampled_from([0.1, 1.0, 2.0, 5.0, 20.0]))
    def wait(self, seconds: float) -> None:
        self.parts.wait(seconds)

    # What always holds.

    @invariant()
    def everybody_expelled_is_out(self) -> None:
        """The lobbies do as they are told."""
        for output in self.parts.found(Expel):
            self.present.pop(output.participant_id, None)

    @invariant()
    def no_bot_is_twice_in_its_lobby(self) -> None:
        self.everybody_expelled_is_out()
        there = [bot.bot_id for bot in self.present.values()]
        assert len(there) == len(set(there))
        for participant_id, bot in self.present.items():
            assert bot.participant_id == participant_id
            assert bot.state in {BotState.ACTIVE, BotState.LEAVING}
        for bot in self.bots:
            assert (bot.state is BotState.ACTIVE) <= (bot.participant_id in self.present)

    @invariant()
    def nobody_waits_without_a_deadline(self) -> None:
        for bot in self.bots:
            if bot.state not in {BotState.ACTIVE, BotState.GONE}:
                assert self.parts.now <= bot.deadline < self.parts.now + FOR_EVER_S
                assert bot in self.parts.ledger.timed
            assert bot.reason

    @invariant()
    def no_provider_has_more_than_it_can(self) -> None:
        held = [bot_id for provider in self.parts.pool for bot_id in provider.bots]
        assert len(held) == len(set(held))
        for provider in self.parts.pool:
            assert len(provider.bots) <= provider.spec.capacity
            for bot_id in provider.bots:
                bot = self.parts.ledger.get(bot_id)
                assert bot.provider_id == provider.provider_id
                assert bot.state in {
                    BotState.OFFERED,
                    BotState.JOINING,
                    BotState.ACTIVE,
                    BotState.LEAVING,
                }

    @invariant()
    def bots_are_with_living_providers(self) -> None:
        for bot in self.bots:
            if bot.state not in {BotState.REQUESTED, BotState.GONE}:
                assert bot.provider_id is not None
                assert bot.bot_id in self.parts.pool.get(bot.provider_id).bots

    @invariant()
    def tickets_are_for_those_who_are_expected(self) -> None:
        for bot in self.bots:
            if bot.ticket_digest is not None:
                assert bot.state in {BotState.OFFERED, BotState.JOINING}

    @invariant()
    def events_tell_the_whole_life(self) -> None:
        """Each bot's events are a path through the table, and the last one is its state."""
        kinds = {kind: state for state, kind in STATE_EVENTS.items()}
        told: dict[str, list[BotState]] = {}
        for output in self.parts.found(Publish):
            if isinstance(output.event, BotEvent) and type(output.event) in kinds:
                told.setdefault(output.event.bot_id, []).append(kinds[type(output.event)])
                assert output.event.reason
        for bot in self.bots:
            path = told[bot.bot_id]
            assert path[0] is BotState.REQUESTED
            assert STATE_EVENTS[path[0]] is BotRequested
            assert path[-1] is bot.state
            for one, other in itertools.pairwise(path):
                assert other in TRANSITIONS[one].values()

    @invariant()
    def the_gone_are_told(self) -> None:
        dropped = {output.provider_id for output in self.parts.found(DropProvider)}
        gone = {each.provider_id for each in self.providers if each.state is ProviderState.GONE}
        assert dropped == gone
        assert gone.isdisjoint(each.provider_id for each in self.parts.pool)

    def teardown(self) -> None:
        """Once all providers are dead and silent, every bot ends."""
        if hasattr(self, "parts"):
            for provider in tuple(self.parts.pool):
                self.parts.registry.remove(provider, "all is over", self.parts.now)
            self.parts.wait(FOR_EVER_S)
            assert all(bot.state is BotState.GONE and bot.ending for bot in self.bots)
            assert self.parts.ledger.live == ()
            assert sum(self.parts.core.endings.values()) == len(self.bots)

    def _living(self, data: st.DataObject) -> Provider:
        if not len(self.parts.pool):
            self.register(2, "A")
        living = list(self.parts.pool)
        return data.draw(st.sampled_from(living))

    def _bot(self, data: st.DataObject) -> Bot:
        return data.draw(st.sampled_from(self.bots))


Bots.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBots = Bots.TestCase
