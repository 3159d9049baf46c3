"""Levels, voices and who leads, with whole arrays and lists where the kernels have loops and records."""

import numpy as np
from sound_strategies import plain


def level_dbov(samples):
    power = np.mean(plain(samples).astype(np.float64) ** 2) if len(samples) else 0
    return 127 if power < 1e-13 else int(np.clip(np.floor(0.5 - 10 * np.log10(power)), 0, 127))


class VoiceTwin:
    """Keeps the whole stream, and all levels there ever were."""

    def __init__(self):
        self.narrow = np.zeros(160)
        self.levels = []
        self.last = 0.0
        self.floor = -69.0
        self.hangover = 0

    def listen(self, frame):
        frame = np.resize(np.append(plain(frame), np.zeros(960)), 960)
        means = frame.reshape(160, 6).mean(axis=1)
        before = np.append(self.last, means[:-1])
        self.last = means[-1]
        for step in means - before:
            self.narrow = np.append(self.narrow, step + 0.92 * self.narrow[-1])
        now = self.narrow[-160:]
        level = 10 * np.log10(np.mean(now**2) + 1e-12)
        self.periodicity = 0.0
        if level > max(self.floor + 9, -60):
            if not self.hangover:
                self.periodicity = max(self.correlation(now, lag) for lag in range(20, 134))
            if self.hangover or self.periodicity > 0.65:
                self.hangover = 11
        self.hangover = max(self.hangover - 1, 0)
        self.levels.append(level)
        blocks = [self.levels[start : start + 12] for start in range(0, len(self.levels), 12)]
        # The block to come begins with the last frame of the one before it.
        minima = [min(self.levels[max(12 * n - 1, 0) : 12 * n + 12]) for n in range(len(blocks))]
        if len(self.levels) % 12 == 0:
            minima.append(level)
        self.floor = min(([-69.0] * 8 + minima)[-8:] if len(minima) < 8 else minima[-8:])
        if len(minima) == 1:
            self.floor = min(self.floor, -69.0)
        return self.hangover > 0

    def correlation(self, now, lag):
        then = self.narrow[-160 - lag : -lag]
        return np.dot(now, then) / np.sqrt((np.dot(now, now) + 1e-12) * (np.dot(then, then) + 1e-12))


class DominantTwin:
    """Speakers by name."""

    def __init__(self):
        self.dominant = None
        self.activity = {}
        self.run = {}

    def choose(self, present):
        """`present` is {name: (level, voiced)}."""
        for name, (level, voiced) in present.items():
            loudness = np.clip(127 - level, 0, 127) / 127 if voiced else 0
            old = self.activity.get(name, 0)
            self.activity[name] = old + (loudness - old) / 15
            self.run[name] = self.run.get(name, 0) + 1 if voiced else 0
        need = 1 if self.dominant is None else 15
        able = [name for name in present if name != self.dominant and self.run[name] >= need]
        best = max(able, key=self.activity.get, default=None)
        if best is not None and (
            self.dominant is None or self.activity[best] > 1.25 * self.activity[self.dominant]
        ):
            self.dominant = best
        return self.dominant
