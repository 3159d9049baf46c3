"""What one session hears and says as samples in one lobby, by the numbers of streams.

It outlives the connection, as the session does: what is heard while there is none is dropped and counted, what was given to
be said is said. All ends when the session leaves the lobby. The tasks are in the session's nursery.
"""

from collections.abc import Callable

from signaling.lobby import Lobby
from signaling.messages import AudioFrameError, AudioFrameWire, AudioListen, PlayOpen, ServerMessage
from signaling.participant import Participant
from signaling.voices.hearing import Hearing, StartSoon
from signaling.voices.mix import Mouth
from signaling.voices.numbers import StreamNumbers
from signaling.voices.playouts import Playouts

#: What is said as samples is published as this.
SOURCE = "bot"


class Voices:
    """See the module; a ``lobby_mix.Watcher``.

    ``tell`` sends an event to the client, and ``send_sound`` lets its connection fetch binary messages; both return whether
    it is connected.
    """

    def __init__(
        self,
        lobby: Lobby,
        participant: Participant,
        *,
        numbers: StreamNumbers,
        tell: Callable[[ServerMessage], bool],
        send_sound: Callable[[Callable[[], bytes]], bool],
        start_soon: StartSoon,
    ) -> None:
        self._lobby = lobby
        self._mix = lobby.mix
        self._participant = participant
        self._numbers = numbers
        self._leaving = False
        self._targets: dict[Mouth, str] = {}
        self._hearing = Hearing(
            lobby.mix,
            participant.participant_id,
            give_number=self._give_number,
            tell=tell,
            send_sound=send_sound,
            start_soon=start_soon,
        )
        self._playouts = Playouts(
            give_number=self._give_number,
            tell=tell,
            start_soon=start_soon,
            open_mouth=self._open_mouth,
            close_mouth=self._close_mouth,
            counters=lobby.mix.counters,
        )
        self._mix.watch(self)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Of all streams, subscriptions and playouts that are not over."""
        return tuple(sorted(self._hearing.numbers | self._playouts.numbers))

    def listen(self, request: AudioListen) -> int:
        """Begin to hear what is asked for; return its number.

        Raises: RequestError; relay.CapacityError.
        """
        return self._hearing.listen(request)

    def unlisten(self, number: int) -> None:
        """End a stream or a subscription.

        Raises: RequestError ``unknown_stream``.
        """
        self._hearing.unlisten(number)

    def open_playout(self, request: PlayOpen) -> int:
        """Begin to speak; return the number for the frames.

        Raises: RequestError; relay.CapacityError.
        """
        self._mix.require()
        return self._playouts.open(request)

    def play(self, frame: AudioFrameWire) -> None:
        """Take samples of a playout. Those of one that is over are nobody's fault: they were under way.

        Raises: AudioFrameError, playouts.PlayOverflowError.
        """
        if frame.stream in self._playouts.numbers:
            self._playouts.take(frame)
        elif frame.stream in self._hearing.numbers:
            raise AudioFrameError(f"stream {frame.stream} is one you listen to: expected one of play_open")
        elif self._numbers.was_given(frame.stream):
            self._mix.counters.late += 1
        else:
            raise AudioFrameError(f"there is no stream {frame.stream}: expected one of play_open")

    def set_gain(self, gain: float) -> None:
        """Be louder or quieter from now on, what is under way included; 1: as it is given."""
        self._playouts.set_gain(gain)

    async def clear(self) -> dict[int, float]:
        """End all playouts; return how many ms of each were heard, by number. Takes a tick."""
        return await self._playouts.clear()

    def recapitulate(self) -> tuple[ServerMessage, ...]:
        """Return what a client that comes back may have missed; of playouts, it may know it already."""
        return (*self._hearing.recapitulate(), *self._playouts.recapitulate())

    def close(self, reason: str) -> None:
        """End everything, for the participant leaves the lobby."""
        self._leaving = True
        self._mix.unwatch(self)
        self._hearing.close(reason)
        self._playouts.close(reason)

    # See `lobby_mix.Watcher`.

    def voices_changed(self, participant_id: str) -> None:
        """See there."""
        self._hearing.voices_changed(participant_id)

    def participant_gone(self, participant_id: str) -> None:
        """See there."""
        self._hearing.participant_gone(participant_id)
        self._playouts.end(participant_id, "left")

    def participant_speaks(self, participant_id: str) -> None:
        """See there."""
        self._hearing.participant_speaks(participant_id)

    def participant_silenced(self, participant_id: str) -> None:
        """See there."""
        if participant_id == self._participant.participant_id:
            self._playouts.close("muted")

    def _give_number(self) -> int:
        return self._numbers.give(self._hearing.numbers | self._playouts.numbers)

    def _open_mouth(self, rate: int, target: str | None) -> Mouth:
        mouth = self._mix.require().open_mouth(rate=rate, to=target)
        if mouth.track is not None:
            self._lobby.publish(self._participant, mouth.track, source=SOURCE)
        if target is not None:
            self._targets[mouth] = target
            self._tell_target(target, begins=True)
        return mouth

    def _tell_target(self, target: str, *, begins: bool) -> None:
        listener = self._lobby.participants.get(target)
        if listener is not None:  # else it has just left
            listener.hear_alone(self._participant.participant_id, begins=begins)

    def _close_mouth(self, mouth: Mouth) -> None:
        mouth.close()
        target = self._targets.pop(mouth, None)
        if target is not None:
            self._tell_target(target, begins=False)
        if (
            mouth.track is not None and not self._leaving
        ):  # else the lobby is told that all its tracks are gone
            self._lobby.unpublish(self._participant, mouth.track.id)
