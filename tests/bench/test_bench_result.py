"""From what the loop counted to the verdict, the JSON file, the table and the picture."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from bench.floor import SendFloor
from bench.forward_result import ForwardResult
from bench.generator import LoopResult, Traffic
from bench.histogram import BUCKETS
from bench.machine import Pinning, describe_machine
from bench.plot import draw
from bench.process import ProcessUsage
from bench.report import print_record
from bench.result import (
    Floor,
    GeneratorCost,
    Latency,
    Limit,
    Trial,
    server_cost,
    summarize_run,
)
from bench.runs import carries
from bench.scenario import SCHEMA, Better, Reading, Record, command_line
from bench.tables import Counter, Series

QUIET = GeneratorCost(
    busy_share=0.5, cpu_share=1.0, sent_late=0, lateness_max_ns=1000, send_failed=0, receive_drops=0
)


def _loop(lost=0, delivered=1000, **counters):
    latencies = np.zeros(BUCKETS, np.int64)
    latencies[700] = delivered
    series = np.zeros((4, len(Series)), np.int64)
    series[:2, Series.DELIVERED] = delivered // 2
    counts = dict.fromkeys(Counter, 0) | {Counter.SENT: 1000, Counter.LATENCY_MAX_NS: 4000}
    return LoopResult(
        traffic=Traffic(rate=50, size=120, ramp_s=0.5, duration_s=2),
        started_ns=0,
        counters=counts | {Counter[name]: count for name, count in counters.items()},
        sent=100,
        expected=delivered + lost,
        delivered=delivered,
        latencies=latencies,
        series=series,
    )


def _run(loop, generator=QUIET, name="run"):
    usage = ProcessUsage(2 * 10**9, 10**9, {"main (1)": 10**8, "worker (2)": 9 * 10**8}, 10**8, 2 * 10**8)
    server = server_cost(usage, 1000, 0, {"route_sent": 1000})
    return summarize_run(name, loop, publishers=2, subscribers=5, server=server, generator=generator)


def _result(*runs):
    latency = Latency(5000.0, 6000.0, 7000.0, 8000.0, 9000.0, 5100.0)
    return ForwardResult(
        options={
            "publishers": 2,
            "subscribers": 5,
            "kind": "audio",
            "size": 120,
            "burst": 1,
            "gro": False,
            "preset": None,
            "search": False,
            "workers": 1,
            "profile": "AEAD_AES_128_GCM",
        },
        pinning=Pinning(0, 1),
        peers=7,
        setup_s=0.5,
        floor=Floor(SendFloor(500_000.0, 400_000.0, 2000.0), latency),
        runs=runs,
    )


def _record(result):
    return Record(result, describe_machine())


def test_costs_and_rates_are_related_to_what_was_delivered():
    run = _run(_loop())
    assert run.offered_per_s == 500
    assert run.delivered_per_s == 500
    assert run.server.cpu_ns_per_packet == 10**6
    assert run.server.cpu_share == 0.5
    assert run.lossless
    assert run.limit is Limit.NONE


def test_a_backlog_delivered_late_lowers_the_rate():
    run = _run(_loop(LAST_DELIVERY_NS=int(4.5e9)))
    assert run.delivered_per_s == 250


@pytest.mark.parametrize(
    ("counters", "generator", "limit", "told"),
    [
        ({"lost": 5}, QUIET, Limit.RELAY, "the relay lost 5 of 1,005"),
        ({"lost": 5}, replace(QUIET, receive_drops=5), Limit.GENERATOR, "overflowed (5 packets"),
        ({}, replace(QUIET, sent_late=2), Limit.GENERATOR, "0.2% of its packets over 1 ms late"),
        ({}, replace(QUIET, sent_late=1), Limit.NONE, "everything arrived"),
        ({}, replace(QUIET, busy_share=0.99), Limit.GENERATOR, "busy 99%"),
        ({}, replace(QUIET, send_failed=3), Limit.GENERATOR, "refused 3 sends"),
    ],
)
def test_the_limit_is_named_with_its_sign(counters, generator, limit, told):
    run = _run(_loop(**counters), generator)
    assert run.limit is limit
    assert told in run.limit_reason
    assert ("the generator, not the relay, was the limit" in run.limit_reason) is (limit is Limit.GENERATOR)


def test_the_json_file_is_complete_and_plain(tmp_path):
    result = _result(_run(_loop()), _run(_loop(delivered=0), name="nothing"))
    _record(result).write(tmp_path / "result.json")
    read = json.loads((tmp_path / "result.json").read_text(), parse_constant=pytest.fail)
    assert read["schema"] == SCHEMA
    assert read["scenario"] == "forward"
    assert read["machine"]["numba"]
    assert read["options"]["subscribers"] == 5
    assert {
        "name": "run: delivered",
        "value": 500,
        "unit": "packets/s",
        "better": "higher",
        "bar": None,
    } in read["readings"]
    assert read["details"]["pinning"] == {"server_cpu": 0, "client_cpu": 1}
    first, nothing = read["details"]["runs"]
    assert first["limit"] == "none"
    assert first["counts"]["delivered"] == 1000
    assert first["histogram_ns"][0][1] == 1000
    assert nothing["latency"]["p99_ns"] is None
    assert nothing["histogram_ns"] == []


def test_the_table_tells_what_matters(tmp_path):
    console = Console(width=140, record=True, file=(tmp_path / "out").open("w"))
    full = _run(_loop(lost=5), replace(QUIET, receive_drops=5), "full")
    print_record(console, _record(_result(full, _run(_loop()))))
    told = console.export_text()
    for text in (
        "delivered, packets/s",
        "added latency p99, ms",
        "1,000,000",
        "Relay on core 0",
        "not the relay",
        "2,000 ns",
    ):
        assert text in told
    console.file.close()


def test_the_plot_is_a_png(tmp_path):
    draw(_record(_result(_run(_loop()), _run(_loop(delivered=0), name="nothing"))), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def _highest(**options):
    result = _result(_run(_loop()))
    return replace(result, options=result.options | {"search": True} | options)


def test_bars_are_for_what_they_were_set_for():
    bars = {reading.name: reading.bar for reading in _highest(size=120).readings() if reading.bar}
    assert bars == {"run: delivered": 500_000, "run: of the bare sendmmsg rate": 0.65}
    video = _highest(size=1200, kind="video").readings()
    assert {reading.name: reading.bar for reading in video if reading.bar} == {"run: delivered RTP": 5}
    for other in ({"size": 121}, {"search": False}, {"workers": 2}, {"profile": "AES128_CM_SHA1_80"}):
        assert not [reading for reading in _highest(**other).readings() if reading.bar]


@pytest.mark.parametrize(
    ("value", "better", "met"),
    [(5, "higher", True), (4.9, "higher", False), (5, "lower", True), (5.1, "lower", False)],
)
def test_a_bar_is_met_on_its_good_side(value, better, met):
    assert Reading("x", value, "", Better(better), bar=5).met is met
    assert Reading("x", value, "", Better(better)).met is None
    assert Reading("x", math.nan, "", Better(better), bar=5).met is None


def _trial(offered, good, limit=Limit.RELAY):
    return Trial(offered, offered, offered, 0, 1.0, 1.0, good, limit)


def test_a_search_that_the_generator_ended_says_so():
    note = "search ended where the generator"
    ended = (_trial(100, True), _trial(200, False), _trial(150, False, Limit.GENERATOR))
    assert note in " ".join(replace(_highest(), trials=ended).notes())
    for trials in ((), ended[:2], (_trial(100, True), _trial(90, False, Limit.GENERATOR))):
        assert note not in " ".join(replace(_highest(), trials=trials).notes())


def test_percentiles_of_nothing_are_nan():
    assert math.isnan(_run(_loop(delivered=0)).latency.p50_ns)


@pytest.mark.parametrize("arguments", [["bench", "forward", "--rate", "5"], ["forward", "--rate", "5"]])
def test_the_command_is_told_as_it_can_be_typed(arguments):
    assert command_line(arguments) == "relay bench forward --rate 5"


def test_a_rate_is_carried_when_all_of_it_comes_in_time_and_as_fast_as_asked_for():
    run = _run(_loop())
    assert carries(run, 20)
    assert not carries(run, run.latency.p99_ns / 1e6 / 2)
    assert not carries(_run(_loop(lost=1)), 20)
    late = _loop(
        LAST_DELIVERY_NS=3_500_000_000
    )  # three seconds for what was to take two: nothing lost, and not carried
    assert not carries(_run(late), 20)
