"""The API key stands in the address, and nowhere else: not in logs, answers, metrics, events or the store."""

import io
from urllib.parse import quote

import pytest
from http_requests import fetch, send, upgrade
from peer_client import connected, new_company, opened
from running_server import running_server

from signaling.event_mapping import event_to_mapping
from signaling.logs import logging_to


@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_the_key_is_written_nowhere(log_format: str) -> None:
    log = io.StringIO()
    with logging_to(log, level="debug", log_format=log_format):
        async with running_server() as server:
            service = server.service
            _, key = await new_company(server)
            wrong = "tr_wrong-key-that-is-a-secret-elsewhere"
            answers: list[str] = []
            async with connected(server, "ada", key) as ada:
                await ada.say_text("{")
                answers += [str(await ada.hear()), str(await ada.ask("config_request"))]
                await ada.say_text('{"type":"dance"}')
                answers += [str(await ada.hear()), repr(service.counters)]
                answers += [(await fetch(server.url, "/metrics")).body.decode()]
            for peer_id, given in (("ada", wrong), (key, wrong), ("relay", key), (key, key)):
                async with opened(server, peer_id, given) as client:
                    code, read = await client.closed()
                    assert code == (4001 if given == wrong else 4002)
                    answers.append(str(read))
            for given in (key, wrong):
                path = f"/signal/ada/{given}"
                requests = (
                    upgrade(path, "Content-Length: 5"),
                    upgrade(path).replace("dGhlIHNhbXBsZSBub25jZQ==", "bad"),
                    upgrade(path).replace("Version: 13", "Version: 7"),
                    upgrade(path + "/more"),
                    f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                    f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                    f"GET {path} HTTP/9.9\r\n\r\n",
                    f"GET {path}\r\n\r\n",
                    f"GET /SIGNAL/a%20b%2Fc/{given}?x=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                )
                for request in requests:
                    answers.append((await send(server.url, request, end=True)).decode("latin-1"))
            events = [str(event_to_mapping(stamped.event)) for stamped in service_events(service)]
            assert events
    written = log.getvalue()
    assert "ada" in written
    assert "peers" in written
    for secret in (key, quote(key), wrong):
        assert secret not in written
        for shown in (*answers, *events):
            assert secret not in shown


def service_events(service):
    return service.lobbies._bus.kept_after(0).events
