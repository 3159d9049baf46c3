"""`relay bench connections` against the real relay, and its thin clients against wsproto."""

import json
import random
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.connection import Connection
from wsproto.events import Pong, TextMessage

from bench.chatters import Chatters
from bench.connections import ConnectionsOptions
from bench.connections_result import percentiles
from bench.errors import BenchError
from bench.options import RelayOptions
from bench.thin_clients import PROBE_DIGITS, Client, Stage, masked

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 400  # a cold kernel cache takes minutes


def test_all_connect_are_idle_and_hear_every_line(tmp_path):
    sizes = ["--connections", "60", "--lobby-size", "25", "--rate", "200"]
    times = ["--idle", "5", "--duration", "1", "--messages-per-second", "10"]
    files = ["--json", str(tmp_path / "result.json"), "--plot", str(tmp_path / "plot.png")]
    done = subprocess.run(
        [sys.executable, "-m", "bench", "connections", *sizes, *times, *files],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    details = json.loads((tmp_path / "result.json").read_text())["details"]
    setup, idle, fanout = details["setup"], details["idle"], details["fanout"]
    assert (setup["joined"], setup["failed"], details["lost"]) == (60, 0, 0)
    assert 0 < setup["upgraded"]["p50_ns"] <= setup["joined_after"]["p50_ns"]
    assert idle["bytes_per_connection"] > 0
    assert idle["pings_per_second"] > 0
    # Three lobbies in turn, of 20 each: 60 connections spread evenly.
    assert (fanout["lines"], fanout["refused"]) == (10, 0)
    assert fanout["delivered"] == fanout["expected"] == 10 * 20 == fanout["latency"]["count"]
    assert 0 < fanout["latency"]["p50_ns"] <= fanout["latency"]["p99_ns"] <= fanout["latency"]["max_ns"]
    assert details["health"]["count"] > 0
    assert details["health_unanswered"] == 0
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert "KiB per connection" in done.stdout


@pytest.mark.parametrize("seed", range(10))
def test_frames_cut_anywhere_are_read_as_wsproto_wrote_them(seed: int) -> None:
    rng = random.Random(seed)
    server = Connection(ConnectionType.SERVER)
    crowd = Chatters(urlsplit("ws://127.0.0.1:1/ws"), ["lobby"])
    client = Client(_Recorder(), 0, 0)
    client.stage = Stage.JOINED
    now, sent = 10**15, []
    data = bytearray()
    for _ in range(200):
        filler = "x" * rng.choice((0, 90, 110, 70_000))
        sent.append(now - rng.randrange(10**9))
        text = f'{{"type":"chat","data":{{"name":"{filler}","text":"bench {sent[-1]:0{PROBE_DIGITS}}"}}}}'
        data += server.send(TextMessage(data=text))
        data += server.send(TextMessage(data=f'{{"type":"other","data":"{filler}"}}'))
    while data:
        size = rng.choice((1, 2, 3, 500, 100_000))
        crowd._read_frames(client, client.rest + bytes(data[:size]), 0, now)
        del data[:size]
    assert list(crowd.tally.latency_ns) == [now - at for at in sent]
    assert client.rest == b""


@pytest.mark.parametrize("size", [0, 1, 4, 125, 126, 300, 65_535])
def test_what_a_client_sends_is_masked_as_the_rfc_asks(size: int) -> None:
    payload = ("abcdefg" * (size // 7 + 1))[:size]
    server = Connection(ConnectionType.SERVER)
    server.receive_data(masked(0x1, payload.encode()) + masked(0xA, b"four"))
    heard = list(server.events())
    assert "".join(event.data for event in heard if isinstance(event, TextMessage)) == payload
    assert heard[-1] == Pong(payload=b"four")


class _Recorder:
    """Stands for the socket of a client that is only read."""


def test_a_handshake_that_fails_is_counted_with_its_reason() -> None:
    crowd = Chatters(urlsplit("ws://127.0.0.1:1/ws"), ["lobby"])
    with crowd:
        crowd.open(3, 1000, 5)
    assert (crowd.tally.opened, crowd.tally.failed, crowd.tally.joined) == (3, 3, 0)
    assert crowd.tally.reasons == {"Connection refused": 3}


def test_percentiles_of_nothing_are_not_numbers() -> None:
    empty = percentiles([])
    assert empty.count == 0
    assert empty.p99_ns != empty.p99_ns
    assert percentiles([1, 2, 3]).p50_ns == 2


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"connections": 0}, "--connections"),
        ({"connections": 10, "lobby_size": 11}, "--lobby-size"),
        ({"rate": 0}, "--rate"),
        ({"connections": 10, "lobby_size": 5, "messages_per_second": 11}, "--messages-per-second"),
        ({"relay": RelayOptions(url="wss://127.0.0.1:8080/ws")}, "ws://"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(given, told) -> None:
    with pytest.raises(BenchError, match=told):
        ConnectionsOptions(**given)


def test_a_client_is_a_client() -> None:
    handshake = WSConnection(ConnectionType.SERVER)
    crowd = Chatters(urlsplit("ws://127.0.0.1:1/ws"), ["lobby"])
    handshake.receive_data(crowd._request)
    (request,) = handshake.events()
    assert (request.target, request.host) == ("/ws", "127.0.0.1:1")
