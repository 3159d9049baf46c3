"""`relay bench idle` against the real relay."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.idle_options import IdleOptions

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 400  # a cold kernel cache takes minutes


def test_idle_peers_are_kept_and_answered(tmp_path):
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "bench",
                "idle",
                "--peers",
                "12",
                "--lobby-size",
                "4",
                "--consent",
                "0.3",
            ),
            *("--duration", "2", "--json", str(tmp_path / "result.json")),
        ],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((tmp_path / "result.json").read_text())
    details = record["details"]
    assert details["connected"] == 12
    assert details["answered"] > 12
    assert details["answered"] > 10 * details["unanswered"]
    assert details["reports"] > 0
    assert details["closed"] == 0
    assert details["relay_share"] > 0
    assert details["full_bytes"] > 0
    bars = {reading["name"]: reading["bar"] for reading in record["readings"]}
    assert bars["relay CPU"] == pytest.approx(0.2 * 12 / 5000)
    assert "consent checks/s" in done.stdout


@pytest.mark.parametrize(
    ("option", "options"),
    [("--peers", {"peers": 0}), ("--consent", {"consent_s": 60}), ("--duration", {"duration_s": 0})],
)
def test_impossible_options_are_named(option, options):
    with pytest.raises(BenchError, match=option):
        IdleOptions(**options)
