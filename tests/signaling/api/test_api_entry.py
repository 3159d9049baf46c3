"""What every request passes: limits, bodies, addresses, correlation; and what strangers try to get past it."""

import json

import h11
import pytest
from api_client import ADMIN_TOKEN, Api, assert_problem, open_api
from otlp_collector import attributes_of, collector
from raw_client import raw_connection, read_to_end

from signaling.api import bodies, system
from signaling.problem_codes import PROBLEM_CODES, ProblemCode, code_of_status
from signaling.storage import StoreUnavailableError
from signaling.storage.memory import MemoryStore


async def raw(api: Api, request: bytes) -> tuple[h11.Response, bytes]:
    """Send these bytes; return the answer's head and its body."""
    async with raw_connection(api.server.url) as stream:
        await stream.send_all(request)
        received = await read_to_end(stream)
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="POST", target="/", headers=[("host", "x")]))
    client.receive_data(received)
    head = client.next_event()
    assert isinstance(head, h11.Response), received
    body = b""
    while isinstance(piece := client.next_event(), h11.Data):
        body += piece.data
    return head, body


def code_in(body: bytes) -> str:
    return json.loads(body)["code"]


async def test_answers_say_how_many_requests_are_left_until_there_are_none() -> None:
    async with open_api(api_requests_per_minute=4) as api:
        _, key = await api.company(requests_per_minute=2)
        for left in (2, 1, 0):
            answer = await api.ask("GET", "/api/nothing", key=None)
            assert answer.status_code == 404
            assert answer.headers["x-ratelimit-limit"] == "4"
            assert answer.headers["x-ratelimit-remaining"] == str(left)
            assert 0 < int(answer.headers["x-ratelimit-reset"]) <= 60
            assert "retry-after" not in answer.headers
        answer = await api.ask("POST", "/api/sessions", key=None)
        assert_problem(answer, ProblemCode.RATE_LIMITED)
        assert 1 <= int(answer.headers["retry-after"]) <= 15
        assert answer.headers["x-ratelimit-remaining"] == "0"
        # A company has an allowance of its own, and machines that watch are never refused.
        for left in (1, 0):
            answer = await api.ask("GET", "/api/lobbies", key=key)
            assert (answer.status_code, answer.headers["x-ratelimit-limit"]) == (200, "2")
            assert answer.headers["x-ratelimit-remaining"] == str(left)
        assert_problem(await api.ask("GET", "/api/lobbies", key=key), ProblemCode.RATE_LIMITED)
        for path in ("/api/system/health", "/api/system/live", "/api/system/ready", "/metrics", "/"):
            answer = await api.ask("GET", path, key=None)
            assert answer.status_code == 200
            assert "x-ratelimit-limit" not in answer.headers
        assert api.server.service.access.api_limits.refused == 2


async def test_clients_of_a_trusted_proxy_are_told_apart_and_others_cannot_pretend() -> None:
    async with open_api(api_requests_per_minute=2, trusted_proxies=["127.0.0.1"]) as api:
        for address in ("192.0.2.1", "192.0.2.2, 10.0.0.1", "192.0.2.3"):
            for left in (1, 0):
                answer = await api.ask("GET", "/api/lobbies", key=None, headers={"X-Forwarded-For": address})
                assert answer.headers["x-ratelimit-remaining"] == str(left)
        # Whatever stands further left anybody may have made up.
        forged = {"X-Forwarded-For": "198.51.100.9, 192.0.2.1"}
        assert_problem(
            await api.ask("GET", "/api/lobbies", key=None, headers=forged), ProblemCode.RATE_LIMITED
        )
        await api.ask("POST", "/api/lobbies", {"name": "a"}, headers={"X-Forwarded-For": "203.0.113.5"})
        entries = await api.server.service.store.audit_before(before=None, limit=1)
        assert entries[0].actor == "admin@203.0.113.5"
    async with open_api(api_requests_per_minute=2) as api:
        for left in (1, 0):
            answer = await api.ask(
                "GET", "/api/lobbies", key=None, headers={"X-Forwarded-For": f"192.0.2.{left}"}
            )
            assert answer.headers["x-ratelimit-remaining"] == str(left)


async def test_bodies_are_bounded_in_size_kind_and_depth() -> None:
    async with open_api() as api:
        for body, kind, code in [
            (b"{" + b" " * bodies.MAX_BODY_BYTES + b"}", "application/json", ProblemCode.TOO_LARGE),
            (b'{"name":"den"}', "text/plain", ProblemCode.UNSUPPORTED_MEDIA_TYPE),
            (b'{"name":"den"}', "application/json; charset=utf-16", ProblemCode.UNSUPPORTED_MEDIA_TYPE),
            (b"name=den", "application/x-www-form-urlencoded", ProblemCode.UNSUPPORTED_MEDIA_TYPE),
            (b"{", "application/json", ProblemCode.INVALID_JSON),
            (b"\xff\xfe", "application/json", ProblemCode.INVALID_JSON),
            (b'{"name":NaN}', "application/json", ProblemCode.INVALID_JSON),
            (b'{"name":"\\ud800"}', "application/json", ProblemCode.INVALID_JSON),
            (b"[" * 60_000, "application/json", ProblemCode.INVALID_JSON),
            (b"[" * 30_000 + b"]" * 30_000, "application/json", ProblemCode.INVALID_JSON),
            (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "application/json", ProblemCode.INVALID_JSON),
            (b'{"name":' + b"9" * 5_000 + b"}", "application/json", ProblemCode.INVALID_JSON),
            (b"", "application/json", ProblemCode.INVALID_MESSAGE),
        ]:
            answer = await api.ask("POST", "/api/lobbies", content=body, headers={"Content-Type": kind})
            assert_problem(answer, code)
        compressed = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        answer = await api.ask("POST", "/api/lobbies", content=b"\x1f\x8b", headers=compressed)
        assert_problem(answer, ProblemCode.UNSUPPORTED_MEDIA_TYPE)

        async def endless():
            for _ in range(10):
                yield b" " * 16_384

        answer = await api.ask(
            "POST", "/api/lobbies", content=endless(), headers={"Content-Type": "application/json"}
        )
        assert_problem(answer, ProblemCode.TOO_LARGE)
        assert len(api.server.service.lobbies) == 0
        assert not api.server.service.counters.failures
        answer = await api.ask(
            "POST",
            "/api/lobbies",
            content=b'{"name":"den"}',
            headers={"Content-Type": 'Application/JSON; charset="UTF-8"'},
        )
        assert answer.status_code == 201


async def test_a_body_that_trickles_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.2)
    async with open_api() as api:
        head, body = await raw(
            api,
            b"POST /api/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
        )
        assert (head.status_code, code_in(body)) == (408, "request_timeout")
        assert (b"connection", b"close") in head.headers
        assert len(api.server.service.sessions) == 0
        # Who leaves in the middle of a body is nobody's failure.
        async with raw_connection(api.server.url) as stream:
            await stream.send_all(b"POST /api/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        # The next request is served, on the connection that there is.
        await api.get("/api/lobbies")
        assert not api.server.service.counters.failures


async def test_an_answer_of_its_own_correlation_is_given_whatever_was_sent() -> None:
    async with open_api() as api:
        forged = {"X-Correlation-ID": "c-forged", "X-Request-ID": "x\ty", "traceparent": "00-zz-zz-01"}
        content = await api.refused("GET", "/api/sessions/s-none", code=ProblemCode.NOT_FOUND, headers=forged)
        assert content["correlation_id"] != "c-forged"


async def test_traces_say_which_route_was_asked_and_not_with_what() -> None:
    with collector() as collecting:
        async with open_api(otlp_endpoint=collecting.url) as api:
            await api.refused("GET", "/api/sessions/s-secret?x=hidden", code=ProblemCode.NOT_FOUND)
            answer = await api.http.request("BREW", "/api/sessions")
            assert answer.status_code == 405
        of_http = [attributes_of(each) for each in collecting.spans if each.name == "request"]
        asked = [each for each in of_http if each.get("relay.method") == "GET"]
        assert [(each["relay.route"], each["relay.status"]) for each in asked] == [
            ("/api/sessions/{session_id}", 404)
        ]
        assert asked[0]["relay.connection"].startswith("c-")
        assert "hidden" not in str(of_http)
        assert "BREW" not in str(of_http)


async def test_ids_are_looked_up_and_nothing_else() -> None:
    async with open_api() as api:
        for hostile in [
            "..%2f..%2fadmin%2faudit",
            "%2e%2e",
            "..%5c..%5cetc",
            "%00",
            "a%0d%0aSet-Cookie:%20x=1",
            "%F0%9F%98%80",
            "'%20OR%201=1--",
            "x" * 65,
            "${jndi:ldap:%2f%2fx}",
            "%ff%fe",
        ]:
            for path in (f"/api/lobbies/{hostile}", f"/api/sessions/{hostile}", f"/api/companies/{hostile}"):
                answer = await api.ask("GET", path)
                assert_problem(answer, ProblemCode.NOT_FOUND)
                assert "set-cookie" not in answer.headers
        await api.refused("GET", "/api/lobbies/../../admin", code=ProblemCode.NOT_FOUND)
        assert not api.server.service.counters.failures


async def test_texts_of_strangers_forge_no_line_of_the_log_and_no_entry_of_the_audit(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with open_api() as api:
        await api.refused(
            "POST", "/api/lobbies", {"name": "a\n2026 [info] forged"}, code=ProblemCode.INVALID_MESSAGE
        )
        await api.refused("DELETE", "/api/lobbies/l-none?reason=a%0Aforged", code=ProblemCode.INVALID_MESSAGE)
        content = await api.refused(
            "POST", "/api/lobbies", {"name": "a", "x\n\x1b[31m": 1}, code=ProblemCode.INVALID_MESSAGE
        )
        assert "\x1b" not in content["field"]
        assert "\n" not in content["field"]
        await api.do("DELETE", "/api/admin/names?name=a%0Aforged%1b%5b2J", status=404)
        entry = (await api.audited())[0]
        assert entry["target"] == "a\\u000aforged\\u001b[2J"
        # A secret that is put where it does not belong is not kept.
        await api.do("PUT", "/api/admin/drain", {"reason": "key tr_" + "k" * 43})
        assert "kkkk" not in json.dumps((await api.audited())[0])
        assert "forged\n" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 2\r\nContent-Length: 3\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Content-Length: +2\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"X: a\r\n b\x00\r\n",
    ],
)
async def test_heads_that_could_hide_a_second_request_serve_one_at_most(head: bytes) -> None:
    async with open_api() as api:
        async with raw_connection(api.server.url) as stream:
            await stream.send_all(
                b"POST /api/sessions HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n{}"
                b"POST /api/sessions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            )
            await stream.send_eof()
            received = await read_to_end(stream)
        assert received.count(b"HTTP/1.1 201") == 0, received
        assert len(api.server.service.sessions) == 0


async def test_several_credentials_at_once_are_none() -> None:
    async with open_api() as api:
        _, key = await api.company()
        credentials = [("Authorization", f"Bearer {key}"), ("Authorization", f"Bearer {ADMIN_TOKEN}")]
        answer = await api.http.get("/api/companies", headers=credentials)
        assert_problem(answer, ProblemCode.UNAUTHORIZED)
        for scheme in ("Basic", "Digest", "bearer\t", "Bearer Bearer"):
            answer = await api.http.get(
                "/api/companies", headers={"Authorization": f"{scheme} {ADMIN_TOKEN}"}
            )
            assert_problem(answer, ProblemCode.UNAUTHORIZED)
        answer = await api.http.get("/api/companies", auth=("admin", ADMIN_TOKEN))
        assert answer.status_code == 200


class FailingStore(MemoryStore):
    failing = False

    async def commit(self, *changes: object) -> None:
        if self.failing:
            raise StoreUnavailableError("the database does not answer")
        await super().commit(*changes)

    async def audit_before(self, *, before: int | None, limit: int):
        if self.failing:
            raise StoreUnavailableError("the database does not answer")
        return await super().audit_before(before=before, limit=limit)


async def test_without_the_database_restrictions_hold_and_nothing_is_acknowledged() -> None:
    store = FailingStore()
    async with open_api(store=store) as api:
        company_id, key = await api.company()
        lobby = await api.do("POST", "/api/lobbies", {"name": "den", "persistent": True}, status=201)
        store.failing = True
        unavailable = ProblemCode.STORAGE_UNAVAILABLE
        await api.refused("POST", "/api/lobbies", {"name": "new"}, code=unavailable)
        await api.refused("POST", "/api/companies", {"name": "New"}, code=unavailable)
        await api.refused("PATCH", f"/api/companies/{company_id}", {"enabled": False}, code=unavailable)
        await api.refused("GET", "/api/lobbies", code=ProblemCode.UNAUTHORIZED, key=key)
        await api.refused("DELETE", f"/api/lobbies/{lobby['lobby_id']}", code=unavailable)
        await api.refused("GET", "/api/admin/audit", code=unavailable)
        assert (await api.get("/api/lobbies"))["lobbies"] == []
        await api.refused("DELETE", f"/api/companies/{company_id}", code=unavailable)
        # What needs no database goes on, and the log has what the audit could not keep.
        await api.do("PUT", "/api/admin/drain", {})
        assert api.server.service.access.audit.undurable >= 3
        store.failing = False
        await api.do("DELETE", f"/api/companies/{company_id}", status=204)
        assert (await store.load()).companies == ()
        assert not api.server.service.counters.failures


async def test_a_fault_of_ours_is_answered_counted_and_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("tr_secret of somebody")

    async with open_api() as api:
        monkeypatch.setattr(system, "process_statistics", fail)
        answer = await api.ask("GET", "/api/system/info")
        assert_problem(answer, ProblemCode.INTERNAL)
        assert "secret" not in answer.text
        assert "x-ratelimit-limit" in answer.headers
        # Asked on the same connection, so after the other request is over.
        metrics = (await api.http.get("/metrics")).text
        assert 'signaling_http_requests_total{status="500"} 1.0' in metrics
        assert 'signaling_failures_total{task="http"} 1.0' in metrics
        assert api.server.service.counters.failures == {"http": 1}
        monkeypatch.undo()
        assert (await api.ask("GET", "/api/system/info")).status_code == 200


async def test_methods_there_are_not_are_told_from_paths_there_are_not() -> None:
    async with open_api() as api:
        answer = await api.ask("GET", "/api/tokens")
        assert_problem(answer, ProblemCode.METHOD_NOT_ALLOWED)
        assert answer.headers["allow"] == "POST"
        answer = await api.ask("PUT", "/api/lobbies/l-x")
        assert_problem(answer, ProblemCode.METHOD_NOT_ALLOWED)
        assert answer.headers["allow"] == "DELETE, GET, PATCH"
        answer = await api.ask("GET", "/api/nothing")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_every_code_has_a_status_that_has_a_code() -> None:
    assert set(PROBLEM_CODES) == set(ProblemCode)
    for status, meaning in PROBLEM_CODES.values():
        assert 400 <= status < 600
        assert PROBLEM_CODES[code_of_status(status)][0] // 100 == status // 100
        assert meaning.endswith(".")
