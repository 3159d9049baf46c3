"""Attacks on the front door that a stranger can make with bytes alone: floods, paths, heads, origins, lines in the log."""

import io
import json
from contextlib import AsyncExitStack
from functools import partial

import pytest
import trio
from http_requests import Response, fetch, send, upgrade
from raw_client import raw_connection, read_to_end
from running_server import running_server
from wire_client import connected, in_lobby

import signaling.server
from signaling.address_limits import AddressLimits
from signaling.logs import logging_to
from signaling.messages import CloseCode, Ping, Pong
from signaling.request_head import MAX_HEAD_BYTES

#: What stands in files that must not be had through the page's folder.
SECRETS = (b"def make_web_app", b"root:x:", b"[project]", b"sqlite")

TRAVERSALS = (
    "/../web_app.py",
    "/./../web_app.py",
    "//../web_app.py",
    "/%2e%2e/web_app.py",
    "/%2E%2E%2Fweb_app.py",
    "/..%2fweb_app.py",
    "/..%5cweb_app.py",
    "/..\\web_app.py",
    "/%252e%252e%252fweb_app.py",
    "/%c0%ae%c0%ae/web_app.py",
    "/%ef%bc%8e%ef%bc%8e/web_app.py",
    "/....//web_app.py",
    "/x/../../web_app.py",
    "/x/%2e%2e/%2e%2e/web_app.py",
    "/..;/web_app.py",
    "/%2fetc/passwd",
    "//etc/passwd",
    "/%2f%2fetc%2fpasswd",
    "/../../../../../../../../etc/passwd",
    "/..%2f..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
    "/file:///etc/passwd",
    "/%00/../web_app.py",
    "/main.js%00.html",
    "/main.js/../../web_app.py",
    "/../../pyproject.toml",
    "/" + "../" * 500 + "etc/passwd",
    "/" + "a" * 5000,
    "/" + "%2e%2e%2f" * 500,
)


async def test_no_path_leads_out_of_the_pages_folder() -> None:
    async with running_server() as server:
        for path in TRAVERSALS:
            for target in (path, f"http://x{path}", f"{path}?x=/../../web_app.py"):
                raw = await send(server.url, f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                answer = Response(raw)
                assert answer.status in {400, 404}, target
                assert not any(secret in answer.body for secret in SECRETS), target
        assert not server.service.counters.failures
        assert (await fetch(server.url, "/main.js")).status == 200


async def test_an_address_that_holds_too_many_websockets_is_told_and_others_are_not(monkeypatch) -> None:
    limits = partial(AddressLimits, per_second=1000, exempt_loopback=False)
    monkeypatch.setattr(signaling.server, "AddressLimits", limits)
    async with running_server(max_connections_per_address=3) as server, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(server.url)) for _ in range(3)]
        async with raw_connection(server.url) as stream:
            await stream.send_all(upgrade().encode())
            await stream.send_eof()
            answer = await read_to_end(stream)
            assert CloseCode.TRY_LATER.to_bytes(2, "big") + b"3 connections are open" in answer
        for client in clients:
            await client.expect(Ping(), Pong)
        assert server.service.counters.refused["address_websockets"] == 1
        await clients.pop().socket.aclose()
        with trio.fail_after(10):
            while server.service.counters.websockets > 2:
                await trio.lowlevel.checkpoint()
        await (await stack.enter_async_context(connected(server.url))).expect(Ping(), Pong)


async def test_an_address_that_connects_too_often_is_refused_and_who_is_in_stays(monkeypatch) -> None:
    limits = partial(AddressLimits, per_second=0.001, exempt_loopback=False)
    monkeypatch.setattr(signaling.server, "AddressLimits", limits)
    async with running_server(max_connections_per_address=20) as server, in_lobby(server.url) as ada:
        answers = [await fetch(server.url, "/api/system/health") for _ in range(40)]
        assert [answer.status for answer in answers].count(200) == 19
        assert answers[-1].status == 429
        assert int(answers[-1].headers["retry-after"]) > 0
        assert answers[-1].json["status"] == 429
        turned_away = await send(server.url, upgrade(), end=True)
        assert CloseCode.TRY_LATER.to_bytes(2, "big") in turned_away
        assert b"connections a second" in turned_away
        await ada.expect(Ping(), Pong)
        assert server.service.counters.refused["address_rate"] == 22


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ((f"X-Big: {'a' * (MAX_HEAD_BYTES - 2000)}",), 101),
        ((f"X-Big: {'a' * MAX_HEAD_BYTES}",), 431),
        (tuple(f"X-{number}: a" for number in range(1000)), 101),
        (tuple(f"X-{number}: a" for number in range(3000)), 431),
        (("X: a\r\n b\r\n c",), 101),
        (("X-Nul: a\x00b",), 400),
        (("X Y: a",), 400),
        (("Host: two",), 400),
        (("Sec-WebSocket-Version: 8",), 400),
    ],
)
async def test_a_head_that_is_a_bomb_is_no_upgrade(lines: tuple[str, ...], status: int) -> None:
    """Up to the limit it is served; beyond it, or against the grammar, it is refused with whatever the web server says."""
    async with running_server() as server, in_lobby(server.url) as ada:
        async with raw_connection(server.url) as stream:
            with trio.fail_after(20):
                try:
                    await stream.send_all(upgrade("/ws", *lines).encode("latin-1"))
                    received = await stream.receive_some()
                except trio.BrokenResourceError:
                    received = b""
        if status == 101:
            assert b" 101 " in received.split(b"\r\n")[0]
        else:
            # With bytes of ours unread, the system may reset the connection before the answer is read.
            assert not received or 400 <= int(received.split()[1]) < 500
        await ada.expect(Ping(), Pong)
        assert not server.service.counters.failures


async def test_a_foreign_page_gets_in_by_no_spelling_of_an_origin() -> None:
    async with running_server() as server:
        address = server.url.removeprefix("http://")
        for origins in (
            (f"https://evil.example#{address}",),
            (f"https://evil.example?{address}",),
            (f"https://evil.example/{address}",),
            (f"https://{address}@evil.example",),
            (f"https://evil.example\\@{address}",),
            (f"https://{address}:80",),
            (f"{address}",),
            ("",),
            ("file://",),
            ("chrome-extension://abc",),
            (server.url, "https://evil.example"),
            ("https://evil.example", server.url),
            (f"{server.url}, https://evil.example",),
        ):
            lines = [f"Origin: {origin}" for origin in origins]
            answer = await send(server.url, upgrade("/ws", *lines, host=address), end=True)
            assert answer.split()[1] == b"403", origins
        assert server.service.counters.websockets == 0


EVIL = "evil\x1b[2J\x9b31m\u2028\u202e"
#: A line that would look like one of the server's own.
FORGED = "2026-01-01T00:00:00Z [error    ] forged"


@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_nothing_a_stranger_sends_forges_a_line_of_the_log(log_format: str) -> None:
    log = io.StringIO()
    with logging_to(log, level="debug", log_format=log_format):
        async with running_server() as server:
            nasty = EVIL.encode().decode("latin-1")
            for head in (
                upgrade("/ws", f"User-Agent: {nasty}", f"Origin: https://{nasty}.example"),
                upgrade("/ws", f"Sec-WebSocket-Protocol: {nasty}", f"X-Forwarded-For: {nasty}"),
                upgrade("/ws", f"Origin: https://evil.example\r\n {FORGED}"),
                upgrade(f"/ws?name=%0A{FORGED.replace(' ', '%20')}"),
                upgrade(f"/signal/%0A%1B[2J{FORGED.replace(' ', '%20')}/key"),
                upgrade("/nothing%0Ahere"),
                f"GET /%0A{FORGED.replace(' ', '%20')} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                f"GET / HTTP/1.1\r\nHost: {nasty}\r\nUser-Agent: {nasty}\r\nConnection: close\r\n\r\n",
            ):
                await send(server.url, head.encode("latin-1"), end=True)
            # Names may hold what is not a control: quotes, and things that look like a line.
            async with in_lobby(server.url, f"lobby {FORGED}", f'Ada" {FORGED[:40]}') as ada:
                for hostile in (EVIL, f"\n{FORGED}", f"\r{FORGED}", '","level":"error"'):
                    for kind, data in (
                        ("join", {"lobby": hostile, "name": "a"}),
                        ("join", {"lobby": "a", "name": hostile}),
                        (hostile, {}),
                        ("chat", {"text": hostile}),
                        ("offer", {"sdp": f"v=0\r\n{hostile}"}),
                        ("resume", {"resume_token": hostile}),
                        ("candidate", {"candidate": hostile}),
                    ):
                        await ada.send_text(json.dumps({"type": kind, "data": data}))
                await ada.request(Ping())
                await ada.socket.aclose(1000, f"bye{EVIL}\n{FORGED}")
    text = log.getvalue()
    assert "websocket ended" in text
    assert text.count("evil") >= 3  # it has been written, made harmless
    lines = text.splitlines()
    assert len(lines) == text.count("\n")  # splitlines() takes every character that may break a line
    assert not any(unsafe in text for unsafe in "\x1b\r\x07\x9b\u2028\u202e")
    assert not any(line.startswith(FORGED) for line in lines)
    if log_format == "json":
        assert all(isinstance(json.loads(line), dict) for line in lines)
