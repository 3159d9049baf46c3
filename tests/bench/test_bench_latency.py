"""`relay bench latency` against the real relay: the distribution, and the same with a busy Trio thread."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.__main__ import app
from bench.command import EXIT_USAGE

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 400  # a cold kernel cache takes minutes


def test_latency_is_told_with_and_without_a_busy_trio_thread(tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "bench", "latency", "--publishers", "3", "--subscribers", "4"),
            *("--rate", "100", "--duration", "1", "--ramp", "0.2", "--no-spin", "--busy-trio"),
            *("--json", str(tmp_path / "result.json"), "--plot", str(tmp_path / "plot.png")),
        ],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    quiet, busy = result["details"]["runs"]
    assert quiet["counts"]["sent"] == busy["counts"]["sent"] == 300
    assert quiet["counts"]["lost"] == 0
    assert quiet["rate_per_publisher"] == busy["rate_per_publisher"] == 100
    idle_thread, busy_thread = result["details"]["trio"]
    assert busy_thread["answers"] > idle_thread["answers"] == 0
    assert busy_thread["busy_share"] > idle_thread["busy_share"]
    readings = {reading["name"]: reading for reading in result["readings"]}
    assert readings["run: latency p50"]["value"] == quiet["latency"]["p50_ns"] / 1e6
    ratio = busy["latency"]["p99_ns"] / quiet["latency"]["p99_ns"]
    assert readings["same, Trio busy: p99 to p99 without"]["value"] == pytest.approx(ratio)
    assert readings["same, Trio busy: p99 to p99 without"]["bar"] == 2
    assert readings["run: latency p99"]["bar"] is None  # neither searched nor a fan-out of 50
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert "Trio thread, cores" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--load", "2"], "--load is 2; it must be between 0.01 and 1"),
        (["--rate", "0"], "--rate is 0"),
        (["--profile", "aes"], "it must be gcm or cm"),
        (["--url", "ws://192.0.2.1:8080/ws"], "another machine"),
    ],
)
def test_latency_refuses_what_it_cannot_do(arguments, told):
    result = CliRunner().invoke(app, ["latency", *arguments])
    assert result.exit_code == EXIT_USAGE
    assert told in result.output
