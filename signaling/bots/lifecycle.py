"""The life of a bot, as a table.

A request for a bot is *requested* until a provider is found, *offered* to one provider at a time until that one accepts,
*joining* until the bot is in the lobby, *active* while it is there, *leaving* from the moment it is asked to go, or has
gone, until its provider has said how it ended, and *gone* for good. Whatever goes wrong on the way leads back to
*requested*, where another provider is tried, or to *gone* with a reason: no state can be left silently, for all but
*active* and *gone* have a deadline.

    requested ─> offered ─> joining ─> active ─> leaving ─> gone
        ^___________│___________│_________│_________│
"""

from enum import Enum, StrEnum

from signaling.bots.errors import IllegalStepError


class BotState(StrEnum):
    """Where a bot is in its life."""

    REQUESTED = "requested"
    OFFERED = "offered"
    JOINING = "joining"
    ACTIVE = "active"
    LEAVING = "leaving"
    GONE = "gone"


class Step(Enum):
    """What moves it on."""

    #: A provider was found, and asked.
    OFFER = "offer"
    #: It said yes, or its bot came without a word.
    ACCEPT = "accept"
    #: The bot is in the lobby.
    JOIN = "join"
    #: It shall leave, or has left; its provider has not said yet how it ended.
    LEAVE = "leave"
    #: This provider does not do; look for another.
    RETRY = "retry"
    #: It is over.
    END = "end"


class Ending(StrEnum):
    """How it ended, for programs; the reason beside it is for people."""

    #: Somebody asked for it.
    STOPPED = "stopped"
    #: The bot went by itself, or was removed from the lobby.
    LEFT = "left"
    #: No provider took it.
    NOT_PLACED = "not_placed"
    #: It failed, or its provider did, and it was not to be placed again.
    FAILED = "failed"


class ProviderState(StrEnum):
    """Whether a provider is given bots."""

    READY = "ready"
    #: It gets no new ones; those it has finish.
    DRAINING = "draining"
    #: Its connection is lost; it may come back for a while.
    AWAY = "away"
    GONE = "gone"


TRANSITIONS: dict[BotState, dict[Step, BotState]] = {
    BotState.REQUESTED: {Step.OFFER: BotState.OFFERED, Step.END: BotState.GONE},
    BotState.OFFERED: {
        Step.ACCEPT: BotState.JOINING,
        Step.RETRY: BotState.REQUESTED,
        Step.END: BotState.GONE,
    },
    BotState.JOINING: {
        Step.JOIN: BotState.ACTIVE,
        Step.RETRY: BotState.REQUESTED,
        Step.LEAVE: BotState.LEAVING,
    },
    BotState.ACTIVE: {
        Step.LEAVE: BotState.LEAVING,
        Step.RETRY: BotState.REQUESTED,
        Step.END: BotState.GONE,
    },
    # It had left before its provider said that it had crashed.
    BotState.LEAVING: {Step.RETRY: BotState.REQUESTED, Step.END: BotState.GONE},
    BotState.GONE: {},
}


def next_state(state: BotState, step: Step) -> BotState:
    """Return where the step leads.

    Raises: IllegalStepError.
    """
    following = TRANSITIONS[state].get(step)
    if following is None:
        raise IllegalStepError(f"a bot that is {state.value} cannot take the step {step.value}")
    return following
