"""The one port: HTTP and WebSocket side by side, limits on each kind of connection, whatever is sent there."""

from contextlib import suppress

import pytest
import trio
from http_requests import Response, fetch, send, upgrade
from raw_client import raw_connection, raw_websocket, read_to_end
from running_server import running_server
from wire_client import connected, in_lobby

from relay import Capacity
from signaling import front_door
from signaling.messages import CloseCode, Closing, Ping, Pong
from signaling.web_app import SECURITY_HEADERS


async def test_health_has_the_promised_shape() -> None:
    async with running_server() as server, in_lobby(server.url):
        response = await fetch(server.url, "/api/system/health")
        assert response.status == 200
        version = response.json["version"]
        assert response.json == {
            "status": "ok",
            "architecture": "modular",
            "version": version,
            "managers": {
                "session_manager": "active",
                "lobby_manager": "active",
                "auth_manager": "active",
                "websocket_manager": "active",
            },
            "statistics": {"sessions": 1, "lobbies": 1, "protected_names": 0},
            "capacity": {
                "accepting": True,
                "refusal": None,
                "peers": {"used": 0, "limit": Capacity().peers},
                "outbound_streams": {"used": 0, "limit": Capacity().outbound},
                "workers": [{"peers": 0, "busy_share": 0.0, "shedding": 0, "shed_tracks": 0}],
            },
        }


async def test_info_tells_process_and_relay() -> None:
    async with running_server() as server:
        info = (await fetch(server.url, "/api/system/info")).json
        assert info["process"]["pid"] == server.pid
        assert info["process"]["resident_bytes"] > 10_000_000
        assert info["process"]["descriptors"] > 5
        assert info["process"]["threads"] >= 2
        assert info["process"]["cpu_seconds"] > 0
        assert info["relay"]["udp_ports"] == list(server.udp_ports)
        assert info["relay"]["peers"] == info["relay"]["tracks"] == 0
        assert [worker["udp_port"] for worker in info["relay"]["workers"]] == list(server.udp_ports)
        assert set(info["relay"]["verdicts"]) == set(info["relay"]["workers"][0]["verdicts"])


async def test_metrics_have_every_verdict_of_every_worker() -> None:
    async with running_server(workers=2) as server, in_lobby(server.url) as ada:
        await ada.expect(Ping(), Pong)
        await ada.send_text("{")
        await ada.receive()
        response = await fetch(server.url, "/metrics")
        assert response.status == 200
        lines = response.body.decode().splitlines()
        for worker in (0, 1):
            for verdict in server.service.router.statistics().verdicts:
                assert any(
                    line.startswith(f'relay_packets_total{{verdict="{verdict}",worker="{worker}"}} ')
                    for line in lines
                ), verdict
        for line in (
            "signaling_sessions 1.0",
            "signaling_lobbies 1.0",
            "signaling_participants 1.0",
            'signaling_connections{kind="websocket"} 1.0',
            'signaling_messages_total{type="ping"} 1.0',
            'signaling_errors_total{code="invalid_json"} 1.0',
            'signaling_events_total{type="ParticipantEntered"} 1.0',
            'signaling_subscriber_missed_total{subscriber="event_log"} 0.0',
            "relay_peers 0.0",
        ):
            assert line in lines


async def test_page_is_served_with_strict_headers_and_revalidated() -> None:
    async with running_server() as server:
        response = await fetch(server.url, "/")
        assert response.status == 200
        assert response.headers["content-type"].startswith("text/html")
        for name, value in SECURITY_HEADERS.items():
            assert response.headers[name.lower()] == value
        assert response.headers["cache-control"] == "no-cache"
        again = await fetch(server.url, "/", f"If-None-Match: {response.headers['etag']}")
        assert (again.status, again.body) == (304, b"")
        script = await fetch(server.url, "/main.js")
        assert script.status == 200
        assert "javascript" in script.headers["content-type"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing/here", 404),
        ("GET", "/../settings.py", 404),
        ("GET", "/%2e%2e/%2e%2e/settings.py", 404),
        ("GET", "/..%2f..%2fsettings.py", 404),
        ("GET", "/\x00", 400),
        ("GET", "/api/system/nothing", 404),
        ("POST", "/api/system/health", 405),
        ("DELETE", "/", 405),
        ("GET", "/ws", 426),
    ],
)
async def test_errors_are_problem_documents(method: str, path: str, status: int) -> None:
    async with running_server() as server:
        response = await fetch(server.url, path, method=method)
        assert response.status == status
        if status != 400:  # Hypercorn's own answer, for what is not HTTP, has no body.
            assert response.headers["content-type"] == "application/problem+json"
            assert response.json["status"] == status
            assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "garbage",
    [
        b"\r\n\r\n",
        b"\x00" * 100,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"HELLO\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n: nothing\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 4000 + b"\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 50,
        b"\xff\xfe" * 9000,
    ],
)
async def test_what_is_not_http_is_refused_and_closed(garbage: bytes) -> None:
    async with running_server() as server:
        answer = await send(server.url, garbage, end=True)
        assert b" 500 " not in answer[:20]
        assert not server.service.counters.failures
        assert (await fetch(server.url, "/api/system/health")).status == 200


@pytest.mark.parametrize(("path", "end"), [("/api/system/health", b"}}"), ("/", b"</html>\n")])
async def test_a_connection_serves_several_requests_at_once_when_it_is_idle(path: str, end: bytes) -> None:
    async with running_server() as server, raw_connection(server.url) as stream:
        before = trio.current_time()
        for _ in range(5):
            await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            received = b""
            with trio.fail_after(5):
                while not received.endswith(end):
                    received += await stream.receive_some()
            assert b" 200 " in received
        assert trio.current_time() - before < 3


async def test_upgrade_to_another_path_is_refused_with_a_problem() -> None:
    async with running_server() as server:
        response = Response(await send(server.url, upgrade("/elsewhere"), end=True))
        assert response.status == 404
        assert "/ws" in response.json["detail"]
        assert (await fetch(server.url, "/api/system/health")).status == 200


@pytest.mark.parametrize(
    "broken",
    [
        upgrade().replace("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8"),
        upgrade().replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
        upgrade().replace("GET", "POST"),
        upgrade().replace("HTTP/1.1", "HTTP/1.0"),
        upgrade().replace("Upgrade: websocket", "Upgrade: telnet"),
    ],
)
async def test_broken_upgrades_are_refused(broken: str) -> None:
    async with running_server() as server:
        async with raw_connection(server.url) as stream:
            await stream.send_all(broken.encode())
            with trio.fail_after(5):
                assert 400 <= Response(await stream.receive_some()).status < 500
        assert not server.service.counters.failures


async def test_a_bad_websocket_key_does_not_get_through() -> None:
    async with running_server() as server:
        answer = await send(server.url, upgrade().replace("dGhlIHNhbXBsZSBub25jZQ==", "x\x7f"), end=True)
        assert b" 101 " not in answer[:30] or server.service.counters.websockets == 0
        assert not server.service.counters.failures


async def test_pages_of_other_origins_may_not_connect_unless_listed() -> None:
    async with running_server() as server:
        address = server.url.removeprefix("http://")
        for origin, status in (
            (server.url, 101),
            (server.url.upper(), 101),
            ("https://evil.example", 403),
            (f"https://{address}.evil.example", 403),
            ("null", 403),
            ("http://[", 403),
        ):
            async with raw_connection(server.url) as stream:
                await stream.send_all(upgrade("/ws", f"Origin: {origin}", host=address).encode())
                received = await stream.receive_some()
                assert int(received.split()[1]) == status, origin
    friends = ("https://friend.example",)
    async with running_server(allowed_origins=friends) as server, raw_connection(server.url) as stream:
        await stream.send_all(upgrade("/ws", "Origin: https://friend.example").encode())
        assert b" 101 " in await stream.receive_some()
    async with running_server(allowed_origins="*") as server, raw_connection(server.url) as stream:
        await stream.send_all(upgrade("/ws", "Origin: https://evil.example").encode())
        assert b" 101 " in await stream.receive_some()


async def test_a_full_server_says_so_and_serves_on_when_there_is_room() -> None:
    async with running_server(max_connections=2) as server, connected(server.url) as one:
        async with connected(server.url) as two:
            with pytest.raises(AssertionError) as caught:
                async with connected(server.url):
                    pass
            assert isinstance(caught.value.args[0], Closing) or "Closing" in str(caught.value)
            await one.expect(Ping(), Pong)
            await two.expect(Ping(), Pong)
            assert server.service.counters.refused["websockets_full"] == 1
            assert (await fetch(server.url, "/api/system/health")).status == 200
        with trio.fail_after(5):
            while server.service.counters.websockets > 1:
                await trio.lowlevel.checkpoint()
        async with connected(server.url) as three:
            await three.expect(Ping(), Pong)


async def test_above_the_limit_the_close_code_is_1013(monkeypatch) -> None:
    async with (
        running_server(max_connections=1) as server,
        connected(server.url),
        raw_connection(server.url) as stream,
    ):
        await stream.send_all(upgrade().encode())
        answer = await read_to_end(stream)
        assert b" 101 " in answer
        assert b'"closing"' in answer
        assert CloseCode.TRY_LATER.to_bytes(2, "big") + b"the server is full" in answer
    monkeypatch.setattr(front_door, "MAX_REFUSING", 0)
    async with running_server(max_connections=1) as server, connected(server.url):
        assert Response(await send(server.url, upgrade())).status == 503


async def test_half_open_connections_are_closed_after_a_deadline(monkeypatch) -> None:
    monkeypatch.setattr(front_door, "HEAD_SECONDS", 0.3)
    async with (
        running_server() as server,
        raw_connection(server.url) as silent,
        raw_connection(server.url) as slow,
    ):
        await slow.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n")
        before = trio.current_time()
        assert await read_to_end(silent) == b""
        assert await read_to_end(slow) == b""
        assert trio.current_time() - before < 5
        assert server.service.counters.refused["head_timeout"] == 2


async def test_a_slow_loris_is_cut_although_it_keeps_sending(monkeypatch) -> None:
    monkeypatch.setattr(front_door, "HEAD_SECONDS", 0.5)
    async with running_server() as server, raw_connection(server.url) as stream:
        async with trio.open_nursery() as nursery:

            async def drip() -> None:
                with suppress(trio.BrokenResourceError):
                    while True:
                        await stream.send_all(b"X")
                        await trio.sleep(0.05)

            nursery.start_soon(drip)
            assert await read_to_end(stream) == b""
            nursery.cancel_scope.cancel()
        assert server.service.counters.refused["head_timeout"] == 1


async def test_a_flood_of_half_open_connections_does_not_keep_clients_out(monkeypatch) -> None:
    monkeypatch.setattr(front_door, "HEAD_SECONDS", 600)
    async with running_server(stop_seconds=1) as server, trio.open_nursery() as nursery:

        async def hold(task_status: trio.TaskStatus[None]) -> None:
            async with raw_connection(server.url) as stream:
                await stream.send_all(b"G")
                task_status.started()
                await read_to_end_patiently(stream)

        for _ in range(3 * front_door.MAX_PENDING):
            await nursery.start(hold)
        async with in_lobby(server.url) as ada:
            await ada.expect(Ping(), Pong)
            assert server.service.counters.pending <= front_door.MAX_PENDING
            assert server.service.counters.refused["pending_evicted"] >= front_door.MAX_PENDING
        nursery.cancel_scope.cancel()


async def read_to_end_patiently(stream: trio.SocketStream) -> None:
    try:
        while await stream.receive_some():
            pass
    except trio.BrokenResourceError:
        pass


async def test_thousands_of_garbage_connections_leave_nothing_behind() -> None:
    async with running_server() as server, in_lobby(server.url) as ada:
        pieces = [
            b"",
            b"\x00",
            b"GET",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            upgrade().encode(),
            upgrade().encode() + b"\x81\x80",
        ]
        limit = trio.CapacityLimiter(50)

        async def one(number: int) -> None:
            async with limit, raw_connection(server.url) as stream:
                try:
                    await stream.send_all(pieces[number % len(pieces)])
                except trio.BrokenResourceError:
                    return

        before = (await fetch(server.url, "/api/system/info")).json["process"]
        with trio.fail_after(120):
            async with trio.open_nursery() as nursery:
                for number in range(3000):
                    nursery.start_soon(one, number)
            await ada.expect(Ping(), Pong)
            counters = server.service.counters
            while counters.pending or counters.web or counters.websockets > 1:
                await trio.lowlevel.checkpoint()
        after = (await fetch(server.url, "/api/system/info")).json["process"]
        assert after["descriptors"] <= before["descriptors"] + 5
        assert after["resident_bytes"] <= before["resident_bytes"] + 30_000_000
        assert not counters.failures
        assert len(server.service.sessions) == 1


async def test_stopping_tells_clients_and_closes_with_1001() -> None:
    async with trio.open_nursery() as nursery:
        readings: list[tuple[int, str | None, list[object]]] = []
        all_in = trio.Event()
        inside = 0

        async def stay(url: str) -> None:
            nonlocal inside
            async with in_lobby(url, name="guest") as client:
                inside += 1
                if inside == 20:
                    all_in.set()
                readings.append(await client.closed())

        async with running_server() as server:
            for _ in range(20):
                nursery.start_soon(stay, server.url)
            with trio.fail_after(10):
                await all_in.wait()
        stopped = trio.current_time()
    assert trio.current_time() - stopped < 5
    assert len(readings) == 20
    for code, reason, read in readings:
        assert code == CloseCode.GOING_AWAY
        assert "shutting down" in (reason or "")
        assert isinstance(read[-1], Closing)


async def test_stopping_is_bounded_with_clients_that_do_nothing() -> None:
    async with trio.open_nursery() as nursery, running_server(stop_seconds=0.5) as server:

        async def hold(task_status: trio.TaskStatus[None]) -> None:
            async with raw_websocket(server.url) as client:
                task_status.started()
                await read_to_end_patiently(client.stream)

        for _ in range(10):
            await nursery.start(hold)
        before = trio.current_time()
    assert trio.current_time() - before < 5
