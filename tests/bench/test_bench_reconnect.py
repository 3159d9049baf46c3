"""`relay bench reconnect` against the real relay, and how those who come back count what they hear."""

import io
import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio
from rich.console import Console
from wsproto import ConnectionType
from wsproto.connection import Connection

from bench.connections_result import PhaseCost, percentiles
from bench.errors import BenchError
from bench.lobby_media import MediaCounts
from bench.machine import Pinning
from bench.options import RelayOptions
from bench.progress import ProgressBars
from bench.reconnect import run_reconnect
from bench.reconnect_options import ReconnectOptions
from bench.reconnect_result import MediaGaps, ReconnectResult
from bench.returners import Returner, Returners
from bench.thin_clients import Stage
from signaling.server import run_server
from signaling.settings import load_settings

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 400  # a cold kernel cache takes minutes


def test_all_are_back_with_every_event_and_unbroken_media(tmp_path):
    sizes = [
        "--clients",
        "12",
        "--lobbies",
        "2",
        "--messages-per-second",
        "4",
        "--duration",
        "4",
        "--away",
        "1",
    ]
    files = ["--json", str(tmp_path / "result.json"), "--plot", str(tmp_path / "plot.png")]
    done = subprocess.run(
        [sys.executable, "-m", "bench", "reconnect", *sizes, *files],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    details = json.loads((tmp_path / "result.json").read_text())["details"]
    assert (details["cut"], details["resumed"], details["not_replayed"]) == (12, 12, 0)
    assert details["resume"]["count"] == 12
    assert 0 < details["resume"]["p50_ns"] <= details["resume"]["max_ns"]
    # A second in which four lines were said, to six each: there was something to miss, and it came.
    assert details["missed"] >= 12
    assert (details["events_lost"], details["events_duplicated"], details["refused"]) == (0, 0, {})
    assert details["lines"] == 16
    media = details["media"]
    assert media["expected"] > 12 * 50 * 3
    assert (media["lost"], media["duplicated"], media["unprotect_failed"], details["media_lost"]) == (
        0,
        0,
        0,
        0,
    )
    assert details["gaps"]["before_ns"] > 10_000_000
    assert details["gaps"]["after_ns"] > 10_000_000
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert "held: sessions not resumed 0" in done.stdout


async def test_a_relay_that_forgets_sessions_too_soon_is_at_fault():
    settings = load_settings(
        {
            "host": "127.0.0.1",
            "port": 0,
            "udp_port": 0,
            "workers": 1,
            "stop_seconds": 2.0,
            "resume_seconds": 0.1,
            "database": "memory:",
        },
        None,
    )
    with trio.fail_after(TIMEOUT_S):
        async with trio.open_nursery() as nursery:
            running = await nursery.start(partial(run_server, settings))
            options = ReconnectOptions(
                clients=4,
                lobbies=1,
                away_s=1,
                duration_s=2.5,
                messages_per_second=2,
                relay=RelayOptions(url=f"{running.url.replace('http', 'ws')}/ws", pin=False, spin=False),
            )
            with ProgressBars(Console(file=io.StringIO())) as progress:
                result = await run_reconnect(options, progress)
            nursery.cancel_scope.cancel()
    assert (result.cut, result.resumed) == (4, 0)
    assert "4 sessions were not resumed" in result.failure()
    assert any("resume_failed" in reason for reason in result.reasons)
    assert any("not held: sessions not resumed 4" in note for note in result.notes())


class Recorder:
    """Stands for the socket of a client that only speaks, to nobody, and keeps what it said."""

    def __init__(self):
        self.sent = []

    def send(self, data):
        self.sent.append(data)
        return len(data)


@pytest.fixture
def lobby():
    with Returners(urlsplit("ws://127.0.0.1:1/ws"), ["lobby"]) as clients:
        one, witness = Returner(Recorder(), 0, 0, "token", "p-1"), Returner(Recorder(), 0, 0)
        one.seq, one.stage = 10, Stage.GREETED
        witness.seq, witness.stage = 14, Stage.JOINED
        clients._members[0] += [one, witness]
        clients._opening = 1
        yield clients, one


def _resumed(replayed, lobby=None, media="connected"):
    data = {"session_id": "s-1", "replayed": replayed, "lobby": lobby, "media_state": media}
    return json.dumps({"type": "resumed", "data": data, "re": 1}, separators=(",", ":")).encode()


def test_what_is_replayed_is_checked_number_by_number(lobby):
    clients, one = lobby
    clients._read_greeting(one, _resumed(replayed=True), 5)
    assert (clients.returns.resumed, clients.returns.missed, one.lives) == (1, 4, True)
    for seq in (11, 12, 14, 14):
        clients._hear(one, b'{"type":"chat","data":{},"seq":%d}' % seq, 1)
    assert (clients.numbers.lost, clients.numbers.duplicated) == (1, 1)


def test_a_snapshot_instead_of_a_replay_has_lost_what_it_skips(lobby):
    clients, one = lobby
    clients._read_greeting(one, _resumed(replayed=False, lobby={"seq": 14}), 5)
    assert (clients.returns.not_replayed, clients.numbers.lost, one.seq) == (1, 4, 14)


def test_media_that_has_ended_is_counted_whenever_it_is_told(lobby):
    clients, one = lobby
    clients._read_greeting(one, _resumed(replayed=True, media="closed"), 5)
    clients._hear(one, b'{"type":"media_state","data":{"state":"closed","reason":"gone"}}', 1)
    assert clients.returns.media_lost == 2


def test_the_welcome_is_answered_with_the_former_token_and_the_last_number(lobby):
    clients, one = lobby
    clients._read_greeting(one, b'{"type":"welcome","data":{"resume_token":"another"}}', 5)
    server = Connection(ConnectionType.SERVER)
    server.receive_data(b"".join(one.socket.sent))
    (message,) = server.events()
    said = json.loads(message.data)
    place = {"resume_token": "token", "participant_id": "p-1", "last_seq": 10}
    assert (said["type"], said["data"]) == ("resume", place)


def _result(**changes):
    result = ReconnectResult(
        options=ReconnectOptions().describe(),
        pinning=Pinning(None, None),
        cut=2,
        resumed=2,
        not_replayed=0,
        resume=percentiles([1_000_000]),
        missed=3,
        lines=4,
        lines_late=0,
        refused={},
        events=10,
        events_lost=0,
        events_duplicated=0,
        latency=percentiles([]),
        lost=0,
        reasons={},
        media=MediaCounts(100, 0, 0, 0, 0),
        media_lost=0,
        gaps=MediaGaps(20_000_000, 21_000_000),
        cost=PhaseCost(1, 0.1, 1, 0.1),
    )
    return replace(result, **changes)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"resumed": 1}, "1 sessions were not resumed"),
        ({"not_replayed": 1}, "1 sessions got a snapshot"),
        ({"events_lost": 2}, "2 events were missed"),
        ({"events_duplicated": 2}, "2 events came twice"),
        ({"media_lost": 1}, "1 clients lost their media"),
        ({"media": MediaCounts(100, 7, 0, 0, 0)}, "7 media packets were lost"),
    ],
)
def test_a_failure_says_what_it_was(changes, told):
    assert _result().failure() is None
    assert told in _result(**changes).failure()
    assert _result(**changes).table().rows


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"clients": 1}, "--clients"),
        ({"clients": 10, "lobbies": 6}, "--lobbies"),
        ({"lobbies": 33}, "--lobbies"),
        ({"lobbies": 2, "messages_per_second": 5}, "--messages-per-second"),
        ({"duration_s": 3, "away_s": 2.5}, "must have time to be back"),
        ({"relay": RelayOptions(url="wss://127.0.0.1:8080/ws")}, "ws://"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(given, told):
    with pytest.raises(BenchError, match=told):
        ReconnectOptions(**given)
