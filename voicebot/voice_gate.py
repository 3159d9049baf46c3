"""Lets voices through and keeps silence back: a service that is paid by the second need not hear a room. No tasks, no clock."""

from collections import deque

from voicebot.audio.frame import AudioFrame

#: Louder than this is let through even if the relay hears no voice in it: somebody may be far from their microphone.
LOUD_DBOV = 60
#: Silence goes on for so long after the last voice: the service hears by it that somebody has finished.
HANGOVER_MS = 2500.0
#: So much of what came before a voice is let through with it: words begin softly.
LEAD_MS = 300.0


class VoiceGate:
    """Of one stream. Timestamps tell who listens what was kept back."""

    def __init__(self, *, hangover_ms: float = HANGOVER_MS, lead_ms: float = LEAD_MS) -> None:
        self._hangover_ms = hangover_ms
        self._lead_ms = lead_ms
        self._lead: deque[AudioFrame] = deque()
        self._silent_ms = hangover_ms
        #: What was kept back since the beginning.
        self.kept_back_ms = 0.0

    def hear(self, frame: AudioFrame) -> list[AudioFrame]:
        """Take a frame; returns those to let through, in order."""
        if frame.voiced or frame.level < LOUD_DBOV:
            self._silent_ms = 0.0
        else:
            self._silent_ms += frame.duration_ms
        if self._silent_ms <= self._hangover_ms:
            let_through = [*self._lead, frame]
            self._lead.clear()
            return let_through
        self._lead.append(frame)
        while sum(each.duration_ms for each in self._lead) > self._lead_ms:
            self.kept_back_ms += self._lead.popleft().duration_ms
        return []
