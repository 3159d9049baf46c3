"""What `relay bench mix` found, and how it is told."""

import math
from dataclasses import dataclass
from typing import Any, Final

from bench.machine import Pinning
from bench.report import number
from bench.scenario import Better, Reading, ResultTable

BAR_PARTICIPANTS: Final = 1_000
BAR_LOBBIES: Final = 100
BAR_LATENESS_MS: Final = 5.0
BAR_IDLE_SHARE: Final = 0.001
TICKS_PER_S: Final = 50
DISTURBED_SHARE: Final = 0.001  # of the packets, sent late
NAN: Final = math.nan


@dataclass(frozen=True)
class MixLoad:
    """One load, and what mixing it took. Shares are of one core."""

    name: str
    lobbies: int
    participants: int  # of each lobby
    talkers: int
    elapsed_s: float
    mixer_share: float
    busy_share: float  # of the mixer by the clock: what others took of its core is in it
    worker_share: float  # NaN where no worker runs
    main_share: float  # of the thread that runs Trio, likewise
    ticks: int
    ticks_skipped: int
    lateness_us: dict[int, int]  # upper bound -> ticks
    decoded: int
    concealed: int
    encoded: int
    parked: int
    packets_in: int
    packets_out: int
    lost: int  # packets either way that a ring had no room for, and numbers that were left out
    sent: int
    sent_late: int
    verdicts: dict[str, int]  # what a worker counted meanwhile; empty where none runs

    @property
    def all_participants(self) -> int:
        """Of all lobbies."""
        return self.lobbies * self.participants

    @property
    def tick_us(self) -> float:
        """Time of the mixer's thread on a core, for each 20 ms."""
        return self.mixer_share * 1e6 / TICKS_PER_S

    @property
    def relay_share(self) -> float:
        """Of all threads that move media."""
        return self.mixer_share if math.isnan(self.worker_share) else self.mixer_share + self.worker_share

    @property
    def participants_of_a_core(self) -> float:
        """As many as its threads would carry, were all of a core theirs; NaN when they took nothing."""
        return self.all_participants / self.relay_share if self.relay_share else NAN

    @property
    def p99_late_ms(self) -> float:
        """99 of 100 ticks began no later than this (powers of two of microseconds); NaN when there were none."""
        total = sum(self.lateness_us.values())
        passed = 0
        for bound, count in sorted(self.lateness_us.items()):
            passed += count
            if passed >= 0.99 * total:
                return bound / 1e3
        return NAN

    @property
    def latest_ms(self) -> float:
        """As `p99_late_ms`, of all ticks."""
        return max(self.lateness_us, default=NAN) / 1e3

    @property
    def carried(self) -> bool:
        """Whether all of it was mixed in time."""
        late = self.p99_late_ms
        return self.lost == 0 and self.ticks_skipped == 0 and (math.isnan(late) or late < BAR_LATENESS_MS)

    @property
    def disturbed(self) -> bool:
        """Whether the generator was late itself."""
        return self.sent_late > DISTURBED_SHARE * self.sent


@dataclass(frozen=True)
class HighestLoad:
    """The largest load of one kind that a core carries: by trials, and by what a smaller one took of it."""

    what: str  # "participants" or "lobbies"
    by_cpu: float
    best: float  # NaN: not looked for
    trials: tuple[MixLoad, ...]


@dataclass(frozen=True)
class MixResult:
    """Everything about one call."""

    options: dict[str, Any]
    pinning: Pinning
    loads: tuple[MixLoad, ...]
    highest: tuple[HighestLoad, ...]
    silent_us: float  # per participant who says nothing, of each tick
    talker_us: float
    scenario: str = "mix"

    def readings(self) -> list[Reading]:
        """What a core carries, what a participant costs, and how late ticks were."""
        found = []
        bars: dict[str, float] = {"participants": BAR_PARTICIPANTS, "lobbies": BAR_LOBBIES}
        named = {
            "participants": "participants of a core, 3 talkers",
            "lobbies": "lobbies of 5 of a core, all talking",
        }
        for highest in self.highest:
            name, bar = named[highest.what], bars[highest.what]
            searched = not math.isnan(highest.best)
            if searched:
                found.append(Reading(name, highest.best, "", Better.HIGHER, bar))
            found.append(
                Reading(f"{name}, by CPU time", highest.by_cpu, "", Better.HIGHER, None if searched else bar)
            )
        for load in self.loads:
            if not math.isnan(load.worker_share):
                name, carried = f"{load.name}: participants of a core", load.participants_of_a_core
                held = BAR_PARTICIPANTS if (load.lobbies, load.talkers) == (1, 3) else None
                found.append(Reading(name, carried, "", Better.HIGHER, held))
            if load.talkers:
                found.append(
                    Reading(
                        f"{load.name}: lateness p99", load.p99_late_ms, "ms", Better.LOWER, BAR_LATENESS_MS
                    )
                )
            idle_bar = None if load.sent else BAR_IDLE_SHARE
            found.append(Reading(f"{load.name}: CPU", load.relay_share, "cores", Better.LOWER, idle_bar))
            found.append(Reading(f"{load.name}: lost", load.lost, "packets", Better.LOWER))
        found += [
            Reading("a silent participant", self.silent_us, "us/tick", Better.LOWER),
            Reading("a talker", self.talker_us, "us/tick", Better.LOWER),
        ]
        return [reading for reading in found if not math.isnan(reading.value)]

    def table(self) -> ResultTable:
        """A row for each load."""
        whole = any(not math.isnan(load.worker_share) for load in self.loads)
        columns: tuple[str, ...] = (
            "lobbies x participants",
            "mixer, cores",
            "us/tick",
            "late p99 / max, ms",
            "encoded/s",
            "concealed",
            "lost",
        )
        rows = [
            (
                load.name,
                f"[bold]{load.mixer_share:.4f}",
                number(load.tick_us),
                _lateness(load),
                number(load.encoded / load.elapsed_s),
                number(load.concealed),
                number(load.lost),
                *((number(load.worker_share, 3), number(load.main_share, 3)) if whole else ()),
            )
            for load in self.loads
        ]
        columns += ("worker, cores", "Trio, cores") if whole else ()
        return ResultTable("mix: CPU of the threads, and how late ticks began", columns, rows)

    def notes(self) -> list[str]:
        """What a core carries, and who was the limit."""
        notes = []
        for highest in self.highest:
            searched = "" if math.isnan(highest.best) else f"{number(highest.best)} found by trials; "
            notes.append(
                f"{highest.what.capitalize()} of one core: {searched}{number(highest.by_cpu)} by the CPU time of the "
                "load above."
            )
            if highest.trials and not (last := [each for each in highest.trials if not each.carried]):
                notes.append(f"[yellow]{highest.what}: no trial failed[/]")
            elif highest.trials:
                notes.append(f"{highest.what.capitalize()}: {_why(last[-1])} ended the search.")
        if not math.isnan(self.talker_us):
            notes.append(
                f"Of each tick a talker takes {self.talker_us:.1f} us, a participant who says nothing "
                f"{self.silent_us:.2f} us."
            )
        notes += [
            f"{load.name}: the threads that move media take {load.relay_share:.2f} of a core, so one carries "
            f"{number(load.participants_of_a_core)} such participants; {load.sent / load.elapsed_s:,.0f} packets/s in."
            for load in self.loads
            if not math.isnan(load.worker_share)
        ]
        notes += [
            f"[yellow]{load.name}: {load.sent_late:,} of {load.sent:,} packets left over 5 ms late: the generator was "
            "disturbed, and lateness and concealment are not all the mixer's[/]"
            for load in self.loads
            if load.disturbed
        ]
        notes.append(f"{self.pinning.describe().capitalize()}. Shares are thread CPU time, of one core.")
        return notes


def _lateness(load: MixLoad) -> str:
    return "-" if math.isnan(load.p99_late_ms) else f"{load.p99_late_ms:.3f} / {load.latest_ms:.3f}"


def _why(load: MixLoad) -> str:
    size = f"{load.lobbies:,} x {load.participants:,}"
    if load.lost:
        return f"{size}: {load.lost:,} packets lost"
    if load.ticks_skipped:
        return f"{size}: {load.ticks_skipped:,} ticks skipped"
    return f"{size}: ticks {load.p99_late_ms:.1f} ms late at p99"
