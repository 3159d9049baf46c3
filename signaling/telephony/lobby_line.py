"""One line in a lobby: its ear, its mouth, and the participant whose they are. Made by ``lobby_lines.py``."""

from collections import deque
from collections.abc import Callable

import trio

import relay
from signaling.session import Membership, Session
from signaling.telephony.line import LineClosed, Samples
from signaling.telephony.line_speech import LineSpeech
from signaling.voices.mix import Ear, HeardFrame, Mouth

#: What the track of a line is published as. Both are heard through audio slots and in mixes.
CALLER_SOURCE = "microphone"
BOT_SOURCE = "bot"


class LobbyLine:
    """An ``AudioLine``, and a ``lobby_mix.Watcher`` of its participant.

    ``run`` must run as long as it is used. It is over when its participant is not in the lobby any more, whatever the reason;
    ``why`` tells it then.
    """

    def __init__(
        self,
        session: Session,
        membership: Membership,
        *,
        ear: Ear,
        mouth: Mouth,
        live: bool,
        why: Callable[[], str],
    ) -> None:
        self.participant_id = membership.participant.participant_id
        self.rate = ear.rate
        self._limits = session.limits
        self._lobby = membership.lobby
        self._participant = membership.participant
        self._ear = ear
        self._mouth = mouth
        self._why = why
        self._speech = LineSpeech(mouth, live=live)
        self._heard: deque[HeardFrame] = deque()
        self._closed = False
        self._lobby.mix.watch(self)
        assert mouth.track is not None  # it speaks to all
        source = BOT_SOURCE if self._participant.is_bot else CALLER_SOURCE
        # Muting the track mutes the mouth in the mix as well: one that is muted goes on in silence, as a microphone does.
        self._lobby.publish(self._participant, mouth.track, source)

    async def run(self) -> None:
        """Let what was queued be heard, until the line is over."""
        await self._speech.run()

    def close(self) -> None:
        """Be in the lobby no more; that the participant leaves it is up to whoever calls. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._speech.close()
        self._ear.close()
        self._mouth.close()
        self._lobby.mix.unwatch(self)

    # An `AudioLine`.

    async def receive(self) -> Samples:
        """See ``AudioLine``. While the lobby is silent for long there is nothing to return."""
        if self._heard:
            await trio.lowlevel.checkpoint()
        else:
            try:
                self._heard.extend(await self._ear.receive())
            except relay.RelayError:
                raise LineClosed(self._why()) from None
        return self._heard.popleft().samples

    def queue(self, samples: Samples) -> int:
        """See ``AudioLine``."""
        self._require_open()
        return self._speech.give(samples)

    async def wait_played(self, position: int) -> None:
        """See ``AudioLine``."""
        await self._speech.wait_played(position)
        self._require_open()

    async def clear(self) -> int:
        """See ``AudioLine``."""
        self._require_open()
        return await self._speech.clear()

    def press(self, digit: str) -> None:
        """See ``AudioLine``. Keys that are pressed faster than anybody does are passed over."""
        self._require_open()
        if self._limits.take("press", trio.current_time()):
            self._lobby.press(self._participant, digit)

    # A `Watcher`.

    def voices_changed(self, participant_id: str) -> None:
        """See ``lobby_mix.Watcher``."""

    def participant_speaks(self, participant_id: str) -> None:
        """See ``lobby_mix.Watcher``."""

    def participant_silenced(self, participant_id: str) -> None:
        """See ``lobby_mix.Watcher``; its track is muted by itself."""

    def participant_gone(self, participant_id: str) -> None:
        """See ``lobby_mix.Watcher``."""
        if participant_id == self.participant_id:
            self.close()

    def _require_open(self) -> None:
        if self._speech.closed:
            raise LineClosed(self._why())
