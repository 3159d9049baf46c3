"""All who hear the bus, composed: what is published reaches each of them, to the very end, and the feed is guarded."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import structlog
import trio
import trio.testing
from fastapi import FastAPI
from http_peer import HttpPeer, http_peer, respond
from pydantic import SecretStr
from raw_client import raw_connection, read_to_end
from recording_store import RecordingStore
from trio_websocket import open_websocket_url

from signaling import events
from signaling.address_limits import AddressLimits
from signaling.auth import AdminGate
from signaling.counters import Counters
from signaling.endpoints import RefusedUpgradeError, RequestInfo
from signaling.event_metrics import event_metrics
from signaling.event_store import RESTART_GAP
from signaling.eventing import Eventing, open_eventing
from signaling.front_door import FrontDoor
from signaling.listeners import open_listener
from signaling.settings import WebhookTarget
from signaling.web_server import WebServer
from signaling.webhooks.endpoint import webhook_endpoints
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


@asynccontextmanager
async def listening(made: Eventing) -> AsyncIterator[str]:
    """A front door that leads to the feed only; yields its address."""
    listener = open_listener("127.0.0.1", 0)
    door = FrontDoor(
        web_server=WebServer(FastAPI()),
        endpoints=[made.feed],
        keepalive_seconds=60,
        max_connections=10,
        address_limits=AddressLimits(),
        allowed_origins=(),
        send_timeout_seconds=PATIENCE_SECONDS,
        counters=Counters(),
    )
    stop = trio.Event()
    async with listener, trio.open_nursery() as nursery:
        nursery.start_soon(partial(door.run, [listener], stop, stop_seconds=1))
        yield f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/ws/admin/events"
        stop.set()


async def test_an_administrator_sees_what_happened_in_a_former_life_and_what_happens_now() -> None:
    store = RecordingStore()
    async with eventing(store) as former:
        former.bus.publish(events.LobbyOpened("former", company_id="acme"))
    last = (await store.load()).event_seq
    authorization = [("Authorization", f"Bearer {TOKEN}")]
    with trio.fail_after(PATIENCE_SECONDS):
        async with (
            eventing(store, event_seq=last) as made,
            listening(made) as url,
            open_websocket_url(url, extra_headers=authorization) as socket,
        ):
            hello = json.loads(await socket.get_message())
            assert (hello["type"], hello["data"]["seq"]) == ("hello", last + RESTART_GAP)
            await socket.send_message(json.dumps({"type": "subscribe", "data": {"since": 0}, "id": 1}))
            assert json.loads(await socket.get_message())["type"] == "subscribed"
            made.bus.publish(events.LobbyOpened("now", company_id="acme"))
            seen: list[str] = []
            while len(seen) < 2:
                frame = json.loads(await socket.get_message())
                assert frame["type"] == "events"
                seen += [each["data"]["lobby"] for each in frame["data"]["events"]]
            assert seen == ["former", "now"]


async def test_nobody_else_gets_as_far_as_a_websocket() -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        async with eventing(RecordingStore()) as made, listening(made) as url:
            for line in ("", "Authorization: Bearer wrong\r\n"):
                async with raw_connection(url) as stream:
                    await stream.send_all(
                        b"GET /ws/admin/events HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                        + line.encode()
                        + b"\r\n"
                    )
                    answer = await read_to_end(stream)
                assert answer.startswith(b"HTTP/1.1 401 ")
                assert b"\r\nwww-authenticate: Bearer" in answer.replace(b"WWW-A", b"www-a")


async def test_how_events_fare_is_measured() -> None:
    store = RecordingStore()
    with trio.fail_after(PATIENCE_SECONDS):
        async with http_peer(respond(410)) as peer, eventing(store, peer) as made:
            made.bus.publish(events.LobbyOpened("a"))
            made.bus.publish(events.LobbyOpened("b"))
            await peer.wait_heard(2)
            await made.webhooks.wait_idle()
            (endpoint,) = (each.endpoint_id for each in made.webhooks.statistics())
            samples = {
                (sample.name, *sample.labels.values()): sample.value
                for family in event_metrics(made.bus, made.webhooks.statistics())
                for sample in family.samples
            }
    assert samples["signaling_event_seq",] == 2
    assert samples["signaling_events_replayable",] == 2
    assert samples["signaling_subscriber_handled_total", "event_log"] == 2
    assert samples["signaling_subscriber_missed_total", "event_store"] == 0
    assert samples["signaling_event_seconds_bucket", "event_log", "+Inf"] == 2
    assert samples["signaling_event_queue", "webhooks"] == 0
    assert samples["signaling_webhook_deliveries_total", endpoint, "delivered"] == 1
    assert samples["signaling_webhook_deliveries_total", endpoint, "dead_lettered"] == 1
    assert samples["signaling_webhook_failures_total", endpoint] == 1
    assert samples["signaling_webhook_suspended", endpoint] == 0
    assert samples["signaling_webhook_queue", endpoint] == 0


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
