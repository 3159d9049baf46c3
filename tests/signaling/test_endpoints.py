"""From a path to an endpoint, and what that may know of the request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.endpoints import MAX_QUERY_FIELDS, Endpoint, RequestInfo, Routes, request_info
from signaling.request_head import RequestHead
from signaling.websocket import WebSocket, WebSocketLimits

LIMITS = WebSocketLimits(max_message_bytes=1000, send_queue_bytes=1000)


async def serve(socket: WebSocket, request: RequestInfo) -> None:
    raise NotImplementedError


def endpoint(pattern: str, **more: object) -> Endpoint:
    return Endpoint(pattern, pattern, serve, LIMITS, **more)


ROUTES = Routes(
    [endpoint("/ws"), endpoint("/ws/admin/events"), endpoint("/signal/{peer_id}/{company_api_key}")]
)


@pytest.mark.parametrize(
    ("path", "pattern", "parameters"),
    [
        (b"/ws", "/ws", {}),
        (b"/%77s", "/ws", {}),
        (b"/ws/admin/events", "/ws/admin/events", {}),
        (
            b"/signal/ada/k-1",
            "/signal/{peer_id}/{company_api_key}",
            {"peer_id": "ada", "company_api_key": "k-1"},
        ),
        (
            b"/signal/a%20b%2Fc/%C3%A9+",
            "/signal/{peer_id}/{company_api_key}",
            {"peer_id": "a b/c", "company_api_key": "\u00e9+"},
        ),
        (
            b"/signal/%FF%00/%2e%2e",
            "/signal/{peer_id}/{company_api_key}",
            {"peer_id": "\ufffd\x00", "company_api_key": ".."},
        ),
        (b"/signal/%zz/x", "/signal/{peer_id}/{company_api_key}", {"peer_id": "%zz", "company_api_key": "x"}),
    ],
)
def test_a_path_leads_to_its_endpoint(path: bytes, pattern: str, parameters: dict[str, str]) -> None:
    found = ROUTES.find(path)
    assert found is not None
    assert (found[0].pattern, found[1]) == (pattern, parameters)


@pytest.mark.parametrize(
    "path",
    [b"", b"/", b"/ws/", b"//ws", b"/wsx", b"/WS", b"ws", b"/ws/admin", b"/signal/a", b"/signal/a/", b"/signal//k",
     b"/signal/a/b/c", b"/ws%2Fadmin%2Fevents", b"http://x/ws", b"*", b"/signal/../ws"],
)  # fmt: skip
def test_other_paths_lead_nowhere(path: bytes) -> None:
    found = ROUTES.find(path)
    assert found is None or found[0].pattern.startswith("/signal/")
    assert path == b"/signal/../ws" or found is None


@given(st.binary(max_size=60))
def test_any_path_leads_somewhere_or_nowhere(path: bytes) -> None:
    ROUTES.find(path)


@pytest.mark.parametrize("pattern", ["", "/", "ws", "/ws/", "//x"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="is not a pattern"):
        Routes([endpoint(pattern)])


def test_two_at_one_path_are_refused() -> None:
    with pytest.raises(ValueError, match="another one is at /ws"):
        Routes([endpoint("/ws"), endpoint("/ws")])


def info_of(head: RequestHead, at: Endpoint, **parameters: str) -> RequestInfo:
    return request_info(
        at, parameters, head, client_address="203.0.113.5", peer_address="10.0.0.1", correlation_id="c-1"
    )


def test_an_endpoint_sees_the_headers_it_asks_for_and_the_query_decoded() -> None:
    head = RequestHead(
        is_upgrade=True,
        path=b"/ws",
        query=b"lobby=a%20b+c&lobby=second&empty=&flag&%FF=x",
        headers={"authorization": "Bearer k", "cookie": "c", "host": "h"},
    )
    info = info_of(head, endpoint("/ws", headers=frozenset({"authorization", "origin"})))
    assert info.headers == {"authorization": "Bearer k"}
    assert info.query == {"lobby": "a b c", "empty": "", "flag": "", "\ufffd": "x"}
    assert (info.client_address, info.peer_address, info.correlation_id) == ("203.0.113.5", "10.0.0.1", "c-1")


def test_of_a_long_query_the_first_fields_are_looked_at() -> None:
    head = RequestHead(query=b"&".join(b"f%d=1" % number for number in range(5000)))
    assert len(info_of(head, endpoint("/ws")).query) == MAX_QUERY_FIELDS


def test_a_request_does_not_show_what_may_be_secret() -> None:
    head = RequestHead(query=b"key=secret", headers={"authorization": "secret"})
    info = info_of(head, endpoint("/x/{key}", headers=frozenset({"authorization"})), key="secret")
    assert info.parameters == {"key": "secret"}
    assert "secret" not in repr(info)
    assert "203.0.113.5" in repr(info)
