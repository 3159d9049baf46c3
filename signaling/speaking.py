"""Who is speaking: a detector with hysteresis, and the monitor that feeds it from the relay's audio levels.

The monitor looks five times a second, at lobbies with an unmuted audio track only, and sleeps when there is
none.
"""

import trio

from signaling.lobby import Lobby
from signaling.messages.model import SILENT_SOURCES
from signaling.participant import Participant

INTERVAL_SECONDS = 0.2
#: At or above this level (numerically at or below) somebody speaks; a quiet voice at a laptop shows 40 to 50.
START_DBOV = 45
#: Below this for ``HOLD_POLLS`` polls in a row somebody has stopped: pauses between words are not the end.
STOP_DBOV = 55
HOLD_POLLS = 4
SILENCE_DBOV = 127


class SpeakingDetector:
    """One participant's state. No clock inside: a poll is a tick."""

    __slots__ = ("_quiet_polls", "speaking")

    def __init__(self) -> None:
        self.speaking = False
        self._quiet_polls = 0

    def update(self, level_dbov: int | None) -> bool:
        """Take the level of one poll (None: nothing can be heard); tell whether ``speaking`` changed."""
        before = self.speaking
        if level_dbov is None:
            self.speaking = False
        elif level_dbov <= START_DBOV:
            self.speaking = True
            self._quiet_polls = 0
        elif level_dbov < STOP_DBOV:
            self._quiet_polls = 0
        else:
            self._quiet_polls += 1
            self.speaking = self.speaking and self._quiet_polls < HOLD_POLLS
        return self.speaking != before


class SpeakingMonitor:
    """See the module."""

    def __init__(self) -> None:
        self._lobbies: dict[Lobby, dict[Participant, SpeakingDetector]] = {}
        self._something_to_hear = trio.Event()

    def watch(self, lobby: Lobby) -> None:
        """Look at this lobby from now on, until nothing in it can be heard."""
        self._lobbies.setdefault(lobby, {})
        self._something_to_hear.set()

    async def run(self) -> None:
        """Poll for ever."""
        while True:
            if not self._lobbies:
                self._something_to_hear = trio.Event()
                await self._something_to_hear.wait()
            for lobby, detectors in tuple(self._lobbies.items()):
                if not self._poll(lobby, detectors):
                    del self._lobbies[lobby]
            await trio.sleep(INTERVAL_SECONDS)

    def _poll(self, lobby: Lobby, detectors: dict[Participant, SpeakingDetector]) -> bool:
        """Update one lobby; tell whether anything in it can be heard."""
        audible = False
        for gone in [
            participant for participant in detectors if participant.participant_id not in lobby.participants
        ]:
            del detectors[gone]
        for participant in tuple(lobby.participants.values()):
            level = _level(participant)
            audible = audible or level is not None
            detector = detectors.get(participant)
            if detector is None:
                if level is None or level > START_DBOV:
                    continue  # of whom nothing has been heard yet there is nothing to remember
                detector = detectors[participant] = SpeakingDetector()
            if detector.update(level):
                shown = SILENCE_DBOV if level is None else level
                lobby.set_speaking(participant, speaking=detector.speaking, level_dbov=shown)
        return audible


def _level(participant: Participant) -> int | None:
    loudest = None
    for published in participant.tracks.values():
        track = published.track
        if track.kind == "audio" and not track.muted and published.source not in SILENT_SOURCES:
            level = track.level_dbov
            if loudest is None or level < loudest:
                loudest = level
    return loudest
