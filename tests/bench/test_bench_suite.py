"""`relay bench all`: its parts are what they should be, one that fails stops no other, and the table says what is met."""

import json
from dataclasses import replace
from functools import partial

import pytest
import trio
from rich.console import Console

from bench.idle import run_idle
from bench.idle_options import IdleOptions
from bench.kernels import KernelsOptions, KernelsResult, KernelTime, run_kernels
from bench.machine import describe_machine
from bench.options import RelayOptions
from bench.progress import ProgressBars
from bench.scenario import Better, Reading, Record
from bench.suite import Part, PartResult, SuiteOptions, SuiteResult, choose_parts, run_parts


@pytest.mark.parametrize("quick", [True, False])
def test_every_scenario_is_a_part(quick):
    parts = choose_parts(SuiteOptions(quick))
    assert len({part.name for part in parts}) == len(parts)
    kinds = {part.name.split()[0] for part in parts}
    assert kinds == {
        "forward",
        "latency",
        "join",
        "connections",
        "crowd",
        "reconnect",
        "idle",
        "churn",
        "soak",
        "mix",
        "bots",
        "kernels",
    }
    assert sum(part.seconds for part in parts) < (180 if quick else 1200)


def test_a_relay_that_runs_already_is_not_measured_from_within(unused_port):
    relay = RelayOptions(url=f"ws://127.0.0.1:{unused_port}/ws")
    kinds = {part.name.split()[0] for part in choose_parts(SuiteOptions(quick=True, relay=relay))}
    assert "idle" in kinds
    assert not kinds & {"mix", "bots"}


async def test_a_part_that_cannot_be_carried_out_stops_no_other(tmp_path, unused_port):
    relay = RelayOptions(url=f"ws://127.0.0.1:{unused_port}/ws")
    parts = [
        Part("idle", 1, partial(run_idle, IdleOptions(peers=1, relay=relay))),
        Part("kernels", 1, partial(run_kernels, KernelsOptions(repeats=1, only="parse_rtp"))),
    ]
    with trio.fail_after(300), ProgressBars(Console(quiet=True)) as progress:
        failed, done = await run_parts(parts, progress)
    assert failed.result is None
    assert "no relay answers" in failed.error
    assert done.error is None
    result = SuiteResult({}, (failed, done))
    assert result.failure() == f"idle: {failed.error}"
    Record(result, describe_machine()).write(tmp_path / "all.json")
    written = json.loads((tmp_path / "all.json").read_text())
    names = [reading["name"] for reading in written["readings"]]
    assert "kernels: parse_rtp" in names
    assert all(name.startswith("kernels: ") for name in names)
    assert [part["error"] is None for part in written["details"]["parts"]] == [False, True]


class Barred(KernelsResult):
    """A result with one reading on either side of its bar, and one without."""

    def readings(self):
        return [
            Reading("speed", 10.5, "m/s", Better.HIGHER, bar=10),
            Reading("delay", 120, "ms", Better.LOWER, bar=0.5),
            Reading("colour", 3, "nm", Better.LOWER),
        ]

    def notes(self):
        return ["[bold red]too hot[/]", "a plain remark"]


def test_the_table_says_which_bars_are_met():
    result = SuiteResult({}, (PartResult("x", 30.0, Barred({}, ())),))
    assert result.table().rows == [
        ("x", "speed", "10.50 m/s", ">= 10", "[green]met[/]"),
        ("x", "delay", "120 ms", "<= 0.50", "[bold red]not met[/]"),
    ]
    assert result.notes() == ["x: [bold red]too hot[/]", "1 scenarios in 0.5 minutes."]
    assert result.failure() is None  # a bar is a matter of the machine


def test_a_part_without_bars_shows_its_first_reading():
    kernels = KernelsResult({}, (KernelTime("a", 2.0, 4.0, 0.0), KernelTime("b", 3.0, 4.0, 0.0)))
    part = PartResult("kernels", 1.0, kernels)
    assert SuiteResult({}, (part,)).table().rows == [("kernels", "a", "2 ns", "", "")]
    gone = replace(part, result=None, error="why")
    assert SuiteResult({}, (gone,)).table().rows[0][1] == "could not be carried out"
