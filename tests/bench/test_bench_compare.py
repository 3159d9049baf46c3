"""`relay bench compare` on result files: what changed, which way, and what speaks against comparing."""

import json
from dataclasses import dataclass, field

import pytest
from typer.testing import CliRunner

from bench.__main__ import app
from bench.command import EXIT_FAILED, EXIT_USAGE
from bench.comparison import Trend, compare_results
from bench.machine import describe_machine
from bench.scenario import SCHEMA, Better, Reading, Record, ResultTable

MACHINE = describe_machine()


def _record(*readings, scenario="forward", options=None, **machine):
    return {
        "schema": SCHEMA,
        "scenario": scenario,
        "machine": {"cpu": "x", "cores": 2, "commit": "abc"} | machine,
        "options": {"size": 120} | (options or {}),
        "readings": [
            {"name": name, "value": value, "unit": "ms", "better": better, "bar": None}
            for name, value, better in readings
        ],
    }


@pytest.fixture
def files(tmp_path):
    def write(*records):
        paths = [tmp_path / f"{index}.json" for index in range(len(records))]
        for path, record in zip(paths, records, strict=True):
            path.write_text(json.dumps(record))
        return [str(path) for path in paths]

    return write


@pytest.mark.parametrize(
    ("before", "after", "better", "percent", "trend"),
    [
        (100, 120, "higher", 20, Trend.BETTER),
        (100, 80, "higher", -20, Trend.WORSE),
        (100, 120, "lower", 20, Trend.WORSE),
        (100, 80, "lower", -20, Trend.BETTER),
        (100, 105, "lower", 5, Trend.SAME),
        (100, 94.9, "higher", -5.1, Trend.WORSE),
        (0, 0, "lower", 0, Trend.SAME),
        (0, 3, "lower", float("inf"), Trend.WORSE),
        (3, 0, "lower", -100, Trend.BETTER),
    ],
)
def test_a_change_has_a_size_and_a_direction(before, after, better, percent, trend):
    comparison = compare_results(_record(("p99", before, better)), _record(("p99", after, better)), 5)
    (change,) = comparison.changes
    assert change.percent == pytest.approx(percent)
    assert change.trend is trend
    assert bool(comparison.worse_by(10)) is (trend is Trend.WORSE and abs(percent) > 10)


@pytest.mark.parametrize("missing", [[], [("p99", None, "lower")]])
def test_what_only_one_file_has_is_shown_and_not_judged(missing):
    comparison = compare_results(_record(("p99", 1, "lower")), _record(*missing), 5)
    assert [change.trend for change in comparison.changes] == [Trend.UNKNOWN]
    assert not comparison.worse_by(0)


def test_what_differs_is_warned_of():
    before = _record(("p99", 1, "lower"))
    assert compare_results(before, _record(("p99", 1, "lower"), commit="def"), 5).warnings == ()
    other = _record(("p99", 1, "lower"), cpu="y", options={"size": 99, "burst": 3})
    assert compare_results(before, other, 5).warnings == (
        "different machines: cpu is x in A and y in B",
        "different options: size is 120 in A and 99 in B",
        "different options: burst is None in A and 3 in B",
    )
    (warning,) = compare_results(before, _record(scenario="join"), 5).warnings
    assert "different scenarios: forward and join" in warning


def test_the_command_shows_the_table_and_fails_on_request(files):
    paths = files(_record(("p99", 2, "lower")), _record(("p99", 2.3, "lower"), cpu="y"))
    told = CliRunner().invoke(app, ["compare", *paths])
    assert told.exit_code == 0, told.output
    for text in ("p99, ms", "2.000", "2.300", "+15.0 %", "worse", "cpu is x in A and y in B"):
        assert text in told.output
    assert CliRunner().invoke(app, ["compare", *paths, "--fail-above", "15.1"]).exit_code == 0
    failed = CliRunner().invoke(app, ["compare", *paths, "--fail-above", "10"])
    assert failed.exit_code == EXIT_FAILED
    assert "worse by more than 10 %: p99" in failed.output
    assert CliRunner().invoke(app, ["compare", *paths[::-1], "--fail-above", "10"]).exit_code == 0


@pytest.mark.parametrize(
    "text", ["no json", "[]", "{}", json.dumps({"schema": "trio-relay/bench-forward/1"})]
)
def test_what_is_no_result_file_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    told = CliRunner().invoke(app, ["compare", str(tmp_path / "a.json"), str(tmp_path / "missing.json")])
    assert told.exit_code == EXIT_USAGE
    assert "a.json" in told.output


def test_files_that_are_written_can_be_compared(tmp_path):

    @dataclass
    class Result:
        value: float
        options: dict = field(default_factory=dict)
        scenario: str = "test"

        def readings(self):
            return [Reading("speed", self.value, "m/s", Better.HIGHER)]

        def table(self):
            return ResultTable("", ("",), ())

        def notes(self):
            return []

    for name, value in (("a.json", 10.0), ("b.json", 5.0)):
        Record(Result(value), MACHINE).write(tmp_path / name)
    told = CliRunner().invoke(app, ["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")])
    assert "-50.0 %" in told.output
