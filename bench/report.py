"""A record on a terminal: one table, and below it what a reader should know before quoting a figure from it."""

import math

from rich.console import Console
from rich.table import Table

from bench.scenario import Reading, Record, ResultTable


def print_record(console: Console, record: Record) -> None:
    """Print the table, its notes, and the machine."""
    console.print(to_rich(record.result.table()))
    machine = record.machine
    where = (
        f"{machine.cpu}, {machine.cores} cores, {machine.kernel}, {machine.python}, numba {machine.numba}, "
        f"commit {machine.commit}."
    )
    for note in (*record.result.notes(), where):
        console.print(note, highlight=False)


def to_rich(table: ResultTable) -> Table:
    """Return the table as rich draws it: words to the left, numbers to the right."""
    drawn = Table(title=table.title, title_justify="left", show_lines=False)
    for index, column in enumerate(table.columns):
        drawn.add_column(column, justify="left" if index < table.names else "right")
    for row in table.rows:
        drawn.add_row(*row)
    return drawn


def ms(value_ns: float) -> str:
    """Nanoseconds as a cell of milliseconds."""
    return "-" if math.isnan(value_ns) else f"{value_ns / 1e6:.3f}"


def number(value: float, digits: int = 0) -> str:
    """A number as a cell; "-" when it was not measured."""
    return "-" if math.isnan(value) else f"{value:,.{digits}f}"


def verdict_line(reading: Reading) -> str:
    """Return a line of a reading that has a bar: held or not, the value, the bar."""
    assert reading.bar is not None
    style, word = ("green", "held") if reading.met else ("bold red", "not held")
    digits = 0 if float(reading.value).is_integer() else 1
    unit = f" {reading.unit}" if reading.unit else ""
    return f"[{style}]{word}: {reading.name} {number(reading.value, digits)}{unit} (bar: {reading.bar:g}{unit})[/]"
