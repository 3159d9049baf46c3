"""All who hear the bus, composed: what is published reaches each of them, to the very end, and the feed is guarded."""

import json

import pytest
import structlog
import trio
import trio.testing
from http_peer import HttpPeer, http_peer
from pydantic import SecretStr
from recording_store import RecordingStore

from signaling import events
from signaling.auth import AdminGate
from signaling.counters import Counters
from signaling.endpoints import RefusedUpgradeError, RequestInfo
from signaling.event_store import RESTART_GAP
from signaling.eventing import Eventing, open_eventing
from signaling.settings import WebhookTarget
from signaling.webhook_endpoint import webhook_endpoints
from signaling.websocket import WebSocketLimits

TOKEN = "a-token-of-some-length"
LIMITS = WebSocketLimits(max_message_bytes=100_000, send_queue_bytes=1_000_000)
PATIENCE_SECONDS = 20


def eventing(store: RecordingStore, peer: HttpPeer | None = None, *, event_seq: int = 0, flush: float = 5.0):
    targets = [] if peer is None else [WebhookTarget(url=peer.url, secret=SecretStr("0123456789abcdef"))]
    return open_eventing(
        store=store,
        event_seq=event_seq,
        admin_gate=AdminGate(token=TOKEN, listens_on="0.0.0.0"),
        counters=Counters(),
        feed_limits=LIMITS,
        webhooks=webhook_endpoints(targets),
        flush_seconds=flush,
    )


async def test_what_is_published_is_logged_kept_and_posted_to_the_very_end() -> None:
    store = RecordingStore()
    with structlog.testing.capture_logs() as lines, trio.fail_after(PATIENCE_SECONDS):
        async with http_peer() as peer:
            async with eventing(store, peer) as made:
                made.bus.publish(events.LobbyOpened("garden", lobby_id="l-1", company_id="acme"))
                await peer.wait_heard(1)
                made.bus.publish(events.SessionSuspended("s-1", company_id="acme"))
            assert [json.loads(each.body)["type"] for each in peer.heard] == [
                "LobbyOpened",
                "SessionSuspended",
            ]
            assert [json.loads(each.body)["data"]["company_id"] for each in peer.heard] == ["acme", "acme"]
    assert [record.type for record in store.events] == ["LobbyOpened", "SessionSuspended"]
    assert [line["event"] for line in lines if "seq" in line] == ["LobbyOpened", "SessionSuspended"]
    assert store.letters == {}
    assert [each.handled for each in made.bus.subscribers.values()] != []


async def test_numbers_go_on_above_those_of_former_lives() -> None:
    async with eventing(RecordingStore(), event_seq=41) as made:
        assert made.bus.publish(events.LobbyOpened("garden")).seq == 41 + RESTART_GAP + 1


async def test_what_is_published_while_everything_is_cancelled_is_kept_too() -> None:
    store = RecordingStore()
    with structlog.testing.capture_logs() as lines, trio.CancelScope() as scope:
        async with http_peer() as peer, eventing(store, peer) as made:
            try:
                scope.cancel()
                await trio.sleep_forever()
            finally:
                made.bus.publish(events.SessionSuspended("s-1"))
    assert [record.type for record in store.events] == ["SessionSuspended"]
    assert "SessionSuspended" in [line["event"] for line in lines]
    (letter,) = store.letters.values()
    assert (letter.event_type, letter.attempts) == ("SessionSuspended", 0)
    assert letter.last_error == "the server stopped before it could be delivered"


def request(**headers: str) -> RequestInfo:
    return RequestInfo("203.0.113.5", "203.0.113.5", "c-1", headers=headers)


async def enter(made: Eventing, info: RequestInfo) -> object:
    assert made.feed.authorize is not None
    return await made.feed.authorize(info)


async def test_the_feed_is_for_administrators() -> None:
    async with eventing(RecordingStore()) as made:
        assert made.feed.pattern == "/ws/admin/events"
        assert {"authorization", "x-forwarded-for", "origin"} <= made.feed.headers
        await enter(made, request(authorization=f"Bearer {TOKEN}"))
        with pytest.raises(RefusedUpgradeError) as refused:
            await enter(made, request())
        assert refused.value.status == 401
        assert "Bearer" in refused.value.headers["WWW-Authenticate"]
        for _ in range(11):
            with pytest.raises(RefusedUpgradeError) as refused:
                await enter(made, request(authorization="Bearer wrong"))
        assert refused.value.status == 429
        assert int(refused.value.headers["Retry-After"]) >= 1
