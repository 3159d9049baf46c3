"""`relay bench churn` and `soak` against the real relay, and what they call growth."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.background import Window
from bench.churn_result import ChurnResult
from bench.occupancy import MEMORY_ALLOWANCE_BYTES, Occupancy, grown_between, read_occupancy
from bench.result import Latency
from bench.soak_result import Sample, SoakResult
from bench.trend import trend_of

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 400  # a cold kernel cache takes minutes
EMPTY = Occupancy(3, 1, {"peer": 3, "outbound": 2}, 30, 4, 200 << 20)


def _bench(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        cwd=ROOT,
        check=False,
    )


def test_visitors_leave_nothing_behind(tmp_path):
    done = _bench(
        *("churn", "--duration", "3", "--rate", "8", "--stay", "0.3", "--lobbies", "2", "--background", "2"),
        *("--seed", "5", "--json", str(tmp_path / "result.json")),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing has grown." in done.stdout
    details = json.loads((tmp_path / "result.json").read_text())["details"]
    assert sum(details["left"].values()) > 5
    assert len(details["left"]) > 2
    assert details["failures"] == {}
    assert details["background_lost"] == 0
    assert details["background_expected"] > 0
    assert details["after"]["peers"] == details["before"]["peers"] == 5
    assert details["after"]["rows"] == details["before"]["rows"]


def test_a_soak_samples_and_draws(tmp_path):
    done = _bench(
        *("soak", "--duration", "4", "--rate", "5", "--stay", "0.3", "--lobbies", "1", "--background", "2"),
        *("--json", str(tmp_path / "result.json"), "--plot", str(tmp_path / "plot.png")),
    )
    record = json.loads((tmp_path / "result.json").read_text())
    assert "slope per hour" in done.stdout, done.stdout + done.stderr
    samples = record["details"]["samples"]
    assert len(samples) > 5
    assert all(sample["held"]["resident_bytes"] > 0 for sample in samples)
    assert record["details"]["churn"]["background_lost"] == 0
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_what_grows_is_named():
    later = replace(EMPTY, rows={"peer": 3, "outbound": 3}, descriptors=31)
    assert grown_between(EMPTY, later) == {"outbound rows": (2, 3), "descriptors": (30, 31)}
    assert grown_between(later, EMPTY) == {}


def test_memory_may_grow_a_little():
    little = replace(EMPTY, resident_bytes=EMPTY.resident_bytes + MEMORY_ALLOWANCE_BYTES)
    much = replace(EMPTY, resident_bytes=EMPTY.resident_bytes + MEMORY_ALLOWANCE_BYTES + 1)
    assert grown_between(EMPTY, little) == {}
    assert list(grown_between(EMPTY, much)) == ["resident_bytes"]


def test_rows_of_all_workers_count():
    worker = {"rows": {"peer": 2, "track": 1}}
    info = {
        "relay": {"peers": 4, "tracks": 2, "workers": [worker, worker]},
        "process": {"descriptors": 9, "threads": 3, "resident_bytes": 5},
    }
    assert read_occupancy(info) == Occupancy(4, 2, {"peer": 4, "track": 2}, 9, 3, 5)


def _churn(**changes):
    window = Window("churn", 10, Latency(*[1.0] * 6), 10, 0)
    result = ChurnResult({}, {"in order": 2}, {}, EMPTY, EMPTY, window, 0, 100)
    return replace(result, **changes)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"after": replace(EMPTY, threads=5)}, "threads grew from 4 to 5"),
        ({"background_lost": 1}, "the background lost 1 of 100 packets"),
        ({"failures": {"no reply": 2}}, "2 visits failed: no reply"),
    ],
)
def test_a_failure_says_what_it_was(changes, told):
    assert _churn().failure() is None
    assert told in _churn(**changes).failure()


def test_a_trend_finds_the_slope_and_leaves_the_warm_up_out():
    at_s = list(range(100))
    values = [1000.0 * (20 - at) if at < 20 else 50 + at * 2 + (-1) ** at for at in at_s]
    trend = trend_of(at_s, values)
    assert trend.per_hour == pytest.approx(7200, rel=0.01)
    assert trend.growth == pytest.approx(2 * 79, rel=0.01)
    assert trend.rises_by(100)
    assert not trend.rises_by(1000)


def test_scatter_is_no_trend_and_too_few_samples_are_none():
    noise = [100.0 + (37 * at % 11) for at in range(50)]
    assert not trend_of(list(range(50)), noise).rises_by(0)
    few = trend_of([1, 2, 3], [1, 2, 3])
    assert math.isnan(few.per_hour)
    assert not few.rises_by(0)


def _soak(rows_at):
    samples = [
        Sample(at, replace(EMPTY, rows={"peer": rows_at(at)}), 1e6 if at % 7 else math.nan)
        for at in range(60)
    ]
    return SoakResult({"rate": 1.0, "duration_s": 60.0, "stay_s": 1.0}, _churn(options={}), tuple(samples))


def test_a_soak_says_what_rises():
    assert _soak(lambda at: 20 + at % 3).failure() is None
    leaking = _soak(lambda at: 20 + 3 * at)
    assert leaking.rising() == ["table rows"]
    assert "table rows rises by 10,800.0 an hour" in leaking.failure()
    assert any("rises" in cell for row in leaking.table().rows for cell in row)
