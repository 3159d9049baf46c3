"""Calls to a real server on this machine that answers well, badly, slowly, or not at all."""

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import trio
from certificates import self_signed
from http_peer import (
    cut_body,
    cut_head,
    drip,
    endless_head,
    endless_hints,
    flood,
    hang,
    http_peer,
    nonsense,
    reset,
    respond,
)

from signaling.outbound.calls import OUTBOUND_LIMITS, Outbound, OutboundLimits, open_outbound
from signaling.outbound.circuit_breaker import BreakerState, CircuitBreaker, CircuitOpenError
from signaling.outbound.errors import (
    OutboundError,
    RedirectRefusedError,
    RetryableStatusError,
    StatusError,
    TargetRefusedError,
    UnreachableError,
)
from signaling.outbound.retry import RetryableError

#: Long enough for a busy machine to answer, short enough to wait for when nothing answers.
IMPATIENT = replace(OUTBOUND_LIMITS, total_seconds=0.3, body_seconds=0.1)
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
PATIENCE_SECONDS = 100


@asynccontextmanager
async def calling(limits: OutboundLimits = OUTBOUND_LIMITS, **more: object) -> AsyncIterator[Outbound]:
    with trio.fail_after(PATIENCE_SECONDS):
        # To read all the certificates of the world takes longer than the rest of a test.
        more.setdefault("ssl_context", ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        async with open_outbound(limits=limits, now=lambda: NOW, **more) as outbound:
            yield outbound


async def post(
    outbound: Outbound, url: str, breaker: CircuitBreaker | None = None, *, body: bytes = b"{}", trusted=True
) -> None:
    await outbound.post(
        url,
        body,
        headers={"Content-Type": "application/json"},
        breaker=breaker or CircuitBreaker("peer"),
        trusted=trusted,
    )


async def test_a_call_says_who_makes_it_and_reuses_its_connection() -> None:
    async with http_peer(respond(200, b"thanks"), respond(204)) as peer, calling() as outbound:
        await post(outbound, f"{peer.url}?a=b#c", body=b'{"a":1}')
        await post(outbound, peer.url, body=b"")
    assert peer.connections == 1
    assert [(each.method, each.target, each.body) for each in peer.heard] == [
        ("POST", "/hook?a=b", b'{"a":1}'),
        ("POST", "/hook", b""),
    ]
    headers = peer.heard[0].headers
    assert headers["host"] == f"127.0.0.1:{peer.port}"
    assert headers["content-type"] == "application/json"
    assert headers["content-length"] == "7"
    assert headers["user-agent"].startswith("trio-relay/")
    assert peer.heard[1].headers["content-length"] == "0"


async def test_a_port_at_which_nobody_listens_is_unreachable() -> None:
    async with http_peer() as peer:
        url = peer.url
    async with calling() as outbound:
        with pytest.raises(UnreachableError, match=r"^http://127\.0\.0\.1:\d+: ") as fault:
            await post(outbound, url)
    assert isinstance(fault.value, RetryableError)
    assert "hook" not in str(fault.value)


@pytest.mark.parametrize("answer", [reset, nonsense, cut_head, endless_head])
async def test_an_answer_that_is_none_is_worth_another_attempt(answer) -> None:
    async with http_peer(answer) as peer, calling() as outbound:
        with pytest.raises(UnreachableError):
            await post(outbound, peer.url)
        await post(outbound, peer.url)


@pytest.mark.parametrize("answer", [hang, endless_hints])
async def test_who_does_not_answer_in_time_is_unreachable(answer) -> None:
    async with http_peer(answer) as peer, calling(IMPATIENT) as outbound:
        with pytest.raises(UnreachableError, match=r"did not answer within 0\.3 s"):
            await post(outbound, peer.url)


async def test_a_pause_within_the_answer_may_not_be_long() -> None:
    limits = replace(OUTBOUND_LIMITS, read_seconds=0.1)
    async with http_peer(hang) as peer, calling(limits) as outbound:
        with pytest.raises(UnreachableError, match="no answer in time"):
            await post(outbound, peer.url)


@pytest.mark.parametrize("answer", [cut_body, drip, flood(200)])
async def test_once_it_is_taken_a_bad_body_costs_the_connection_only(answer) -> None:
    breaker = CircuitBreaker("peer")
    async with http_peer(answer) as peer, calling(IMPATIENT) as outbound:
        await post(outbound, peer.url, breaker)
        await post(outbound, peer.url, breaker)
    assert peer.connections == 2
    assert breaker.statistics().succeeded == 2


async def test_the_endless_body_of_a_failure_is_not_waited_for() -> None:
    async with http_peer(flood(500)) as peer, calling() as outbound:
        with pytest.raises(RetryableStatusError, match="answered 500 Internal Server Error"):
            await post(outbound, peer.url)


@pytest.mark.parametrize(
    ("status", "header", "seconds"),
    [
        (500, None, None),
        (503, "7", 7.0),
        (429, "120", 120.0),
        (429, "Sat, 31 Jan 2026 12:00:30 GMT", 30.0),
        (429, "Sat, 31 Jan 2026 11:00:00 GMT", 0.0),
        (429, "Sat, 31 Jan 2026 12:00:30 -0000", 30.0),
        (503, "soon", None),
        (503, "-5", None),
        (503, "Sat, 99 Jan 2026 12:00:30 GMT", None),
        (408, None, None),
        (599, None, None),
    ],
)
async def test_some_failures_are_worth_another_attempt_and_say_when(status, header, seconds) -> None:
    more = {} if header is None else {"Retry_After": header}
    async with http_peer(respond(status, **more)) as peer, calling() as outbound:
        with pytest.raises(RetryableStatusError) as fault:
            await post(outbound, peer.url)
    assert fault.value.status == status
    assert fault.value.retry_after == seconds


@pytest.mark.parametrize("status", [400, 401, 404, 410, 413])
async def test_other_failures_are_final_and_no_fault_of_the_hosts(status) -> None:
    breaker = CircuitBreaker("peer", failures=1)
    async with http_peer(respond(status)) as peer, calling() as outbound:
        with pytest.raises(StatusError) as fault:
            await post(outbound, peer.url, breaker)
    assert not isinstance(fault.value, RetryableError)
    assert breaker.state is BreakerState.CLOSED


@pytest.mark.parametrize("status", [301, 302, 303, 304, 307, 308])
async def test_redirects_are_not_followed(status) -> None:
    async with (
        http_peer() as other,
        http_peer(respond(status, location=other.url)) as peer,
        calling() as outbound,
    ):
        with pytest.raises(RedirectRefusedError, match="redirects are not followed: use the final URL"):
            await post(outbound, peer.url)
    assert other.heard == []
    assert len(peer.heard) == 1


async def test_a_certificate_of_nobodys_is_not_accepted(tmp_path) -> None:
    server, trusting = self_signed(tmp_path, "127.0.0.1")
    async with http_peer(ssl_context=server) as peer:
        async with calling() as wary:
            with pytest.raises(UnreachableError, match="certificate verify failed"):
                await post(wary, peer.url)
        async with calling(ssl_context=trusting) as outbound:
            await post(outbound, peer.url)
    assert len(peer.heard) == 1


async def test_a_certificate_of_another_host_is_not_accepted(tmp_path) -> None:
    server, trusting = self_signed(tmp_path, "127.0.0.2")
    async with http_peer(ssl_context=server) as peer, calling(ssl_context=trusting) as outbound:
        with pytest.raises(UnreachableError, match=r"not valid for .127\.0\.0\.1."):
            await post(outbound, peer.url)
    assert peer.heard == []


async def test_five_failures_open_the_breaker_and_a_probe_closes_it(mock_clock) -> None:
    breaker = CircuitBreaker("peer")
    async with http_peer(*[respond(500)] * 5) as peer, calling() as outbound:
        for _ in range(5):
            with pytest.raises(RetryableStatusError):
                await post(outbound, peer.url, breaker)
        with pytest.raises(CircuitOpenError, match="suspended after repeated failures") as refused:
            await post(outbound, peer.url, breaker)
        assert refused.value.retry_after == 30
        assert len(peer.heard) == 5
        mock_clock.jump(30)
        peer.answers.append(respond(500))
        with pytest.raises(RetryableStatusError):
            await post(outbound, peer.url, breaker)
        with pytest.raises(CircuitOpenError):
            await post(outbound, peer.url, breaker)
        mock_clock.jump(30)
        await post(outbound, peer.url, breaker)
        assert breaker.state is BreakerState.CLOSED
        await post(outbound, peer.url, breaker)
    assert len(peer.heard) == 8


async def test_only_one_call_is_the_probe(mock_clock) -> None:
    breaker = CircuitBreaker("peer", failures=1)
    async with http_peer(respond(500), hang) as peer, calling() as outbound:
        with pytest.raises(RetryableStatusError):
            await post(outbound, peer.url, breaker)
        mock_clock.jump(30)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(post, outbound, peer.url, breaker)
            await peer.wait_heard(2)
            assert breaker.state is BreakerState.HALF_OPEN
            with pytest.raises(CircuitOpenError):
                await post(outbound, peer.url, breaker)
            # What is cancelled tells nothing: the next call is the probe.
            nursery.cancel_scope.cancel()
        await post(outbound, peer.url, breaker)
    assert breaker.state is BreakerState.CLOSED


async def test_what_cannot_be_sent_is_said_and_not_tried_again() -> None:
    breaker = CircuitBreaker("peer", failures=1)
    async with http_peer() as peer, calling() as outbound:
        with pytest.raises(OutboundError, match="cannot be sent") as fault:
            await outbound.post(peer.url, b"", headers={"x": "a\r\nb: c"}, breaker=breaker, trusted=True)
        assert not isinstance(fault.value, RetryableError)
    assert peer.heard == []
    assert breaker.state is BreakerState.CLOSED


# Whose URL it is.


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "a.localhost", "10.0.0.1", "169.254.169.254", "[::1]", "[fd00::1]", "[::ffff:10.0.0.1]",
     "[64:ff9b::7f00:1]", "0.0.0.0", "127.1", "2130706433"],
)  # fmt: skip
async def test_somebody_elses_url_may_not_name_a_private_address(host) -> None:
    async with calling() as outbound:
        with pytest.raises(TargetRefusedError, match="not an address of the public Internet"):
            await post(outbound, f"http://{host}:9/", trusted=False)


async def test_nor_a_name_that_leads_to_one() -> None:
    asked: list[str] = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ("127.0.0.1",)

    breaker = CircuitBreaker("peer", failures=1)
    async with http_peer() as peer, calling(resolve=resolve) as outbound:
        url = f"http://hooks.example.org:{peer.port}/hook"
        with pytest.raises(TargetRefusedError, match=r"hooks\.example\.org is at 127\.0\.0\.1"):
            await post(outbound, url, breaker, trusted=False)
        assert peer.connections == 0
        assert breaker.state is BreakerState.CLOSED
        # The operator's own is connected there, and that connection is not used for anybody else.
        await post(outbound, url, trusted=True)
        with pytest.raises(TargetRefusedError):
            await post(outbound, url, trusted=False)
    assert [each.headers["host"] for each in peer.heard] == [f"hooks.example.org:{peer.port}"]
    assert asked == ["hooks.example.org"] * 3


async def test_a_name_that_changes_its_mind_is_judged_by_the_address_that_is_connected() -> None:
    answers = [("8.8.8.8", "127.0.0.1"), ("127.0.0.1",)]

    async def resolve(host: str, port: int) -> Sequence[str]:
        return answers.pop(0)

    limits = replace(OUTBOUND_LIMITS, connect_seconds=0.1)
    async with http_peer() as peer, calling(limits, resolve=resolve) as outbound:
        # Of two addresses the private one is not tried, whatever becomes of the public one.
        with pytest.raises(UnreachableError):
            await post(outbound, f"http://hooks.example.org:{peer.port}/", trusted=False)
        assert len(answers) == 1
        assert peer.connections == 0


async def test_a_name_that_cannot_be_resolved_is_unreachable() -> None:
    async def unknown(host: str, port: int) -> Sequence[str]:
        raise OSError("no such name")

    async def nowhere(host: str, port: int) -> Sequence[str]:
        return ()

    async def mute(host: str, port: int) -> Sequence[str]:
        await trio.sleep_forever()
        return ()

    for resolve, text in (
        (unknown, "no such name"),
        (nowhere, "has no address"),
        (mute, "not resolved in time"),
    ):
        limits = replace(OUTBOUND_LIMITS, connect_seconds=0.1)
        async with calling(limits, resolve=resolve) as outbound:
            with pytest.raises(UnreachableError, match=text):
                await post(outbound, "http://hooks.example.org/")


async def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return ("127.0.0.2", "127.0.0.1")

    async with http_peer() as peer, calling(resolve=resolve) as outbound:
        await post(outbound, f"http://hooks.example.org:{peer.port}/")
    assert len(peer.heard) == 1


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("ftp://example.org/", "begins with http"),
        ("//example.org/", "begins with http"),
        ("http:///x", "names a host"),
        ("http://user:secret@example.org/", "user name or password"),
        ("http://example.org:0/", "port 0"),
        ("http://[::1/", "not a URL"),
        ("http://example.org/" + "x" * 3000, "longer than"),
    ],
)
async def test_what_is_no_url_to_call_is_refused(url, text) -> None:
    async with calling() as outbound:
        with pytest.raises(TargetRefusedError, match=text) as fault:
            await post(outbound, url)
    assert "secret" not in str(fault.value)
