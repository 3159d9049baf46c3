"""What the service needs of a mixer: the relay's satisfies it, and so does the one of the tests.

A mix is made for one lobby. Everybody's microphone is added to it; *mouths* put samples into it, *ears* take samples out of
it, all of them int16, one channel. Nothing here waits for a client, and no method but those marked ``async`` waits at all.
All are called in Trio's thread.

What sounds is named by its track, that of a mouth, too.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from numpy import int16
from numpy.typing import NDArray

import relay

#: How long the frames of ears are, and the ticks of the mixer.
FRAME_MS = 20
#: Returns what is not to be heard. Cheap; asked again whenever what there is to hear has changed.
Without = Callable[[], Iterable[relay.Track]]


class HeardFrame(Protocol):
    """20 ms of sound, silence too."""

    @property
    def samples(self) -> NDArray[int16]:
        """As many as the ear's rate / 50. The taker's to keep."""

    @property
    def timestamp(self) -> int:
        """Of the first sample: samples since the ear was opened, silence and what was lost included."""

    @property
    def level_dbov(self) -> int:
        """From 0, the loudest, to 127, silence."""

    @property
    def voiced(self) -> bool:
        """Whether somebody speaks in it."""

    @property
    def gap(self) -> bool:
        """Whether frames before it were lost."""


class Ear(Protocol):
    """Hears a mix, or one voice of it, at one rate.

    It has a frame every 20 ms while anything sounds in the lobby, and none while all have been silent for seconds.
    """

    @property
    def rate(self) -> int:
        """In samples a second."""

    @property
    def dropped(self) -> int:
        """How many frames were lost because nobody took them."""

    async def receive(self) -> Sequence[HeardFrame]:
        """Return the frames that wait, in order; at least one.

        Raises: relay.RelayError when the ear has been closed, or what it hears has ended.
        """

    def close(self) -> None:
        """Hear no more. Idempotent."""


class Mouth(Protocol):
    """Speaks into a mix at one rate. Positions are in samples: of all that were ever queued and not cleared."""

    @property
    def rate(self) -> int:
        """In samples a second."""

    @property
    def track(self) -> relay.Track | None:
        """What those hear of it who take tracks and audio slots, not the mix; ends with it. None: it speaks to one alone."""

    @property
    def queued(self) -> int:
        """The position after the last sample that was queued."""

    @property
    def played(self) -> int:
        """The position up to which samples have been played."""

    def queue(self, samples: NDArray[int16]) -> int:
        """Let these be heard after all that was queued before; return the position after them. Copies what it needs.

        Raises: relay.CapacityError when more than the mixer holds (60 s) wait.
        """

    def finish(self) -> None:
        """Let the end of what is queued be heard though it be no whole frame: silence fills it.

        More may be queued later, and begins with a frame of its own.
        """

    def set_gain(self, gain: float) -> None:
        """Be louder or quieter within one tick, what is queued included: 1 is as it is, 0 silence, 4 the loudest."""

    async def wait_played(self, position: int) -> bool:
        """Return True once everything before the position was played, False when it was cleared or the mouth closed."""

    async def clear(self) -> int:
        """Forget what is queued; return the position up to which it was really played. Takes a tick.

        That is what ``queued`` is then, and what is queued next goes on from there.
        """

    def close(self) -> None:
        """Be silent at once, for ever. Idempotent."""


class MixSource(Protocol):
    """The mixer of one lobby."""

    def add(self, track: relay.Track) -> None:
        """Let a track be heard in the mix until it ends. Muted tracks are silent.

        The track of one of its own mouths is heard already; but now it is known whose it is: ``Without`` is asked again.

        Raises: relay.RelayError when there is no room, or it has ended.
        """

    def open_ear(
        self,
        *,
        rate: int,
        track: relay.Track | None = None,
        without: Without | None = None,
        listener: str | None = None,
    ) -> Ear:
        """Hear one ``track`` alone, or else everybody but ``without``.

        ``listener``: for whom; hears what is said to this participant alone as well.

        Raises: relay.CapacityError when there is no room; relay.LocalProtocolError when the track has ended.
        """

    def open_mouth(self, *, rate: int, live: bool = False, to: str | None = None) -> Mouth:
        """Speak to all, or to the participant of this id alone. ``live``: what would wait too long is dropped.

        Raises: relay.CapacityError when there is no room.
        """

    def listen(self, without: Without, *, listener: str | None = None) -> relay.Source:
        """Return the mix of everybody but ``without`` as a source that WebRTC sections carry."""

    def close(self) -> None:
        """End the mix with all its ears and mouths; the tracks go on. Idempotent."""


#: Makes the mixer of a lobby. Raises: relay.CapacityError when there is no room.
OpenMix = Callable[[], MixSource]
