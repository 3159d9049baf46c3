"""What `relay bench bots` found, and how it is told."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bench.machine import Pinning
from bench.report import number
from bench.scenario import Better, Reading, ResultTable

BAR_BOTS: Final = 100
BAR_MOUTH_P95_MS: Final = 60.0
BAR_CLEAR_MS: Final = 25.0  # a tick, and 5 ms for two processes and a WebSocket
BAR_CLEAR_ERROR_MS: Final = 20.0
BAR_DISPATCH_P99_MS: Final = 20.0
BUSY_SHARE: Final = 0.9
DISTURBED_SHARE: Final = 0.005
NAN: Final = math.nan


@dataclass(frozen=True)
class Spread:
    """Percentiles of a quantity, by nearest rank; NaN of nothing."""

    count: int
    p50: float
    p95: float
    p99: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of these."""
        if not values:
            return cls(0, NAN, NAN, NAN, NAN)
        ordered = sorted(values)

        def at(percent: float) -> float:
            return float(ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)])

        return cls(len(ordered), at(50), at(95), at(99), float(ordered[-1]))


@dataclass(frozen=True)
class BotsCost:
    """Many bots that hear and speak at once. Shares are of one core."""

    bots: int
    elapsed_s: float
    relay_share: float
    main_share: float  # the relay's Trio thread: WebSockets, samples in and out of the mixer
    mixer_share: float
    client_share: float
    frames: int
    expected: int
    gaps: int
    silent: int
    dropped: int
    late_ms: Spread
    memory_bytes: int

    @property
    def per_core(self) -> float:
        """Bots that a core would carry at that price."""
        return self.bots / self.relay_share if self.relay_share else NAN


@dataclass(frozen=True)
class BotsResult:
    """Everything about one call. *Units*: milliseconds."""

    options: dict[str, Any]
    pinning: Pinning
    cost: BotsCost | None
    mouth_to_bot_ms: Spread
    bot_to_ear_ms: Spread
    clear_ms: Spread
    clear_reply_ms: Spread
    clear_error_ms: Spread  # without its sign
    dispatch_ms: Spread
    dispatch_without_start_ms: Spread
    own_start_ms: Spread
    to_offer_ms: Spread
    to_sound_ms: Spread
    missed: int
    packets: int  # of the persons
    packets_late: int  # of them, sent more than 5 ms late
    dispatches_failed: int
    all_ms: dict[str, list[float]] = field(repr=False)
    scenario: str = "bots"

    def readings(self) -> list[Reading]:
        """Delays, and what a bot costs."""
        lower = Better.LOWER
        found = [
            Reading("mouth to bot: p50", self.mouth_to_bot_ms.p50, "ms", lower),
            Reading("mouth to bot: p95", self.mouth_to_bot_ms.p95, "ms", lower, BAR_MOUTH_P95_MS),
            Reading("bot to ear: p50", self.bot_to_ear_ms.p50, "ms", lower),
            Reading("bot to ear: p95", self.bot_to_ear_ms.p95, "ms", lower),
            Reading("clear to silence: most", self.clear_ms.most, "ms", lower, BAR_CLEAR_MS),
            Reading("clear: off by at most", self.clear_error_ms.most, "ms", lower, BAR_CLEAR_ERROR_MS),
            Reading("clicks not heard", self.missed, "", lower, 0),
            Reading("dispatch: p50", self.dispatch_ms.p50, "ms", lower),
            Reading("dispatch: p99", self.dispatch_ms.p99, "ms", lower),
            Reading(
                "dispatch without the bot's own start: p99",
                self.dispatch_without_start_ms.p99,
                "ms",
                lower,
                BAR_DISPATCH_P99_MS,
            ),
            Reading("dispatches failed", self.dispatches_failed, "", lower, 0),
        ]
        if self.cost is not None:
            found += [
                Reading("bots of a core", self.cost.per_core, "", Better.HIGHER, BAR_BOTS),
                Reading("relay CPU", self.cost.relay_share, "cores", lower),
                Reading("frames missed", max(0, self.cost.expected - self.cost.frames), "", lower),
                Reading("frames lost at the relay", self.cost.gaps, "", lower),
            ]
        return [reading for reading in found if not math.isnan(reading.value)]

    def table(self) -> ResultTable:
        """A row for each delay."""
        rows = [
            _row("[bold]mouth to bot", self.mouth_to_bot_ms),
            _row("[bold]bot to ear", self.bot_to_ear_ms),
            _row("[bold]clear, to the last loud packet", self.clear_ms),
            _row("  until `clear` returned", self.clear_reply_ms),
            _row("  what it returned, off by", self.clear_error_ms),
            _row("[bold]dispatch, to the first frame", self.dispatch_ms),
            _row("  without the bot's own start", self.dispatch_without_start_ms),
            _row("  request to offer", self.to_offer_ms),
            _row("  the bot's own start: connect, join", self.own_start_ms),
            _row("  joined to the first frame", self.to_sound_ms),
        ]
        if self.cost is not None:
            rows.append(_row(f"frames late, of {self.cost.bots} bots", self.cost.late_ms))
        columns = ("ms", "p50", "p95", "p99", "max", "of")
        return ResultTable("bots: over WebSockets, 16 kHz in, 24 kHz out", columns, rows)

    def notes(self) -> list[str]:
        """What bots cost, who was the limit, and what the delays include."""
        notes = []
        cost = self.cost
        if cost is not None:
            notes.append(
                f"[bold]{cost.bots} bots that hear and speak[/]: relay {cost.relay_share:.2f} of a core (Trio thread "
                f"{cost.main_share:.2f}, mixer {cost.mixer_share:.2f}), so {number(cost.per_core)} a core; "
                f"{cost.frames:,} of {cost.expected:,} frames came, {cost.gaps:,} gaps; clients {cost.client_share:.2f} of a core."
            )
            if cost.client_share > BUSY_SHARE:
                notes.append(
                    "[bold red]the generator was busy all the time: frames that came late are its own, not the relay's[/]"
                )
        if self.packets_late > DISTURBED_SHARE * self.packets:
            notes.append(
                f"[yellow]{self.packets_late:,} of {self.packets:,} packets of the persons left over 5 ms late: the generator "
                "was disturbed, and the relay's jitter buffers have waited for it[/]"
            )
        if self.missed:
            notes.append(f"[yellow]{self.missed} clicks or silences did not arrive in time to be measured[/]")
        if self.dispatches_failed:
            notes.append(f"[yellow]{self.dispatches_failed} bots that were asked for heard nothing[/]")
        notes.append(
            "Mouth to bot: from sending a packet that begins with a click until the bot's code has the frame with it: "
            "jitter buffer, mixer, WebSocket, this client. Bot to ear: from the call of play() until the packet with the "
            "click has been decrypted: two WebSocket messages, a tick, limiter, encoder. Neither sender's nor listener's "
            "own buffers are in it. Dispatch: from the HTTP request until the bot's code has a frame."
        )
        notes.append(f"{self.pinning.describe().capitalize()}.")
        return notes


def _row(name: str, spread: Spread) -> tuple[str, ...]:
    return (
        name,
        *(number(value, 1) for value in (spread.p50, spread.p95, spread.p99, spread.most)),
        number(spread.count),
    )
