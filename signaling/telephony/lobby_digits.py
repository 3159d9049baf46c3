"""The keys that are pressed in a lobby, for bots that are told of them as Twilio tells."""

from collections.abc import AsyncIterator

from signaling.bus import Bus
from signaling.events import DtmfPressed

#: Of its subscriptions, in metrics.
NAME = "twilio_digits"
#: Nobody presses keys faster than a bot is told of them.
MAX_WAITING = 100


class LobbyDigits:
    """See the module. Calling it with a lobby's id gives the keys pressed there from the first step on; for ever."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def __call__(self, lobby_id: str) -> AsyncIterator[str]:
        """Give the keys, whoever presses them."""
        with self._bus.subscribe(NAME, types=(DtmfPressed,), capacity=MAX_WAITING) as subscription:
            async for stamped in subscription:
                event = stamped.event
                if isinstance(event, DtmfPressed) and event.lobby_id == lobby_id:
                    yield event.digit
                subscription.note_handled(stamped)
