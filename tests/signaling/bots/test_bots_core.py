"""The life of bots, step by step: whatever goes wrong leads to another provider, or to an end with a reason."""

import math

import pytest
from bot_core_parts import Parts

from signaling.bots.deadlines import BotLimits, Deadlines
from signaling.bots.errors import (
    BotCapacityError,
    BotConfigError,
    IdempotencyConflictError,
    IllegalStepError,
    StaleOfferError,
)
from signaling.bots.events import STATE_EVENTS
from signaling.bots.lifecycle import TRANSITIONS, BotState, Ending, Step, next_state
from signaling.bots.outputs import Expel, SendDrain, SendOffer, SendStop
from signaling.bots.provider import ProviderState

VOICE_SCHEMA = {"type": "object", "properties": {"voice": {"enum": ["alto", "bass"]}}, "required": ["voice"]}


def test_every_state_can_be_reached_and_all_but_gone_can_be_left() -> None:
    reached = {BotState.REQUESTED} | {to for steps in TRANSITIONS.values() for to in steps.values()}
    assert reached == set(BotState) == set(TRANSITIONS) == set(STATE_EVENTS)
    assert [state for state, steps in TRANSITIONS.items() if not steps] == [BotState.GONE]


@pytest.mark.parametrize("state", BotState)
@pytest.mark.parametrize("step", Step)
def test_a_step_that_the_table_does_not_have_is_refused(state: BotState, step: Step) -> None:
    if step in TRANSITIONS[state]:
        assert next_state(state, step) is TRANSITIONS[state][step]
    else:
        with pytest.raises(IllegalStepError, match=state.value):
            next_state(state, step)


def test_only_active_and_gone_have_no_deadline() -> None:
    deadlines = Deadlines()
    assert {state for state in BotState if deadlines.of(state) is None} == {BotState.ACTIVE, BotState.GONE}


def test_a_bot_is_requested_offered_joining_active_leaving_gone() -> None:
    parts = Parts()
    provider = parts.provider()
    bot = parts.request(requested_by="ada")
    parts.accept(bot)
    participant_id = parts.enter(bot)
    assert bot.state is BotState.ACTIVE
    parts.wait(5)
    parts.core.stop(bot, "enough", parts.now)
    parts.core.stopped(provider, bot.bot_id, "as told", parts.now, failed=False)
    assert parts.events(bot) == [
        "BotRequested",
        "BotOffered",
        "BotJoining",
        "BotActive",
        "BotLeaving",
        "BotGone",
    ]
    view = bot.view(parts.now)
    assert (view.state, view.ending, view.reason) == (BotState.GONE, Ending.STOPPED, "enough")
    assert (view.joins, view.offers, view.failures, view.active_seconds) == (1, 1, 0, 5.0)
    assert view.gone_at is not None
    assert (view.gone_at - view.requested_at).total_seconds() == 5
    assert Expel("l-1", participant_id, "enough") in parts.outputs
    assert provider.bots == set()


def test_a_request_without_any_provider_ends_with_the_reason_in_time() -> None:
    parts = Parts()
    bot = parts.request(provider="Echo")
    parts.wait(parts.deadlines.request_s)
    assert (bot.state, bot.ending) == (BotState.GONE, Ending.NOT_PLACED)
    assert bot.reason == "no provider named 'Echo' is registered, not within 2 s"


def test_a_request_waits_for_a_provider_that_registers_in_time() -> None:
    parts = Parts()
    bot = parts.request()
    parts.wait(1)
    provider = parts.provider()
    assert bot.state is BotState.OFFERED
    assert bot.provider_id == provider.provider_id


def test_a_refusal_leads_to_another_provider_and_never_back() -> None:
    parts = Parts()
    one, two = parts.provider("One"), parts.provider("Two")
    bot = parts.request()
    first = parts.provider_of(bot)
    second = two if first is one else one
    parts.core.refuse(first, bot.bot_id, "busy", parts.now)
    assert bot.provider_id == second.provider_id
    parts.core.refuse(second, bot.bot_id, "no", parts.now)
    assert (bot.state, bot.ending) == (BotState.GONE, Ending.NOT_PLACED)
    assert "refused: busy" in bot.reason
    assert "refused: no" in bot.reason


def test_silence_leads_to_another_provider_and_the_silent_one_cools_down() -> None:
    parts = Parts(Deadlines(late_s=100))
    one, two = parts.provider("One"), parts.provider("Two")
    bot = parts.request()
    silent = parts.provider_of(bot)
    parts.wait(parts.deadlines.offer_s)
    assert parts.provider_of(bot) is (two if silent is one else one)
    assert SendStop(silent.provider_id, bot.bot_id, "too late") in parts.outputs
    assert silent.view(parts.now).cooling
    assert silent.statistics.expired == 1
    parts.wait(parts.deadlines.cool_down_s)
    assert not silent.view(parts.now).cooling


def test_a_bot_that_does_not_come_leads_to_another_provider() -> None:
    parts = Parts(Deadlines(late_s=100))
    parts.provider("One")
    parts.provider("Two")
    bot = parts.request()
    first = parts.provider_of(bot)
    parts.accept(bot)
    parts.wait(parts.deadlines.join_s)
    assert bot.state is BotState.OFFERED
    assert parts.provider_of(bot) is not first
    assert bot.failures == 1


def test_a_late_acknowledgement_is_refused_and_the_bot_stopped() -> None:
    parts = Parts(Deadlines(late_s=100))
    provider = parts.provider()
    bot = parts.request()
    parts.wait(parts.deadlines.offer_s)
    parts.outputs.clear()
    with pytest.raises(StaleOfferError, match="not open any more"):
        parts.core.accept(provider, bot.bot_id, parts.now)
    assert SendStop(provider.provider_id, bot.bot_id, "the offer is not open any more") in parts.outputs


def test_nobody_speaks_for_a_bot_that_was_offered_to_another() -> None:
    parts = Parts()
    parts.provider()
    bot = parts.request()
    forger = parts.provider("Forger")
    with pytest.raises(StaleOfferError):
        parts.core.accept(forger, bot.bot_id, parts.now)
    with pytest.raises(StaleOfferError):
        parts.core.refuse(forger, bot.bot_id, "ha", parts.now)
    parts.core.stopped(forger, bot.bot_id, "ha", parts.now, failed=True)
    assert bot.state is BotState.OFFERED


def test_a_ticket_is_good_once_for_its_lobby_and_company_and_not_for_long() -> None:
    parts = Parts(Deadlines(late_s=100))
    parts.provider(capacity=2)
    bot = parts.request(company_id="co-1")
    ticket = parts.offer_of(bot).ticket

    def redeem(**more: object) -> bool:
        asked = {"lobby": "garden", "company_id": "", "holder": "s-1"} | more
        return parts.core.redeem(ticket, parts.now, **asked) is not None

    assert not redeem(lobby="cellar")
    assert not redeem(company_id="co-2")
    assert redeem(company_id="co-1")
    assert bot.state is BotState.JOINING  # who comes without a word has accepted
    assert not redeem()
    assert parts.core.tickets_refused == 3

    other = parts.request()
    ticket = parts.offer_of(other).ticket
    parts.wait(parts.deadlines.offer_s)
    assert not redeem()


def test_who_comes_too_late_is_taken_out_again() -> None:
    parts = Parts(Deadlines(late_s=100))
    parts.provider()
    bot = parts.request()
    offer = parts.offer_of(bot)
    assert parts.core.redeem(offer.ticket, parts.now, lobby="garden", company_id="", holder="s-1")
    parts.wait(parts.deadlines.join_s)
    participant_id = parts.arrive(bot, "s-1")
    assert bot.state is not BotState.ACTIVE
    assert parts.found(Expel) == [Expel("l-1", participant_id, "this bot is not wanted any more")]


def test_who_comes_into_another_lobby_of_the_same_name_is_taken_out_again() -> None:
    parts = Parts()
    parts.provider()
    bot = parts.request()
    offer = parts.offer_of(bot)
    assert parts.core.redeem(offer.ticket, parts.now, lobby="garden", company_id="", holder="s-1")
    assert not parts.core.entered_lobby(bot, "l-2", "p-1", "s-1", parts.now)
    assert bot.state is BotState.JOINING
    assert parts.found(Expel) == [Expel("l-2", "p-1", "this bot is not wanted any more")]


def test_a_stop_is_heard_in_every_state() -> None:
    for steps in range(4):
        parts = Parts()
        if steps:
            parts.provider()
        bot = parts.request()
        if steps > 1:
            parts.accept(bot)
        if steps > 2:
            parts.enter(bot)
        parts.core.stop(bot, "enough", parts.now)
        parts.core.stop(bot, "twice", parts.now)
        if steps < 2:
            assert bot.state is BotState.GONE
        else:
            assert bot.state is BotState.LEAVING
            parts.wait(parts.deadlines.leave_s)
        assert (bot.state, bot.ending) == (BotState.GONE, Ending.STOPPED)
        assert bot.reason.startswith("enough")
        assert len(parts.found(SendStop)) == (1 if steps else 0)


def test_a_bot_that_is_stopped_while_it_joins_is_taken_out_when_it_comes() -> None:
    parts = Parts()
    provider = parts.provider()
    bot = parts.request()
    offer = parts.offer_of(bot)
    assert parts.core.redeem(offer.ticket, parts.now, lobby="garden", company_id="", holder="s-1")
    parts.core.stop(bot, "enough", parts.now)
    participant_id = parts.arrive(bot, "s-1")
    assert bot.state is BotState.LEAVING
    parts.core.stopped(provider, bot.bot_id, "yes", parts.now, failed=False)
    assert parts.found(Expel) == [Expel("l-1", participant_id, "enough")]


def test_the_bots_of_a_provider_that_dies_are_given_to_another() -> None:
    parts = Parts()
    dying = parts.provider(capacity=2)
    bots = [parts.active(lobby_id=f"l-{number}") for number in range(2)]
    heir = parts.provider(capacity=5)
    parts.registry.lose(dying, "the connection broke", parts.now)
    assert [bot.state for bot in bots] == [BotState.ACTIVE] * 2  # it may come back
    parts.wait(parts.deadlines.away_s)
    assert dying.state is ProviderState.GONE
    for bot in bots:
        assert (bot.state, bot.provider_id, bot.reassignments) == (BotState.OFFERED, heir.provider_id, 1)
        assert "BotReassigned" in parts.events(bot)
        parts.enter(bot)
        assert (bot.state, bot.joins) == (BotState.ACTIVE, 2)


def test_a_bot_on_its_way_does_not_wait_for_a_provider_that_went_away() -> None:
    parts = Parts()
    one = parts.provider("One")
    bot = parts.request()
    two = parts.provider("Two")
    parts.accept(bot)
    parts.registry.lose(one, "the connection broke", parts.now)
    assert bot.provider_id == two.provider_id


def test_a_bot_on_its_way_waits_for_its_only_provider_to_come_back() -> None:
    parts = Parts()
    provider = parts.provider()
    bot = parts.request()
    parts.registry.lose(provider, "the connection broke", parts.now)
    assert bot.state is BotState.REQUESTED
    parts.wait(parts.deadlines.request_s / 2)
    parts.registry.resume(provider, provider.spec, frozenset(), parts.now)
    assert bot.state is BotState.OFFERED
    parts.registry.remove(provider, "it died", parts.now)
    assert bot.state is BotState.REQUESTED
    heir = parts.provider()
    assert (bot.state, bot.provider_id) == (BotState.OFFERED, heir.provider_id)


def test_a_bot_is_not_offered_for_ever() -> None:
    """A provider that is lost at each offer is not asked more often than others are."""
    parts = Parts(limits=BotLimits(offers=3))
    provider = parts.provider()
    bot = parts.request()
    for _ in range(3):
        assert bot.state is BotState.OFFERED
        parts.registry.lose(provider, "the connection broke", parts.now)
        parts.registry.resume(provider, provider.spec, frozenset(), parts.now)
    assert (bot.state, bot.ending) == (BotState.GONE, Ending.NOT_PLACED)
    assert bot.reason.endswith("it was offered 3 times")


def test_a_provider_that_comes_back_has_its_bots_and_lost_ones_go_to_others() -> None:
    parts = Parts()
    provider = parts.provider(capacity=3)
    kept, missing, leaving = (parts.active(lobby_id=f"l-{number}") for number in range(3))
    parts.registry.lose(provider, "the connection broke", parts.now)
    parts.core.stop(leaving, "enough", parts.now)
    parts.outputs.clear()
    running = frozenset({kept.bot_id, "b-unknown"})
    parts.registry.resume(provider, provider.spec, running, parts.now)
    assert kept.state is BotState.ACTIVE
    assert leaving.state is BotState.GONE
    assert missing.reassignments == 1
    assert SendStop(provider.provider_id, "b-unknown", "it was given to another provider") in parts.outputs
    parts.wait(parts.deadlines.cool_down_s)
    assert missing.state is BotState.OFFERED  # there is no better one


def test_a_crash_is_tried_again_and_not_for_ever() -> None:
    parts = Parts(Deadlines(late_s=1000), BotLimits(reassignments=2))
    provider = parts.provider()
    bot = parts.active()
    for number in range(1, 3):
        parts.core.stopped(provider, bot.bot_id, "KeyError", parts.now, failed=True)
        assert (bot.state, bot.reassignments) == (BotState.REQUESTED, number)  # it cools down
        parts.wait(parts.deadlines.cool_down_s * 2)
        assert bot.state is BotState.OFFERED
        parts.enter(bot)
    parts.core.stopped(provider, bot.bot_id, "KeyError", parts.now, failed=True)
    assert (bot.state, bot.ending) == (BotState.GONE, Ending.FAILED)
    assert bot.reason == "'Echo' failed: KeyError; it failed 3 times in a row and is not tried again"


def test_failures_long_ago_are_forgiven() -> None:
    parts = Parts(Deadlines(late_s=100_000), BotLimits(reassignments=1))
    provider = parts.provider()
    bot = parts.active()
    for _ in range(5):
        parts.wait(parts.deadlines.settled_s)
        parts.core.stopped(provider, bot.bot_id, "KeyError", parts.now, failed=True)
        parts.wait(parts.deadlines.cool_down_s)
        parts.enter(bot)
    assert (bot.state, bot.reassignments) == (BotState.ACTIVE, 5)


@pytest.mark.parametrize(
    ("reason", "ending"),
    [("left", Ending.LEFT), ("kicked", Ending.STOPPED), ("lobby_closed", Ending.STOPPED)],
)
def test_a_bot_that_leaves_or_is_taken_out_is_gone_when_its_provider_says_so(
    reason: str, ending: Ending
) -> None:
    parts = Parts()
    provider = parts.provider()
    bot = parts.active()
    parts.core.left_lobby(bot, reason, parts.now)
    assert bot.state is BotState.LEAVING
    parts.core.stopped(provider, bot.bot_id, "over", parts.now, failed=False)
    assert (bot.state, bot.ending) == (BotState.GONE, ending)


def test_a_bot_whose_session_is_lost_is_given_to_another() -> None:
    parts = Parts()
    parts.provider("One")
    bot = parts.active()
    two = parts.provider("Two")
    parts.core.left_lobby(bot, "disconnected", parts.now)
    assert (bot.state, bot.provider_id) == (BotState.OFFERED, two.provider_id)


def test_a_draining_provider_gets_no_new_bots_and_those_it_has_go_on() -> None:
    parts = Parts()
    provider = parts.provider(capacity=5)
    bot = parts.active()
    parts.registry.drain(provider, "deploy")
    parts.registry.drain(provider, "again")
    assert parts.found(SendDrain) == [SendDrain(provider.provider_id, "deploy")]
    other = parts.request(lobby_id="l-2")
    parts.wait(parts.deadlines.request_s)
    assert other.ending is Ending.NOT_PLACED
    assert "1 is draining" in other.reason
    assert bot.state is BotState.ACTIVE
    parts.registry.lose(provider, "broke", parts.now)
    parts.registry.resume(provider, provider.spec, frozenset({bot.bot_id}), parts.now)
    assert provider.state is ProviderState.DRAINING
    heir = parts.provider()
    parts.registry.remove(provider, "it said goodbye", parts.now)
    assert bot.provider_id == heir.provider_id


def test_a_provider_that_is_not_heard_of_is_given_up() -> None:
    parts = Parts()
    provider = parts.provider()
    parts.wait(parts.deadlines.late_s / 2)
    parts.registry.hear(provider, parts.now, 0.5)
    parts.wait(parts.deadlines.late_s * 0.9)
    assert provider.provider_id in parts.pool
    parts.wait(parts.deadlines.late_s * 0.2)
    assert provider.provider_id not in parts.pool
    assert provider.reason == "no heartbeat for 7 s"


def test_the_least_busy_provider_is_asked_and_a_full_one_is_not() -> None:
    parts = Parts()
    small = parts.provider("Small", capacity=1)
    big = parts.provider("Big", capacity=4)
    asked = [parts.provider_of(parts.request(lobby_id=f"l-{number}")) for number in range(5)]
    assert asked.count(small) == 1
    assert asked.count(big) == 4
    assert parts.request(lobby_id="l-9").state is BotState.REQUESTED
    assert small.full
    assert big.full


def test_a_provider_that_says_it_is_busy_is_asked_last() -> None:
    parts = Parts()
    busy, idle = parts.provider("Busy", capacity=100), parts.provider("Idle", capacity=100)
    parts.registry.hear(busy, parts.now, 0.9)
    assert parts.provider_of(parts.request()) is idle
    parts.registry.hear(idle, parts.now, 1.0)
    assert parts.provider_of(parts.request()) is busy


def test_providers_of_a_company_serve_it_alone() -> None:
    parts = Parts()
    parts.provider(company_id="co-1")
    assert parts.request(company_id="co-2").state is BotState.REQUESTED
    assert parts.request().state is BotState.REQUESTED
    assert parts.request(company_id="co-1").state is BotState.OFFERED


def test_a_provider_is_found_by_its_capabilities() -> None:
    parts = Parts()
    parts.provider("Plain")
    singer = parts.provider("Singer", capabilities=("song", "chat"))
    assert parts.provider_of(parts.request(capability="song")) is singer
    bot = parts.request(capability="dance")
    parts.wait(parts.deadlines.request_s)
    assert bot.reason.startswith("no provider with the capability 'dance' is registered")


def test_a_config_that_nobody_takes_is_refused_at_once() -> None:
    parts = Parts()
    parts.provider("Singer", config_schema=VOICE_SCHEMA)
    with pytest.raises(BotConfigError, match=r"config\.voice") as caught:
        parts.request(config={"voice": "tenor"})
    assert caught.value.field == "config.voice"
    assert len(parts.ledger.live) == 0
    plain = parts.provider("Plain")
    assert parts.provider_of(parts.request(config={"voice": "tenor"})) is plain


def test_the_same_key_is_the_same_request() -> None:
    parts = Parts()
    parts.provider(capacity=3)
    bot = parts.request(idempotency_key="k", name="A")
    assert parts.request(idempotency_key="k", name="A", requested_by="b") is bot
    with pytest.raises(IdempotencyConflictError):
        parts.request(idempotency_key="k", name="B")
    assert parts.request(idempotency_key="k", name="B", company_id="co-1") is not bot
    assert len(parts.found(SendOffer)) == 2


def test_there_are_never_more_bots_than_may_be() -> None:
    parts = Parts(limits=BotLimits(bots=3, bots_per_lobby=2))
    first = parts.request()
    parts.request()
    with pytest.raises(BotCapacityError, match="lobby has 2 bots"):
        parts.request()
    parts.request(lobby_id="l-2")
    with pytest.raises(BotCapacityError, match="there are 3 bots"):
        parts.request(lobby_id="l-3")
    parts.core.stop(first, "enough", parts.now)
    parts.request()


def test_there_are_never_more_providers_than_may_be() -> None:
    parts = Parts(limits=BotLimits(providers=3, providers_per_company=1))
    parts.provider(company_id="co-1")
    with pytest.raises(BotCapacityError, match="the company has 1 providers"):
        parts.provider(company_id="co-1")
    parts.provider()
    parts.provider()
    with pytest.raises(BotCapacityError, match="there are 3 providers"):
        parts.provider()


def test_those_gone_are_remembered_for_a_while() -> None:
    parts = Parts(limits=BotLimits(history=2))
    bots = [parts.request(idempotency_key=str(number)) for number in range(3)]
    for bot in bots:
        parts.core.stop(bot, "enough", parts.now)
    assert [bot.bot_id for bot in parts.ledger] == [bot.bot_id for bot in bots[1:]]
    assert parts.request(idempotency_key="2") is bots[2]
    assert parts.request(idempotency_key="0") is not bots[0]


def test_messages_are_counted_for_the_bot_and_its_provider() -> None:
    parts = Parts()
    provider = parts.provider()
    bot = parts.active()
    parts.core.note_message(bot)
    parts.core.note_message(bot)
    assert (bot.messages, provider.statistics.messages, parts.core.messages) == (2, 2, 2)


def test_nothing_is_due_when_nothing_waits() -> None:
    parts = Parts()
    assert parts.next_timeout() == math.inf
    parts.provider()
    parts.active()
    assert parts.core.next_timeout(parts.now) == math.inf
