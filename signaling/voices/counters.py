"""What became of sound as samples, in all lobbies of the service. Only grows."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class SoundCounters:
    """See the module. Plain numbers of the Trio thread."""

    #: Frames given to connections of listeners.
    sent: int = 0
    #: Frames that their listeners were too slow for, or not connected for.
    dropped: int = 0
    #: Frames taken from who speaks.
    received: int = 0
    #: Frames of playouts that were over already.
    late: int = 0
    #: What became of playouts: ``done``, or the reason why they were cleared.
    playouts: Counter[str] = field(default_factory=Counter)
