"""Progress on the terminal: one bar for each phase. It is drawn at most once a second while packets are measured."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Phase(Protocol):
    """What a phase reports with."""

    def __call__(self, completed: float, told: str = "") -> None:
        """Say how far it is, and something to read beside the bar."""


class ProgressBars:
    """Bars of one command. A context manager; on something other than a terminal only the last state is printed."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[told]}"),
            TimeElapsedColumn(),
            console=console,
            auto_refresh=False,  # its thread would wake ten times a second on a core that is being measured
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    @contextmanager
    def phase(self, description: str, total: float) -> Iterator[Phase]:
        """Show a bar for one phase, full when the scope is left in order."""
        task: TaskID = self._progress.add_task(description, total=total, told="")
        self._progress.refresh()

        def report(completed: float, told: str = "") -> None:
            self._progress.update(task, completed=completed, told=told)
            self._progress.refresh()

        yield report
        self._progress.update(task, completed=total)
        self._progress.refresh()
