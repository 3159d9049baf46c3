"""`relay bench forward` against the real relay, over real sockets, as a person runs it."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import trio
from rich.console import Console

from bench import runs
from bench.errors import BenchError
from bench.forward import run_forward
from bench.forward_options import ForwardOptions
from bench.options import RelayOptions
from bench.process import sample_process
from bench.progress import ProgressBars
from bench.server import open_relay_server
from signaling.server import run_server
from signaling.settings import load_settings

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 400  # a cold kernel cache takes minutes


def _command(*arguments):
    return [sys.executable, "-m", "bench", "forward", *arguments]


def _bench(*arguments):
    return subprocess.run(
        _command(*arguments), capture_output=True, text=True, timeout=TIMEOUT_S, cwd=ROOT, check=False
    )


def _children(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def _is_measuring(pid):
    """The relay has been started, and the loop's thread runs."""
    with suppress(FileNotFoundError, ProcessLookupError):
        threads = [(task / "comm").read_text().strip() for task in Path(f"/proc/{pid}/task").iterdir()]
        return bool(_children(pid)) and "bench loop" in threads
    return False


@pytest.mark.parametrize(("kind", "profile"), [("audio", "gcm"), ("video", "cm")])
def test_a_short_run_loses_nothing_and_writes_its_results(tmp_path, kind, profile):
    done = _bench(
        *("--publishers", "2", "--subscribers", "4", "--rate", "100", "--duration", "1", "--ramp", "0.5"),
        *("--kind", kind, "--profile", profile, "--no-spin"),
        *("--json", str(tmp_path / "result.json"), "--plot", str(tmp_path / "plot.png")),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    (run,) = result["details"]["runs"]
    assert run["counts"]["sent"] == 200
    assert run["counts"]["expected"] == run["counts"]["delivered"] == 800
    for nothing in ("lost", "duplicated", "reordered", "corrupt", "unprotect_failed"):
        assert run["counts"][nothing] == 0
    assert 0 < run["latency"]["p50_ns"] <= run["latency"]["p999_ns"] <= run["latency"]["max_ns"] * 1.01
    assert run["server"]["cpu_ns_per_packet"] > 0
    assert run["server"]["rss_bytes"] > 0
    assert run["server"]["verdicts"]["route_sent"] == 1000
    assert result["options"]["kind"] == kind
    assert result["details"]["peers"] == 6
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert "delivered, packets/s" in done.stdout


def test_a_preset_in_bursts_loses_nothing_and_says_what_it_mirrors(tmp_path):
    done = _bench(
        *("--preset", "srs-video", "--scale", "0.002", "--duration", "1", "--ramp", "0.2", "--no-spin"),
        *("--json", str(tmp_path / "result.json")),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    (run,) = result["details"]["runs"]
    assert run["counts"]["sent"] == 75
    assert run["counts"]["delivered"] == run["counts"]["expected"] == 75 * 4
    assert (result["options"]["preset"], result["options"]["burst"]) == ("srs-video", 3)
    assert "4 of 2,000 subscribers" in " ".join(done.stdout.split())


def test_a_search_finds_a_rate_and_runs_at_a_part_of_it(tmp_path):
    done = _bench(
        # Not far below what a machine carries: each trial costs a second.
        *(
            "--publishers",
            "1",
            "--subscribers",
            "2",
            "--duration",
            "0.25",
            "--ramp",
            "0.1",
            "--rate",
            "40000",
        ),
        *("--search", "--load", "0.25", "--max-latency", "10000", "--json", str(tmp_path / "result.json")),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    best, part = result["details"]["runs"]
    assert part["rate_per_publisher"] == pytest.approx(best["rate_per_publisher"] / 4)
    # Whether the last run at the best rate loses anything is the machine's affair, not this test's.
    assert any(trial["good"] for trial in result["details"]["trials"])


@pytest.fixture
def long_run():
    """A run that is sending and receiving."""
    process = subprocess.Popen(
        _command("--publishers", "1", "--subscribers", "2", "--duration", "3600", "--ramp", "0", "--no-pin"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=ROOT,
        text=True,
    )
    try:
        deadline_s = time.monotonic() + TIMEOUT_S
        while not _is_measuring(process.pid):
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
            assert process.returncode is None, process.stdout.read()
            assert time.monotonic() < deadline_s
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing_behind(long_run, number):
    (child,) = _children(long_run.pid)
    long_run.send_signal(number)
    told = long_run.communicate(timeout=60)[0]
    assert long_run.returncode == 130, told
    assert "Traceback" not in told
    assert not Path(f"/proc/{child}").exists()


def test_a_relay_that_dies_ends_the_run_with_an_error(long_run):
    (child,) = _children(long_run.pid)
    os.kill(int(child), signal.SIGKILL)
    told = long_run.communicate(timeout=60)[0]
    assert long_run.returncode == 1, told
    assert "the relay ended with status -9" in told
    assert "Traceback" not in told


async def test_a_relay_that_runs_already_is_measured_and_left_running(tmp_path):
    with trio.fail_after(TIMEOUT_S):
        async with open_relay_server(RelayOptions(pin=False)) as relay:
            command = _command(
                *(
                    "--url",
                    relay.url,
                    "--subscribers",
                    "3",
                    "--rate",
                    "100",
                    "--duration",
                    "0.5",
                    "--ramp",
                    "0",
                ),
                *("--no-spin", "--json", str(tmp_path / "result.json")),
            )
            await trio.run_process(command, cwd=ROOT)
            assert sample_process(relay.pid).cpu_ns > 0
    (run,) = json.loads((tmp_path / "result.json").read_text())["details"]["runs"]
    assert run["counts"]["delivered"] == run["counts"]["expected"] == 150
    with pytest.raises(ProcessLookupError):
        sample_process(relay.pid)


async def test_a_relay_that_cannot_start_is_an_error(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(BenchError, match="the relay did not start"):
        async with open_relay_server(RelayOptions(pin=False)):
            pass


async def test_a_trial_in_which_the_relay_ends_peers_has_failed_and_the_search_goes_on(monkeypatch):
    # Well below the limit of any machine, or the search would go on to overload the relay in our own process.
    monkeypatch.setattr(runs, "MAX_OFFERED_PER_S", 16_000)
    settings = load_settings(
        {"host": "127.0.0.1", "port": 0, "udp_port": 0, "workers": 1, "stop_seconds": 2.0}, None
    )
    with trio.fail_after(TIMEOUT_S):
        async with trio.open_nursery() as nursery:
            running = await nursery.start(partial(run_server, settings))
            router = running.service.router
            options = ForwardOptions(
                publishers=1,
                subscribers=2,
                rate=2000.0,
                duration_s=0.1,
                ramp_s=0.1,
                search=True,
                max_latency_ms=10_000.0,
                relay=RelayOptions(url=f"{running.url.replace('http', 'ws')}/ws", pin=False, spin=False),
            )

            async def end_a_peer() -> None:
                while not router.statistics().verdicts["route_sent"]:  # noqa: ASYNC110 - a trial tells nobody
                    await trio.sleep(0.01)
                next(iter(router.peers.values())).close("for a test")

            nursery.start_soon(end_a_peer)
            with ProgressBars(Console(file=io.StringIO())) as progress:
                result = await run_forward(options, progress)
            nursery.cancel_scope.cancel()
    first, *others = result.trials
    assert not first.good
    assert "for a test" in first.peers_lost
    assert [trial.peers_lost for trial in others] == [""] * len(others)
    assert any(trial.good for trial in others)
    assert any("for a test" in note and "fresh peers" in note for note in result.notes())
