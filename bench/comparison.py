"""Two result files side by side: which readings changed, which way, and whether the two may be compared at all."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from bench.errors import BenchError
from bench.report import number
from bench.scenario import SCHEMA, Better, ResultTable

MACHINE_FIELDS: Final = ("cpu", "cores", "kernel", "python", "numba", "numpy")
"""Of the machine's description, what two comparable files share. The commit is what one compares."""

IGNORED_OPTIONS: Final = ("url",)


class Trend(Enum):
    """What became of a reading, with the markup it is shown in."""

    BETTER = ("better", "green")
    WORSE = ("worse", "bold red")
    SAME = ("", "dim")
    UNKNOWN = ("only in one", "yellow")

    def __init__(self, word: str, style: str) -> None:
        self.word = word
        self.style = style


@dataclass(frozen=True)
class Change:
    """One reading in both files; NaN where a file does not have it."""

    name: str
    unit: str
    before: float
    after: float
    percent: float  # infinite when it was 0
    trend: Trend


@dataclass(frozen=True)
class Comparison:
    """All changes between two files, and what speaks against comparing them."""

    changes: tuple[Change, ...]
    warnings: tuple[str, ...]
    commits: tuple[str, str]

    def worse_by(self, percent: float) -> list[Change]:
        """Return the readings that are worse by more than this."""
        return [
            change for change in self.changes if change.trend is Trend.WORSE and abs(change.percent) > percent
        ]

    def table(self) -> ResultTable:
        """A row for each reading."""
        before, after = self.commits
        rows = [
            (
                f"{change.name}, {change.unit}" if change.unit else change.name,
                _cell(change.before),
                _cell(change.after),
                "-" if math.isnan(change.percent) else f"{change.percent:+.1f} %",
                f"[{change.trend.style}]{change.trend.word}[/]",
            )
            for change in self.changes
        ]
        return ResultTable("comparison", ("", f"A ({before})", f"B ({after})", "change", ""), rows)


def read_result(path: Path) -> dict[str, Any]:
    """Read a file that `--json` wrote.

    Raises: BenchError when it is none.
    """
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BenchError(f"{path} cannot be read: {error}") from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise BenchError(f"{path} is no result file of this version of `relay bench` ({SCHEMA})")
    return record


def compare_results(before: Mapping[str, Any], after: Mapping[str, Any], noise_percent: float) -> Comparison:
    """Compare two records; changes of at most `noise_percent` count as none."""
    left = {reading["name"]: reading for reading in before["readings"]}
    right = {reading["name"]: reading for reading in after["readings"]}
    changes = [_change(left.get(name), right.get(name), noise_percent) for name in left | right]
    return Comparison(
        changes=tuple(changes),
        warnings=tuple(_differences(before, after)),
        commits=(before["machine"]["commit"], after["machine"]["commit"]),
    )


def _change(left: Mapping[str, Any] | None, right: Mapping[str, Any] | None, noise_percent: float) -> Change:
    either = left or right
    assert either is not None
    before, after = _value(left), _value(right)
    percent = _percent(before, after)
    if math.isnan(percent):
        trend = Trend.UNKNOWN
    elif abs(percent) <= noise_percent:
        trend = Trend.SAME
    else:
        up_is_good = Better(either["better"]) is Better.HIGHER
        trend = Trend.BETTER if (percent > 0) is up_is_good else Trend.WORSE
    return Change(either["name"], either["unit"], before, after, percent, trend)


def _value(reading: Mapping[str, Any] | None) -> float:
    return math.nan if reading is None or reading["value"] is None else float(reading["value"])


def _percent(before: float, after: float) -> float:
    if before == after:
        return 0.0
    if before == 0:
        return math.copysign(math.inf, after)
    return (after - before) / abs(before) * 100


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    if before["scenario"] != after["scenario"]:
        return [f"these are different scenarios: {before['scenario']} and {after['scenario']}"]
    options = [name for name in before["options"] | after["options"] if name not in IGNORED_OPTIONS]
    return [
        *_differing("different machines", before["machine"], after["machine"], MACHINE_FIELDS),
        *_differing("different options", before["options"], after["options"], options),
    ]


def _differing(
    what: str, before: Mapping[str, Any], after: Mapping[str, Any], names: Sequence[str]
) -> list[str]:
    return [
        f"{what}: {name} is {before.get(name)} in A and {after.get(name)} in B"
        for name in names
        if before.get(name) != after.get(name)
    ]


def _cell(value: float) -> str:
    """Four digits that count, whatever the size."""
    if math.isnan(value) or value == 0:
        return number(value)
    return number(value, max(0, min(6, 3 - math.floor(math.log10(abs(value))))))
