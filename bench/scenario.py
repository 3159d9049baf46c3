"""What every scenario of the benchmark has in common: a name, readings, a table, notes; and the file they go into.

A scenario is an options dataclass and an `async def run_<scenario>(options, progress)` that returns its result. The
result says of itself what is told here, so that one path prints, writes, compares and sums up all of them.
"""

import datetime as dt
import json
import math
import shlex
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from bench.machine import Machine
from bench.progress import ProgressBars

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA: Final = "trio-relay/bench/2"


class Better(Enum):
    """Which direction of a reading is good."""

    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True)
class Reading:
    """One number that is worth comparing between two runs, and the bar it is held against, if there is one."""

    name: str  # the same in every run of the same options
    value: float  # NaN: not measured
    unit: str
    better: Better
    bar: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None without a bar or a value."""
        if self.bar is None or math.isnan(self.value):
            return None
        return self.value >= self.bar if self.better is Better.HIGHER else self.value <= self.bar


@dataclass(frozen=True)
class ResultTable:
    """What is printed: a title, a column for each run or case, a row for each quantity. Cells may use rich's markup."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    names: int = 1  # how many columns, from the left, are words rather than numbers


class ScenarioResult(Protocol):
    """What a scenario returns: a frozen dataclass, all of whose fields go into the file."""

    @property
    def scenario(self) -> str:
        """Name of the command."""

    @property
    def options(self) -> Mapping[str, Any]:
        """What was asked for, as the file has it."""

    def readings(self) -> Sequence[Reading]:
        """Return the numbers that `compare` and `all` look at."""

    def table(self) -> ResultTable:
        """Return the table for the terminal."""

    def notes(self) -> Sequence[str]:
        """Return what a reader should know before quoting a number: above all, who was the limit."""


@runtime_checkable
class PlottedResult(Protocol):
    """A result that can be drawn."""

    def plot(self, figure: "Figure") -> None:
        """Draw into an empty figure; its title is set by the caller."""


@runtime_checkable
class CheckedResult(Protocol):
    """A result that can mean that the relay failed: the command then ends with status 1."""

    def failure(self) -> str | None:
        """Say what was not as it must be; None when all was."""


ScenarioRun = Callable[[ProgressBars], Awaitable[ScenarioResult]]
"""A scenario whose options are known: `functools.partial(run_forward, options)`."""


def command_line(arguments: list[str]) -> str:
    """What to type to do the same again: `python -m bench x` and `relay bench x` are one command."""
    scenario = arguments[1:] if arguments[:1] == ["bench"] else arguments
    return shlex.join(["relay", "bench", *scenario])


@dataclass(frozen=True)
class Record:
    """A result with where, when and how it was measured."""

    result: ScenarioResult
    machine: Machine
    created: str = field(default_factory=lambda: dt.datetime.now(dt.UTC).isoformat(timespec="seconds"))
    command: str = field(default_factory=lambda: command_line(sys.argv[1:]))

    def to_json(self) -> dict[str, Any]:
        """Return what the file holds."""
        assert is_dataclass(self.result)
        details = asdict(self.result)
        return {
            "schema": SCHEMA,
            "scenario": self.result.scenario,
            "created": self.created,
            "command": self.command,
            "machine": plain(asdict(self.machine)),
            "options": plain(details.pop("options")),
            "readings": [plain(asdict(reading)) for reading in self.result.readings()],
            "details": plain(details),
        }

    def write(self, path: Path) -> None:
        """Write the record as a JSON file."""
        path.write_text(json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """Turn what `asdict` leaves into what JSON has; what is not a number becomes null."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
