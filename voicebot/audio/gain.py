"""``play_gain``: how loud a bot is. A request that a relay may not know; it belongs to ``signaling/messages/audio.py`` once one does."""

from typing import Annotated, ClassVar

from pydantic import Field

from signaling.messages import ClientMessage


class PlayGain(ClientMessage):
    """Make what one plays, now and later, louder or quieter by so much, within one tick of the mix. Reply: ``ok``."""

    type: ClassVar[str] = "play_gain"
    gain_db: Annotated[float, Field(ge=-60, le=12)]
