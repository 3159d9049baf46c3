"""What `relay bench forward` refuses, and how it says so."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.__main__ import app
from bench.command import EXIT_FAILED, EXIT_USAGE
from bench.errors import BenchError
from bench.forward_options import ForwardOptions
from bench.machine import Pinning
from bench.options import RelayOptions, is_own_address
from bench.payload import PayloadKind
from bench.presets import PRESETS

FIRST_CPU = min(os.sched_getaffinity(0))


def _error(*arguments):
    result = CliRunner().invoke(app, ["forward", *arguments])
    assert result.exit_code == EXIT_USAGE
    return result.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--publishers", "0"], "--publishers is 0; it must be between 1 and 500"),
        (["--subscribers", "100000"], "--subscribers is 100000; it must be between 1 and 20000"),
        (["--rate", "nan"], "--rate is nan"),
        (["--rate", "0"], "--rate is 0; it must be between 0.1"),
        (["--rate", "900000"], "more than 20,000,000 is beyond any single machine"),
        (["--size", "35"], "--size is 35; it must be between 36 and 1400"),
        (["--size", "36", "--kind", "video"], "--size is 36; it must be between 47 and 1400"),
        (["--duration", "0"], "--duration is 0"),
        (["--ramp", "-1"], "--ramp is -1"),
        (["--load", "1.5"], "--load is 1.5; it must be between 0.01 and 1"),
        (["--workers", "0"], "--workers is 0"),
        (["--profile", "aes"], "--profile is 'aes'; it must be gcm or cm"),
        (["--burst", "0"], "--burst is 0"),
        (["--burst", "4"], "only video has frames of several packets"),
        (["--preset", "zoom"], "--preset is 'zoom'; it must be livekit-audio or"),
        (["--scale", "0.5"], "give --preset"),
        (["--preset", "srs-video", "--scale", "0"], "--scale is 0"),
        (["--preset", "srs-video", "--no-pin"], "give --scale or --subscribers"),
        (["--preset", "srs-video", "--url", "ws://127.0.0.1:1"], "give --scale (1: as published)"),
        (["--kind", "smell"], "--kind is 'smell'; it must be audio or video"),
        (["--server-cpu", "4096"], "--server-cpu is 4096; this process may use the cores"),
        (["--json", "/nowhere/at/all.json"], "--json: the directory /nowhere/at does not exist"),
        (["--url", "http://127.0.0.1:1"], "it must look like ws://127.0.0.1:8080/ws"),
        (["--url", "127.0.0.1"], "it must look like ws://127.0.0.1:8080/ws"),
        (["--url", "ws://127.0.0.1:1", "--server-cpu", "0"], "with --url it runs already"),
        (["--url", "ws://192.0.2.1:8080/ws"], "another machine"),
        (["--url", "wss://[2001:db8::1]/ws"], "another machine"),
        (["--url", "ws://no-such-host.invalid/ws"], "the host 'no-such-host.invalid' is unknown"),
    ],
)
def test_forward_refuses_what_it_cannot_do_and_says_what_is_possible(arguments, told):
    assert told in _error(*arguments)


@pytest.mark.parametrize("url", ["ws://127.0.0.1:8080/ws", "ws://[::1]:8080", "ws://localhost/ws"])
def test_loopback_urls_are_allowed(url):
    assert RelayOptions(url=url).url == url


def test_a_remote_url_is_allowed_when_asked_for():
    assert RelayOptions(url="ws://192.0.2.1/ws", allow_remote=True).pinning.server_cpu is None


def test_forward_says_when_no_relay_answers(unused_port):
    result = CliRunner().invoke(
        app, ["forward", "--url", f"ws://127.0.0.1:{unused_port}/ws", "--subscribers", "1"]
    )
    assert result.exit_code == EXIT_FAILED
    assert "no relay answers at" in result.output


def test_a_plot_without_matplotlib_names_the_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    result = CliRunner().invoke(app, ["forward", "--plot", "picture.png"])
    assert result.exit_code == EXIT_FAILED
    assert "trio-relay[bench]" in result.output


def test_help_explains_every_option():
    result = CliRunner().invoke(app, ["forward", "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    for option in ("--publishers", "--search", "--url", "--allow-remote", "--json", "--plot", "--server-cpu"):
        assert option in result.output


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_can_be_sent(name):
    options = ForwardOptions.from_preset(name, 1, {})
    assert (options.offered_per_s, options.scale) == (
        options.subscribers * options.rate * options.publishers,
        1,
    )
    assert not options.fit
    assert name in CliRunner().invoke(app, ["forward", "--help"], env={"COLUMNS": "200"}).output


def test_every_command_and_every_preset_is_in_the_documentation():
    text = (Path(__file__).parents[2] / "docs/benchmarks.md").read_text()
    commands = [command.name or command.callback.__name__ for command in app.registered_commands]
    assert len(commands) >= 10
    for name in (*commands, *PRESETS):
        assert f"`{name}" in text or f"relay bench {name}" in text or f", `{name}`" in text, name


def test_explicit_options_override_the_preset():
    said = {"publishers": 2, "subscribers": None, "rate": None, "size": 200, "kind": None, "burst": None}
    options = ForwardOptions.from_preset("srs-video", 0.5, said, duration_s=3)
    assert (options.publishers, options.subscribers, options.size, options.burst) == (2, 1000, 200, 3)
    as_audio = ForwardOptions.from_preset("srs-video", 1, said | {"kind": PayloadKind.AUDIO})
    assert as_audio.burst == 1


def test_a_preset_is_scaled_to_half_of_what_the_machine_sends():
    options = ForwardOptions.from_preset("livekit-audio", None, {}, relay=RelayOptions(client_cpu=FIRST_CPU))
    assert options.fitted(320_000).subscribers == 500  # of 3,000, at 10 x 32 packets/s
    assert options.fitted(320_000).scale == pytest.approx(1 / 6)
    assert options.fitted(10e6).subscribers == 3_000
    assert options.fitted(1).subscribers == 1
    chosen = ForwardOptions.from_preset("livekit-audio", None, {"subscribers": 7})
    assert chosen.fitted(320_000).subscribers == 7


def test_pinning_gives_each_side_its_own_core(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {2, 5, 7})
    assert RelayOptions().pinning == Pinning(2, 5)
    assert RelayOptions(client_cpu=2).pinning == Pinning(5, 2)
    assert RelayOptions(server_cpu=7).pinning == Pinning(7, 5)
    assert RelayOptions(pin=False).pinning == Pinning(None, None)
    assert RelayOptions(url="ws://127.0.0.1/").pinning == Pinning(None, 5)


def test_pinning_leaves_a_single_core_alone(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0})
    assert RelayOptions().pinning == Pinning(None, None)
    assert "nothing pinned" in RelayOptions().pinning.describe()


def test_own_addresses_are_told_from_others():
    assert is_own_address("127.0.0.1")
    assert is_own_address("::1")
    assert not is_own_address("192.0.2.1")


def test_video_packets_have_room_for_their_headers():
    assert ForwardOptions(kind=PayloadKind.VIDEO, size=47).traffic.size == 47
    with pytest.raises(BenchError):
        ForwardOptions(kind=PayloadKind.VIDEO, size=46)
