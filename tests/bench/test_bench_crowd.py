"""`relay bench crowd` against the real relay, and how its members count what they hear."""

import json
import math
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from time import monotonic_ns
from urllib.parse import urlsplit

import pytest

from bench.connections_result import PhaseCost, percentiles
from bench.crowd_members import CrowdMembers, Member
from bench.crowd_options import CrowdOptions
from bench.crowd_result import CrowdResult
from bench.errors import BenchError
from bench.machine import Pinning
from bench.options import RelayOptions
from bench.slowness import Slowness, cut_off, narrow, slowness_of
from bench.thin_clients import PROBE_DIGITS, Stage

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 400  # a cold kernel cache takes minutes


def test_the_living_hear_everything_and_the_slow_are_closed_and_told_why(tmp_path):
    sizes = ["--clients", "40", "--lobbies", "2", "--slow", "3", "--events-per-second", "20"]
    files = ["--json", str(tmp_path / "result.json"), "--plot", str(tmp_path / "plot.png")]
    done = subprocess.run(
        [sys.executable, "-m", "bench", "crowd", *sizes, "--duration", "3", *files],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    details = json.loads((tmp_path / "result.json").read_text())["details"]
    assert (details["joined"], details["slow"], details["live_lost"]) == (40, 3, 0)
    assert (details["events_lost"], details["events_duplicated"], details["refused"]) == (0, 0, {})
    assert details["asked"] == {"chat": 48, "set_name": 6, "mute": 6}
    # Two slow ones in the first lobby, one in the second; nobody counts himself.
    assert details["delivered"] == details["expected"] == 30 * 17 + 30 * 18 == details["latency"]["count"]
    assert details["events"] > details["delivered"]
    assert details["closed_codes"] == {"keepalive_timeout": 3}
    told = {farewell["slowness"]: farewell["told"] for farewell in details["farewells"]}
    assert told == {
        "never reads": "closed with 4008 no pong in time",
        "reads 32 bytes a second": "closed with 4008 no pong in time",
        "gone without a FIN": "nothing can reach it",
    }
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert "held: events lost 0" in done.stdout


class Recorder:
    """Stands for the socket of a member that only speaks, to nobody."""

    def send(self, data):
        return len(data)


@pytest.fixture
def crowd():
    with CrowdMembers(urlsplit("ws://127.0.0.1:1/ws"), ["lobby"], 0) as crowd:
        for _ in range(3):
            member = Member(Recorder(), 0, 0, None)
            member.stage, member.seq = Stage.JOINED, 7
            crowd._members[0].append(member)
        yield crowd


def _chat(seq, asked_ns=0):
    text = f"bench {asked_ns:0{PROBE_DIGITS}}"
    return b'{"type":"chat","data":{"message":{"seq":3,"name":"Ada","text":"%s"}},"seq":%d}' % (
        text.encode(),
        seq,
    )


def test_a_number_skipped_is_lost_and_one_seen_again_is_double(crowd):
    member = crowd._members[0][0]
    for seq in (8, 9, 12, 12, 10, 13):
        crowd._hear(member, _chat(seq), 1)
    assert (crowd.numbers.events, crowd.numbers.lost, crowd.numbers.duplicated) == (6, 2, 2)
    crowd._hear(member, b'{"type":"chat_sent","data":{"seq":2},"re":10}', 1)
    assert (crowd.numbers.events, member.seq) == (6, 13)


def test_what_never_came_is_lost_in_the_end(crowd):
    one, two, three = crowd._members[0]
    one.seq, two.seq, three.seq = 10, 8, 0
    crowd.settle_accounts()
    assert crowd.numbers.lost == 2 + 10


@pytest.mark.parametrize("action", ["chat", "set_name", "mute"])
def test_an_event_is_timed_to_the_others_and_not_to_its_author(crowd, action):
    author = crowd._members[0][0]
    author.track_id = "t-1"
    crowd._ask(action, author)
    (asked_ns,) = author.own_ns
    crowd._ask("chat", author)  # before the first was heard of
    now = monotonic_ns() + 1_000_000
    text = f"bench {asked_ns:0{PROBE_DIGITS}}"
    message = {
        "chat": {"type": "chat", "data": {"message": {"name": "bench x", "text": text}}},
        "set_name": {"type": "participant_updated", "data": {"participant": {"name": text}}},
        "mute": {"type": "track_updated", "data": {"track": {"track_id": "t-1", "muted": True}}},
    }[action]
    for member in crowd._members[0]:
        frame = json.dumps({**message, "seq": 8}, separators=(",", ":")).encode()
        crowd._hear(member, frame, now)
    assert list(crowd.tally.latency_ns) == [now - asked_ns] * 2
    assert (crowd.tally.expected, crowd.tally.delivered) == (4, 2)


def test_what_is_refused_is_not_expected(crowd):
    crowd._ask("chat", crowd._members[0][0])
    assert crowd.tally.expected == 2
    crowd._hear(crowd._members[0][0], b'{"type":"error","data":{"code":"rate_limited"},"re":2}', 1)
    assert (crowd.tally.expected, crowd.counts.refusals) == (0, {"rate_limited": 1})


def test_one_that_has_vanished_gets_and_answers_nothing():
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        narrow(client)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        with server:
            server.sendall(b"before")
            assert client.recv(6) == b"before"
            cut_off(client)
            server.sendall(b"after")
            client.settimeout(0.3)
            with pytest.raises(TimeoutError):
                client.recv(1)
            server.setblocking(False)
            with pytest.raises(
                BlockingIOError
            ):  # nothing is acknowledged: the buffer stays full, and it is small
                _send_many(server)


def _send_many(server):
    for _ in range(1_000):
        server.send(bytes(1_000))


def test_all_kinds_take_turns():
    assert {slowness_of(index) for index in range(len(Slowness))} == set(Slowness)
    assert slowness_of(len(Slowness)) is slowness_of(0)


def _result(**changes):
    result = CrowdResult(
        options=CrowdOptions().describe(),
        pinning=Pinning(None, None),
        joined=1_000,
        failed=0,
        slow=2,
        latency=percentiles([1_000_000, 2_000_000]),
        asked={"chat": 2},
        asked_late=0,
        refused={},
        expected=2,
        delivered=2,
        events=2,
        events_lost=0,
        events_duplicated=0,
        live_lost=0,
        reasons={},
        closed_at_s=[8.0, 12.0],
        closed_codes={"keepalive_timeout": 2},
        farewells=[{"slowness": Slowness.DEAF, "told": "closed with 4008"}],
        cost=PhaseCost(1, 0.1, 1, 0.1),
    )
    return replace(result, **changes)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"events_lost": 3}, "3 events did not reach"),
        ({"events_duplicated": 1}, "1 events came twice"),
        ({"delivered": 1}, "1 deliveries did not come"),
        ({"live_lost": 1}, "1 live clients lost their connection; 1 slow clients were not closed"),
        ({"closed_at_s": [8.0]}, "1 slow clients were not closed"),
    ],
)
def test_a_failure_says_what_it_was(changes, told):
    assert _result().failure() is None
    assert told in _result(**changes).failure()


def test_a_verdict_says_whether_its_bar_was_held():
    notes = "\n".join(_result(latency=percentiles([200_000_000])).notes())
    assert "not held: event latency p99 200 ms (bar: 100 ms)" in notes
    assert "held: slow clients not closed 0 (bar: 0)" in notes
    assert "1 x never reads: closed with 4008" in notes
    empty = _result(latency=percentiles([]), closed_at_s=[], slow=0)
    assert math.isnan(empty.slowest_close_s)
    assert empty.table().rows


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"clients": 3}, "--clients"),
        ({"clients": 10, "lobbies": 6}, "--lobbies"),
        ({"clients": 10, "lobbies": 2, "slow": 7}, "--slow"),
        ({"clients": 10, "lobbies": 2, "slow": 2, "events_per_second": 9}, "--events-per-second"),
        ({"relay": RelayOptions(url="wss://127.0.0.1:8080/ws")}, "ws://"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(given, told):
    with pytest.raises(BenchError, match=told):
        CrowdOptions(**given)
