"""`relay bench mix` with the relay's own mixer thread."""

import json
import math

import numpy as np
import pytest
from typer.testing import CliRunner

from bench.__main__ import app
from bench.command import EXIT_USAGE
from bench.errors import BenchError
from bench.machine import Pinning
from bench.mix import try_size
from bench.mix_options import MixOptions
from bench.mix_result import HighestLoad, MixLoad, MixResult
from bench.mix_shape import Shape
from bench.mix_sound import QUIET_LEVEL_DBOV, silent, talking
from media.audio.levels import frame_level_dbov
from media.audio.opus import FRAME_SAMPLES, MAX_PACKET_SAMPLES, decode_frame, new_decoder_template
from media.mixer.inputs import OPEN_DBOV, PARK_DBOV


def load(**changes):
    fields = {
        "name": "x",
        "lobbies": 1,
        "participants": 1_000,
        "talkers": 3,
        "elapsed_s": 2.0,
        "mixer_share": 0.05,
        "busy_share": 0.05,
        "worker_share": math.nan,
        "main_share": math.nan,
        "ticks": 100,
        "ticks_skipped": 0,
        "lateness_us": {32: 98, 64: 1, 8_192: 1},
        "decoded": 300,
        "concealed": 0,
        "encoded": 400,
        "parked": 99_700,
        "packets_in": 100_000,
        "packets_out": 400,
        "lost": 0,
        "sent": 100_000,
        "sent_late": 0,
        "verdicts": {},
    }
    return MixLoad(**(fields | changes))


def test_every_talker_is_decoded_and_every_distinct_mix_encoded_once(tmp_path):
    found = CliRunner().invoke(
        app,
        [
            *("mix", "--participants", "6", "--talkers", "2", "--lobbies", "3", "--duration", "1"),
            *("--json", str(tmp_path / "mix.json")),
        ],
        env={"COLUMNS": "140"},
    )
    assert found.exit_code == 0, found.output
    (measured,) = json.loads((tmp_path / "mix.json").read_text())["details"]["loads"]
    ticks = measured["ticks"]
    due = 50 * measured["elapsed_s"]
    assert ticks + measured["ticks_skipped"] == pytest.approx(due, rel=0.2)
    assert sum(measured["lateness_us"].values()) == ticks
    assert measured["encoded"] == pytest.approx(3 * (2 + 1) * ticks, abs=9)  # a tick may be under way
    assert measured["packets_out"] == pytest.approx(measured["encoded"], abs=9)
    assert measured["decoded"] + measured["concealed"] == pytest.approx(3 * 2 * ticks, rel=0.25)
    assert measured["parked"] == pytest.approx(3 * 4 * 50 * measured["elapsed_s"], rel=0.3)
    assert 0 < measured["mixer_share"] < 1
    assert "3 x 6, 2 talk" in found.output
    assert "us/tick" in found.output


def test_a_whole_relay_decrypts_mixes_and_encrypts_for_everybody(tmp_path):
    found = CliRunner().invoke(
        app,
        [
            *("mix", "--what", "relay", "--participants", "5", "--talkers", "2", "--duration", "1"),
            *("--json", str(tmp_path / "mix.json")),
        ],
        env={"COLUMNS": "160"},
    )
    assert found.exit_code == 0, found.output
    record = json.loads((tmp_path / "mix.json").read_text())
    (measured,) = record["details"]["loads"]
    ticks = measured["ticks"]
    assert ticks > 20
    assert measured["encoded"] == pytest.approx((2 + 1) * ticks, abs=9)
    assert measured["parked"] > 0
    verdicts = measured["verdicts"]
    assert verdicts["rtp_accepted"] == pytest.approx(5 * 50 * measured["elapsed_s"], rel=0.3)
    assert verdicts["route_sent"] == pytest.approx(5 * ticks, rel=0.3)
    assert "unknown_source" not in verdicts
    assert 0 < measured["worker_share"] < 1
    assert "5, 2 talk: participants of a core" in {reading["name"] for reading in record["readings"]}


def test_lateness_is_told_by_its_percentile_and_its_most():
    measured = load()
    assert measured.p99_late_ms == 0.064
    assert measured.latest_ms == 8.192
    assert measured.tick_us == pytest.approx(1_000)
    assert math.isnan(load(lateness_us={}).p99_late_ms)


@pytest.mark.parametrize(
    ("changes", "carried"),
    [
        ({}, True),
        ({"lost": 1}, False),
        ({"ticks_skipped": 1}, False),
        ({"lateness_us": {4_096: 100}}, True),
        ({"lateness_us": {8_192: 100}}, False),
        ({"lateness_us": {}, "ticks": 0}, True),
    ],
)
def test_a_load_is_carried_when_nothing_is_lost_and_ticks_are_in_time(changes, carried):
    assert load(**changes).carried is carried


@pytest.mark.parametrize(
    ("found", "carried", "made"),
    [
        ([{}], True, 1),
        ([{"lost": 1}], False, 1),
        ([{"lost": 1, "sent_late": 5_000}, {}], True, 2),
        ([{"lost": 1, "sent_late": 5_000}] * 3, False, 3),
    ],
)
async def test_a_trial_is_made_again_when_the_generator_was_late_itself(found, carried, made):
    outcomes = iter(found)
    shapes = []

    async def measure(_name, shape, _duration_s):
        shapes.append(shape)
        return load(**next(outcomes))

    trials = []
    assert (
        await try_size(measure, lambda size: Shape(size, 5, 5), 1.0, trials, lambda *_: None, 7.4) is carried
    )
    assert len(trials) == made
    assert shapes == [Shape(7, 5, 5)] * made


def test_bars_are_those_of_trials_where_there_were_any():
    failed = load(participants=4_500, lost=7)
    searched = HighestLoad("participants", 20_000.0, 4_000.0, (load(), failed))
    by_cpu = HighestLoad("lobbies", 60.0, math.nan, ())
    result = MixResult(
        {}, Pinning(0, 1), (load(), load(name="idle", sent=0, talkers=0)), (searched, by_cpu), 0.5, 60.0
    )
    bars = {reading.name: (reading.value, reading.bar) for reading in result.readings()}
    assert bars["participants of a core, 3 talkers"] == (4_000.0, 1_000)
    assert bars["participants of a core, 3 talkers, by CPU time"] == (20_000.0, None)
    assert bars["lobbies of 5 of a core, all talking, by CPU time"] == (60.0, 100)
    assert bars["idle: CPU"][1] == 0.001
    assert any("7 packets lost ended the search" in note for note in result.notes())


@pytest.mark.parametrize(
    ("option", "options"),
    [
        ("--participants", {"participants": 0}),
        ("--talkers", {"participants": 2, "talkers": 3}),
        ("--duration", {"duration_s": 0}),
        ("--lobbies", {"participants": 10_000, "lobbies": 10}),
    ],
)
def test_impossible_loads_are_named(option, options):
    with pytest.raises(BenchError, match=option):
        MixOptions(**options)


def test_an_unknown_part_is_refused():
    found = CliRunner().invoke(app, ["mix", "--what", "bots"])
    assert found.exit_code == EXIT_USAGE
    assert "it must be mixer or relay" in found.output


@pytest.mark.parametrize(("loop", "loudest", "quietest"), [(talking(), 0, 45), (silent(), PARK_DBOV, 127)])
def test_payloads_sound_as_their_level_says(loop, loudest, quietest):
    decoder = new_decoder_template()
    output = np.zeros(MAX_PACKET_SAMPLES, np.float32)
    levels = []
    for payload in loop.payloads:
        count = decode_frame(decoder.ctypes.data, np.frombuffer(payload, np.uint8).copy(), output)
        assert count == FRAME_SAMPLES
        levels.append(frame_level_dbov(output[:count]))
    assert all(loudest <= level <= quietest for level in levels[2:])
    assert loop.level_dbov == pytest.approx(np.mean(levels[2:]), abs=8)
    assert QUIET_LEVEL_DBOV > OPEN_DBOV
