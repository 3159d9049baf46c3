"""What a check of the doctor's says: one line, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """From best to worst."""

    OK = "ok"
    #: It runs, and something is slower, smaller or less safe than it should be.
    WARN = "warn"
    #: It does not run, or loses what it should keep.
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """See the module. ``advice`` is empty when all is well."""

    check: str
    level: Level
    text: str
    advice: str = ""

    def line(self) -> str:
        """Return it as people read it."""
        advice = f": {self.advice}" if self.advice else ""
        return f"{self.level.value:<4}  {self.check}: {self.text}{advice}"


def ok(check: str, text: str) -> Finding:
    """All is well."""
    return Finding(check, Level.OK, text)


def warn(check: str, text: str, advice: str) -> Finding:
    """It runs, but not as it should."""
    return Finding(check, Level.WARN, text, advice)


def fail(check: str, text: str, advice: str) -> Finding:
    """It cannot run so."""
    return Finding(check, Level.FAIL, text, advice)
