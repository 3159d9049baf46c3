"""Events on their way to real servers on this machine that take them, refuse them, hang, or are gone."""

import base64
import json
import random
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio
import trio.lowlevel
from http_peer import Answer, HttpPeer, hang, http_peer, reset, respond
from pydantic import SecretStr
from receiver import BadSignatureError, verify

from signaling import events
from signaling.bus import Bus
from signaling.outbound.calls import open_outbound
from signaling.outbound.circuit_breaker import BreakerState, CircuitOpenError
from signaling.outbound.errors import StatusError
from signaling.outbound.retry import RetryPolicy
from signaling.settings import WebhookTarget
from signaling.storage import AddDeadLetter, DeadLetterRecord, StoreUnavailableError
from signaling.storage.memory import MemoryStore
from signaling.webhooks.deliveries import (
    DeliveryUnderWayError,
    EndpointGoneError,
    UnknownDeliveryError,
    Webhooks,
    WebhookStatistics,
    open_webhooks,
)
from signaling.webhooks.endpoint import (
    MAX_ENDPOINTS,
    WebhookConfigurationError,
    WebhookEndpoint,
    webhook_endpoints,
)

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER_SECRET = "a secret of the plain kind".replace(" ", "-")
#: As the real one, in no time.
QUICK = RetryPolicy(attempts=4, base_seconds=0.001, cap_seconds=0.002, deadline_seconds=60)
PATIENCE_SECONDS = 30


@dataclass
class Service:
    bus: Bus
    store: MemoryStore
    webhooks: Webhooks

    def happen(self, *names: str) -> None:
        for name in names:
            self.bus.publish(events.LobbyOpened(name, lobby_id=f"l-{name}", company_id="acme"))

    async def letters(self) -> tuple[DeadLetterRecord, ...]:
        return await self.webhooks.dead_letters(limit=100)

    @property
    def figures(self) -> WebhookStatistics:
        (found,) = self.webhooks.statistics()
        return found

    async def wait_letters(self, count: int) -> tuple[DeadLetterRecord, ...]:
        while len(await self.letters()) < count:  # noqa: ASYNC110 - a store tells nobody
            await trio.sleep(0.005)
        return await self.letters()


def endpoint_at(peer: HttpPeer, *types: str, secrets: tuple[str, ...] = (SECRET,)) -> WebhookEndpoint:
    return WebhookEndpoint(peer.url, secrets, frozenset(types))


@asynccontextmanager
async def telling(
    *endpoints: WebhookEndpoint, store: MemoryStore | None = None, **options: Any
) -> AsyncIterator[Service]:
    bus, kept = Bus(), store or MemoryStore()
    options = {"policy": QUICK, "random": random.Random(1), "flush_seconds": PATIENCE_SECONDS} | options
    with trio.fail_after(PATIENCE_SECONDS):
        async with (
            open_outbound(ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)) as outbound,
            open_webhooks(bus, outbound, kept, endpoints=endpoints, **options) as webhooks,
        ):
            yield Service(bus, kept, webhooks)


def lobbies(peer: HttpPeer) -> list[str]:
    return [json.loads(each.body)["data"]["lobby"] for each in peer.heard]


# What is told.


async def test_an_event_is_posted_with_all_that_belongs_to_it() -> None:
    async with http_peer() as peer, telling(endpoint_at(peer)) as service:
        stamped = service.bus.publish(
            events.LobbyClosed("garden", "empty", lobby_id="l-1", company_id="acme")
        )
        await peer.wait_heard(1)
        await service.webhooks.wait_idle()
        figures = service.figures
    (heard,) = peer.heard
    assert (heard.method, heard.target, heard.headers["content-type"]) == (
        "POST",
        "/hook",
        "application/json",
    )
    assert json.loads(heard.body) == {
        "type": "LobbyClosed",
        "timestamp": stamped.at.isoformat().replace("+00:00", "Z"),
        "seq": 1,
        "correlation_id": "",
        "data": {"lobby": "garden", "lobby_id": "l-1", "company_id": "acme", "reason": "empty"},
    }
    assert heard.headers["webhook-id"].startswith("msg-")
    assert (figures.delivered, figures.failed_attempts, figures.dead_lettered, figures.queued) == (1, 0, 0, 0)
    assert figures.last_delivered_at is not None


async def test_who_names_no_types_hears_all_but_passing_states_and_who_does_hears_those() -> None:
    async with (
        http_peer() as everything,
        http_peer() as some,
        telling(endpoint_at(everything), endpoint_at(some, "SpeakingChanged", "SessionOpened")) as service,
    ):
        service.happen("garden")
        service.bus.publish(events.SpeakingChanged("garden", "p-1", speaking=True, level_dbov=30))
        service.bus.publish(events.SessionOpened("s-1", company_id="acme"))
        await everything.wait_heard(2)
        await some.wait_heard(2)
    assert [json.loads(each.body)["type"] for each in everything.heard] == ["LobbyOpened", "SessionOpened"]
    assert [json.loads(each.body)["type"] for each in some.heard] == ["SpeakingChanged", "SessionOpened"]
    assert all(json.loads(each.body)["data"]["company_id"] == "acme" for each in everything.heard)


# That it is we who tell it.


async def test_a_receiver_can_verify_what_it_is_told_and_nothing_else() -> None:
    async with http_peer() as peer, telling(endpoint_at(peer)) as service:
        service.happen("garden")
        await peer.wait_heard(1)
    (heard,) = peer.heard
    now = time.time()
    assert verify(SECRET, heard, now=now)["data"]["lobby"] == "garden"
    forged = replace(heard, body=heard.body.replace(b"garden", b"cellar"))
    renamed = replace(heard, headers=heard.headers | {"webhook-id": "msg-other"})
    later = str(int(heard.headers["webhook-timestamp"]) + 1)
    redated = replace(heard, headers=heard.headers | {"webhook-timestamp": later})
    for wrong in (forged, renamed, redated):
        with pytest.raises(BadSignatureError, match="not ours"):
            verify(SECRET, wrong, now=now)
    with pytest.raises(BadSignatureError, match="not ours"):
        verify(OTHER_SECRET, heard, now=now)
    # Who records a delivery can send it again for five minutes, with the same id, and not later.
    with pytest.raises(BadSignatureError, match="too old"):
        verify(SECRET, heard, now=now + 600)


async def test_a_secret_is_replaced_without_a_gap() -> None:
    async with http_peer() as peer, telling(endpoint_at(peer, secrets=(OTHER_SECRET, SECRET))) as service:
        service.happen("garden")
        await peer.wait_heard(1)
    for secret in (SECRET, OTHER_SECRET):
        assert verify(secret, peer.heard[0], now=time.time())["type"] == "LobbyOpened"


async def test_every_attempt_has_the_same_id_and_a_time_and_signature_of_its_own() -> None:
    start = datetime(2026, 1, 31, 12, tzinfo=UTC)
    times = iter(range(1000))
    async with (
        http_peer(respond(500), reset) as peer,
        telling(endpoint_at(peer), now=lambda: start + timedelta(seconds=next(times))) as service,
    ):
        service.happen("garden")
        await peer.wait_heard(3)
    assert len({each.headers["webhook-id"] for each in peer.heard}) == 1
    assert len({each.body for each in peer.heard}) == 1
    stamps = [int(each.headers["webhook-timestamp"]) for each in peer.heard]
    assert stamps == sorted(set(stamps))
    for heard, stamp in zip(peer.heard, stamps, strict=True):
        verify(SECRET, heard, now=stamp, tolerance=0)


# Failures.


@pytest.mark.parametrize("failure", [respond(500), respond(429, Retry_After="0"), reset, respond(503)])
async def test_a_failure_is_tried_again_until_it_is_taken_and_the_order_is_kept(failure: Answer) -> None:
    async with http_peer(failure, failure) as peer, telling(endpoint_at(peer)) as service:
        service.happen("a", "b", "c")
        await peer.wait_heard(5)
        await service.webhooks.wait_idle()
        assert await service.letters() == ()
        assert (service.figures.delivered, service.figures.failed_attempts) == (3, 2)
    assert lobbies(peer) == ["a", "a", "a", "b", "c"]


async def test_retry_after_is_honoured(mock_clock) -> None:
    async with http_peer(respond(429, Retry_After="20")) as peer, telling(endpoint_at(peer)) as service:
        service.happen("a")
        while not service.figures.failed_attempts:
            await trio.lowlevel.checkpoint()
        mock_clock.jump(19.9)
        for _ in range(20):
            await trio.lowlevel.checkpoint()
        assert len(peer.heard) == 1
        mock_clock.jump(0.1)
        await peer.wait_heard(2)


async def test_who_asks_for_more_time_than_there_is_gets_no_second_attempt() -> None:
    async with http_peer(respond(503, Retry_After="3600")) as peer, telling(endpoint_at(peer)) as service:
        service.happen("a", "b")
        (letter,) = await service.wait_letters(1)
        await peer.wait_heard(2)
    assert letter.attempts == 1
    assert lobbies(peer) == ["a", "b"]


async def test_after_the_last_attempt_it_is_a_dead_letter_and_the_next_one_goes_on() -> None:
    async with http_peer(*[respond(500)] * 4) as peer, telling(endpoint_at(peer)) as service:
        service.happen("a", "b")
        await peer.wait_heard(5)
        (letter,) = await service.letters()
        assert service.figures.dead_lettered == 1
    assert lobbies(peer) == ["a"] * 4 + ["b"]
    assert (letter.url, letter.event_type, letter.attempts) == (peer.url, "LobbyOpened", 4)
    assert letter.body.encode() == peer.heard[0].body
    assert letter.delivery_id == peer.heard[0].headers["webhook-id"]
    assert letter.last_error.startswith("gave up after 4 attempts: http://127.0.0.1:")
    assert letter.last_error.endswith("answered 500 Internal Server Error")
    assert letter.given_up_at >= letter.created_at


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (respond(410), "answered 410 Gone"),
        (respond(400), "answered 400 Bad Request"),
        (respond(308, location="http://127.0.0.1:9/"), "redirects are not followed"),
    ],
)
async def test_what_will_not_change_is_a_dead_letter_at_once(answer: Answer, text: str) -> None:
    async with http_peer(answer) as peer, telling(endpoint_at(peer)) as service:
        service.happen("a", "b")
        await peer.wait_heard(2)
        (letter,) = await service.letters()
    assert (letter.attempts, letter.event_type) == (1, "LobbyOpened")
    assert text in letter.last_error
    assert lobbies(peer) == ["a", "b"]


async def test_after_five_failures_nothing_is_sent_for_a_while_and_a_probe_ends_it() -> None:
    policy = replace(QUICK, attempts=7)  # what the breaker refuses is none
    async with (
        http_peer(*[respond(500)] * 6) as peer,
        telling(endpoint_at(peer), policy=policy, breaker_seconds=0.2) as service,
    ):
        service.happen("a", "b")
        # The sixth is the probe, and fails; so does the seventh not.
        await peer.wait_heard(8)
        await service.webhooks.wait_idle()
        breaker = service.figures.breaker
        assert await service.letters() == ()
    assert lobbies(peer) == ["a"] * 7 + ["b"]
    assert (breaker.state, breaker.opened) == (BreakerState.CLOSED, 2)
    assert breaker.refused >= 2


async def test_a_target_that_hangs_or_fails_delays_no_other_even_at_the_same_host() -> None:
    async with http_peer() as peer:

        async def by_path(exchange: Any) -> None:
            target = peer.heard[-1].target
            answer = {"/hangs": hang, "/fails": respond(500)}.get(target, respond(200))
            await answer(exchange)

        peer.otherwise = by_path
        base = peer.url.removesuffix("/hook")
        endpoints = [WebhookEndpoint(base + path, (SECRET,)) for path in ("/hangs", "/fails", "/works")]
        policy = replace(QUICK, attempts=100)
        async with telling(*endpoints, policy=policy, flush_seconds=0.0) as service:
            service.happen(*(str(number) for number in range(20)))
            works = service.webhooks.statistics()[2]
            while works.delivered < 20:
                await trio.sleep(0.005)
                works = service.webhooks.statistics()[2]
            hangs, fails, _ = service.webhooks.statistics()
            assert (hangs.delivered, hangs.queued) == (0, 20)
            assert (fails.delivered, fails.queued) == (0, 20)
            assert works.breaker.state is BreakerState.CLOSED
    letters = await service.letters()
    assert len(letters) == 40
    assert sorted({each.url for each in letters}) == [base + "/fails", base + "/hangs"]


async def test_when_the_queue_is_full_the_oldest_becomes_a_dead_letter() -> None:
    async with (
        http_peer(hang) as peer,
        telling(endpoint_at(peer), queue_deliveries=2, flush_seconds=0.0) as service,
    ):
        service.happen("a")
        await peer.wait_heard(1)
        service.happen("b", "c", "d")
        (letter,) = await service.wait_letters(1)
        assert json.loads(letter.body)["data"]["lobby"] == "b"
        assert letter.last_error == "the endpoint is too slow: its queue was full"
        assert (service.figures.overflowed, service.figures.queued) == (1, 3)


# Dead letters.


async def dead_letter(service: Service, peer: HttpPeer) -> DeadLetterRecord:
    peer.answers.append(respond(410))
    service.happen("lost")
    (letter,) = await service.wait_letters(1)
    return letter


async def test_a_dead_letter_is_delivered_again_by_hand_and_is_none_any_more() -> None:
    async with http_peer() as peer, telling(endpoint_at(peer)) as service:
        letter = await dead_letter(service, peer)
        peer.answers.append(respond(404))
        with pytest.raises(StatusError, match="404"):
            await service.webhooks.redeliver(letter.delivery_id)
        assert await service.letters() == (letter,)
        await service.webhooks.redeliver(letter.delivery_id)
        assert await service.letters() == ()
        with pytest.raises(UnknownDeliveryError, match="there is no dead letter"):
            await service.webhooks.redeliver(letter.delivery_id)
    assert {each.headers["webhook-id"] for each in peer.heard} == {letter.delivery_id}
    verify(SECRET, peer.heard[-1], now=time.time())


async def test_a_dead_letter_is_delivered_once_at_a_time() -> None:
    async with http_peer() as peer, telling(endpoint_at(peer)) as service:
        letter = await dead_letter(service, peer)
        peer.answers.append(hang)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.webhooks.redeliver, letter.delivery_id)
            await peer.wait_heard(2)
            with pytest.raises(DeliveryUnderWayError):
                await service.webhooks.redeliver(letter.delivery_id)
            nursery.cancel_scope.cancel()
        await service.webhooks.redeliver(letter.delivery_id)


async def test_a_dead_letter_of_a_former_configuration_waits_for_its_url() -> None:
    store = MemoryStore()
    async with http_peer() as peer:
        async with telling(endpoint_at(peer), store=store) as service:
            letter = await dead_letter(service, peer)
        async with telling(store=store) as service:
            with pytest.raises(EndpointGoneError, match="no webhook has the URL"):
                await service.webhooks.redeliver(letter.delivery_id)
        # A restart later, with the URL back.
        async with telling(endpoint_at(peer), store=store) as service:
            await service.webhooks.redeliver(letter.delivery_id)
            assert await service.letters() == ()


async def test_by_hand_too_nothing_is_sent_to_who_keeps_failing() -> None:
    async with http_peer(*[respond(500)] * 5) as peer:
        policy = replace(QUICK, attempts=5)
        async with telling(endpoint_at(peer), policy=policy) as service:
            service.happen("a")
            (letter,) = await service.wait_letters(1)
            with pytest.raises(CircuitOpenError, match="suspended"):
                await service.webhooks.redeliver(letter.delivery_id)
    assert len(peer.heard) == 5


class AwayStore(MemoryStore):
    async def dead_letters(self, *, limit: int) -> tuple[DeadLetterRecord, ...]:
        raise StoreUnavailableError("the database does not answer")


async def test_while_the_store_is_away_events_are_delivered_and_letters_cannot_be_read() -> None:
    async with http_peer() as peer, telling(endpoint_at(peer), store=AwayStore()) as service:
        service.happen("a")
        await peer.wait_heard(1)
        with pytest.raises(StoreUnavailableError):
            await service.webhooks.redeliver("msg-1")
        with pytest.raises(StoreUnavailableError):
            await service.webhooks.dead_letters(limit=10)


class FaultyStore(MemoryStore):
    """Fails on the first letter, as no store should."""

    def submit(self, *changes: object) -> None:
        if isinstance(changes[0], AddDeadLetter) and not self._letters:
            self._letters["taken"] = changes[0].letter
            raise ZeroDivisionError
        super().submit(*changes)  # type: ignore[arg-type]


async def test_a_fault_of_ours_is_counted_and_the_next_delivery_goes_on() -> None:
    async with http_peer(respond(410)) as peer, telling(endpoint_at(peer), store=FaultyStore()) as service:
        service.happen("a", "b")
        await peer.wait_heard(2)
        assert service.bus.failures["webhook"] == 1
    assert lobbies(peer) == ["a", "b"]


# The end.


async def test_at_the_end_what_waits_is_delivered() -> None:
    async with http_peer() as peer:
        async with telling(endpoint_at(peer)) as service:
            service.happen(*(str(number) for number in range(50)))
        assert lobbies(peer) == [str(number) for number in range(50)]
    assert await service.letters() == ()


async def test_at_the_end_what_is_not_taken_in_time_is_kept_as_dead_letters() -> None:
    async with http_peer(hang) as peer:
        async with telling(endpoint_at(peer), flush_seconds=0.05) as service:
            service.happen("a", "b")
            await peer.wait_heard(1)
            service.happen("c")
        letters = await service.letters()
    assert [json.loads(each.body)["data"]["lobby"] for each in letters] == ["a", "b", "c"]
    # The first was under way: whether it was taken nobody knows.
    assert [each.attempts for each in letters] == [1, 0, 0]
    assert {each.last_error for each in letters} == {"the server stopped before it could be delivered"}


async def test_when_the_server_is_cancelled_nothing_is_waited_for_and_nothing_lost() -> None:
    async with http_peer(hang) as peer:
        with trio.CancelScope() as scope:
            async with telling(endpoint_at(peer)) as service:
                service.happen("a", "b")
                await peer.wait_heard(1)
                service.happen("c")
                scope.cancel()
                await trio.sleep_forever()
        assert len(await service.letters()) == 3


# The settings.


def target(url: str = "https://example.org/hook", secret: str = SECRET, *types: str) -> WebhookTarget:
    return WebhookTarget(url=url, secret=SecretStr(secret), events=types)


def test_endpoints_are_as_the_settings_say() -> None:
    first, second = webhook_endpoints(
        [
            target("http://10.0.0.5:9000/hook", f"{SECRET} {OTHER_SECRET}", "LobbyOpened"),
            target("http://bots.internal/hook"),
        ]
    )
    assert first == WebhookEndpoint(
        "http://10.0.0.5:9000/hook", (SECRET, OTHER_SECRET), frozenset({"LobbyOpened"})
    )
    assert (second.secrets, second.types) == ((SECRET,), frozenset())
    assert first.endpoint_id != second.endpoint_id
    assert SECRET not in repr(first)


@pytest.mark.parametrize(
    ("targets", "text"),
    [
        ([target(secret="whsec_" + "not base64!")], "separated by blanks|must be base64"),
        ([target(secret="whsec_%%%%%%%%%%%%%%%%")], "must be base64"),
        ([target(secret="whsec_" + base64.b64encode(b"short").decode() + "====")], "must be base64|16 bytes"),
        ([target(secret="short and sweet and short")], "at least 16 bytes"),
        ([target(secret=" ".join([SECRET] * 4))], "1 to 3 secrets"),
        ([target("https://a:b@example.org/secret-path")], "user name or password"),
        ([target("https://example.org/", SECRET, "LobyOpened")], "no events of the type 'LobyOpened'; expected some of .*LobbyOpened"),
        ([target(), target()], "two have the same url"),
        ([target(f"https://example.org/{number}") for number in range(MAX_ENDPOINTS + 1)], "at most 100"),
    ],
)  # fmt: skip
def test_a_bad_target_is_refused_in_one_line_without_what_may_be_secret(targets, text: str) -> None:
    with pytest.raises(WebhookConfigurationError, match=text) as fault:
        webhook_endpoints(targets)
    assert "\n" not in str(fault.value)
    assert "secret-path" not in str(fault.value)
    assert "a:b" not in str(fault.value)
