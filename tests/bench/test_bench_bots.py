"""`relay bench bots` against the real relay."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from bench.__main__ import app
from bench.bots_delays import LOUD, Watch, speech_pcm
from bench.bots_dispatch import Dispatch
from bench.bots_options import BotsOptions
from bench.bots_result import Spread
from bench.ear_peer import click
from bench.errors import BenchError

FRAME = 960


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """What a short call wrote, and what it printed."""
    path = tmp_path_factory.mktemp("bots") / "bots.json"
    found = CliRunner().invoke(
        app,
        [
            *("bots", "--bots", "4", "--duration", "1", "--probes", "1", "--rounds", "3", "--clears", "1"),
            *("--dispatches", "2", "--json", str(path)),
        ],
        env={"COLUMNS": "140"},
    )
    assert found.exit_code == 0, found.output
    return json.loads(path.read_text()), found.output


def test_sound_takes_some_ticks_each_way_and_no_more(record):
    details = record[0]["details"]
    assert details["missed"] == 0
    for name in ("mouth_to_bot", "bot_to_ear"):
        delays = details["all_ms"][name]
        assert len(delays) == 3
        # A tick's wait is at least a part of it; what a busy machine adds is not this test's matter.
        assert 1 < min(delays) < 500, name


def test_a_cleared_speech_is_told_as_it_was_heard(record):
    details = record[0]["details"]
    (silent_ms,) = details["all_ms"]["clear"]
    (error_ms,) = details["all_ms"]["clear_error"]
    assert 0 <= silent_ms < 500
    assert abs(error_ms) < 100


def test_bots_come_and_each_step_of_it_is_timed(record):
    details = record[0]["details"]
    assert details["dispatches_failed"] == 0
    steps = details["all_ms"]
    for total, *parts in zip(
        steps["dispatch"], steps["to_offer"], steps["own_start"], steps["to_sound"], strict=True
    ):
        assert min(parts) > 0
        assert sum(parts) == pytest.approx(total, abs=0.01)


def test_many_bots_hear_each_other_all_the_time(record):
    cost = record[0]["details"]["cost"]
    assert cost["bots"] == 4
    assert cost["expected"] == pytest.approx(4 * 50 * cost["elapsed_s"], rel=0.01)
    # Where the machine stalls, what was due before comes in the window, or what was due in it comes later.
    assert cost["frames"] > 20
    assert cost["silent"] == 0
    assert 0 < cost["mixer_share"] < cost["relay_share"]
    assert "bots that hear and speak" in record[1]


def test_readings_have_the_bars_of_the_issue(record):
    bars = {reading["name"]: reading["bar"] for reading in record[0]["readings"]}
    assert bars["mouth to bot: p95"] == 60
    assert bars["clear: off by at most"] == 20
    assert bars["dispatch without the bot's own start: p99"] == 20
    assert bars["bots of a core"] == 100


def test_a_watch_knows_when_something_loud_began_and_ended():
    watch = Watch()
    watch.hear(1, click())  # before anybody looks
    heard = watch.look()
    watch.hear(2, np.zeros(FRAME, np.float32))
    assert not heard.is_set()
    frame = np.zeros(FRAME, np.float32)
    frame[100:300] = 0.5
    watch.hear(3, frame)
    watch.hear(4, frame[::-1].copy())
    watch.hear(5, np.full(FRAME, LOUD / 2, np.float32))
    assert heard.is_set()
    assert (watch.first_ns, watch.last_ns) == (3, 4)
    assert watch.span_samples == FRAME - 100 + 860
    assert not watch.look().is_set()


def test_percentiles_are_those_of_nearest_rank():
    spread = Spread.of([float(value) for value in range(1, 101)])
    assert (spread.count, spread.p50, spread.p95, spread.p99, spread.most) == (100, 50, 95, 99, 100)
    assert Spread.of([]).count == 0


def test_the_bots_own_start_is_not_the_relays():
    dispatch = Dispatch(asked_ns=100, offered_ns=130, joined_ns=180, heard_ns=200)
    assert (dispatch.total_ns, dispatch.own_start_ns, dispatch.relay_ns) == (100, 50, 50)


def test_speech_goes_on_at_its_rate():
    assert len(speech_pcm(0.5, 24_000, 1)) == 24_000


@pytest.mark.parametrize(
    ("option", "options"),
    [("--bots", {"bots": -1}), ("--probes", {"probes": 0}), ("--lobby-size", {"lobby_size": 1})],
)
def test_impossible_options_are_named(option, options):
    with pytest.raises(BenchError, match=option):
        BotsOptions(**options)
