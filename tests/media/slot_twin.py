"""Who is heard, decided in the slow and obvious way: a dictionary of what is known of each speaker."""

from dataclasses import dataclass, field

MS = 1_000_000
LOUD, AUDIBLE = 60, 70
LAPSE_MS, HOLD_MS = 1000, 300
MARGIN = 6_000
FADE_PER_MS = 40
NOTHING = 127_000


@dataclass
class Speaker:
    level: int = NOTHING
    level_at: int = 0

    def level_now(self, now):
        return min(NOTHING, self.level + (now - self.level_at) * FADE_PER_MS // MS)

    def speak(self, level, now):
        faded = self.level_now(now)
        if level * 1000 < faded:
            self.level = (faded + level * 1000) // 2
        else:
            self.level = faded
        self.level_at = now


@dataclass
class Slot:
    holder: object = None
    since: int = 0
    heard: int = 0

    def lapsed(self, now):
        return self.holder is None or now - self.heard > LAPSE_MS * MS


@dataclass
class SlotTwin:
    speakers: dict = field(default_factory=dict)
    slots: list = field(default_factory=lambda: [Slot() for _ in range(3)])

    def speak(self, name, level, now):
        """Which slot a packet goes through, and whether its speaker begins there; None when it is withheld."""
        speaker = self.speakers.setdefault(name, Speaker())
        speaker.speak(level, now)
        own = [slot for slot in self.slots if slot.holder == name]
        if own:
            (slot,) = own
            if not slot.lapsed(now):
                if level <= AUDIBLE:
                    slot.heard = now
                return self.slots.index(slot), False
        if level > LOUD:
            return None
        if own:
            slot = own[0]
        else:
            slot = self._slot_for(speaker, now)
            if slot is None:
                return None
        slot.holder, slot.since, slot.heard = name, now, now
        return self.slots.index(slot), True

    def _slot_for(self, speaker, now):
        never = [slot for slot in self.slots if slot.holder is None]
        if never:
            return never[0]
        lapsed = [slot for slot in self.slots if slot.lapsed(now)]
        if lapsed:
            return min(lapsed, key=lambda slot: slot.heard)
        settled = [slot for slot in self.slots if now - slot.since >= HOLD_MS * MS]
        if not settled:
            return None
        quietest = max(settled, key=lambda slot: self.speakers[slot.holder].level_now(now))
        louder = self.speakers[quietest.holder].level_now(now) - speaker.level_now(now)
        return quietest if louder >= MARGIN else None
