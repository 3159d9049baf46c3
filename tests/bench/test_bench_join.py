"""`relay bench join` against the real relay, and what its figures are made of."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.join_options import JoinOptions
from bench.join_result import spread_of
from bench.joiner import Attempt, is_rtp
from bench.peer import Milestone

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 400  # a cold kernel cache takes minutes


def test_joins_at_a_rate_and_in_a_storm_are_timed_step_by_step(tmp_path):
    command = [sys.executable, "-m", "bench", "join", "--rate", "20", "--joins", "8", "--storm", "12"]
    done = subprocess.run(
        [
            *command,
            *("--lobbies", "2", "--background", "3", "--packet-rate", "50", "--quiet", "0.5"),
            *("--json", str(tmp_path / "result.json"), "--plot", str(tmp_path / "plot.png")),
        ],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((tmp_path / "result.json").read_text())
    quiet, rated, storm = record["details"]["arrivals"]
    assert quiet["joined"] == 0
    assert quiet["background"]["delivered"] > 0
    assert (rated["joined"], storm["joined"]) == (8, 12)
    for group in (rated, storm):
        assert group["failures"] == {}
        assert group["relay_cpu_ns_per_join"] > 0
        for spread in (group["total"], *group["phases"].values()):
            assert 0 < spread["p50_ns"] <= spread["p90_ns"] <= spread["p99_ns"] <= spread["max_ns"]
        assert max(each["max_ns"] for each in group["phases"].values()) <= group["total"]["max_ns"]
    assert record["details"]["background_lost"] == 0
    assert record["details"]["background_expected"] > 0
    assert {"20 joins/s: p50", "storm: background p99, against quiet"} <= {
        reading["name"] for reading in record["readings"]
    }
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert "first packet" in done.stdout


def test_phases_add_up_to_the_whole():
    attempt = Attempt(began_ns=100)
    for at, milestone in enumerate(Milestone, start=1):
        attempt.reached_ns[milestone] = 100 + at * at
    assert [attempt.phase_ns(milestone) for milestone in Milestone] == [1, 3, 5, 7, 9, 11]
    assert attempt.total_ns == 36


def test_percentiles_are_values_that_occurred():
    spread = spread_of(range(1, 101))
    assert (spread.p50_ns, spread.p90_ns, spread.p99_ns, spread.max_ns) == (50, 90, 99, 100)


@pytest.mark.parametrize(
    ("first", "second", "media"),
    [
        (0x80, 111, True),
        (0x90, 0x80 | 96, True),
        (0x81, 201, False),
        (0x80, 200, False),
        (0x16, 0xFE, False),
        (0x00, 0x01, False),
    ],
)
def test_media_is_told_from_everything_else(first, second, media):
    assert is_rtp(bytes((first, second)) + bytes(20)) is media


@pytest.mark.parametrize(
    ("option", "options"), [("--rate", {"rate": 0}), ("--joins", {"joins": 0}), ("--lobbies", {"lobbies": 0})]
)
def test_impossible_options_are_named(option, options):
    with pytest.raises(BenchError, match=option):
        JoinOptions(**options)
