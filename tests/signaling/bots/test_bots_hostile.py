"""Providers that lie, flood, guess or reach for what is others': each is refused, and nobody else notices."""

import json

import pytest
import trio
from peer_client import connected as peer_connected
from peer_client import new_company
from provider_client import DEADLINES, opened, person, providing, registered, request_active
from running_server import running_server
from trio_websocket import ConnectionRejected
from wire_client import connected

from signaling.bots import BotState
from signaling.bots.endpoint import MAX_MESSAGE_BYTES, MESSAGE_BURST, REFUSAL_BURST
from signaling.messages import Join
from signaling.messages.bots import (
    AcceptBot,
    AnswerQuestion,
    BotOffer,
    BotStopped,
    DrainProvider,
    FailQuestion,
    Heartbeat,
    RefuseBot,
    Register,
    Registered,
)
from signaling.messages.server import Ok
from signaling.server import RunningServer

ADMIN_TOKEN = "an-admin-token-of-some-length"


async def rejected(server: RunningServer, credential: str | None) -> int:
    """Return the HTTP status that a connection is refused with."""
    found = 0
    try:
        async with opened(server, credential):
            pass
    except* ConnectionRejected as refused:
        cause: BaseException = refused
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        assert isinstance(cause, ConnectionRejected)
        found = cause.status_code
    return found


@pytest.mark.parametrize(
    ("credential", "status"),
    [
        (None, 401),
        ("wrong-token-of-some-length", 401),
        ("tr_wrong", 401),
        ("Bearer", 401),
    ],
)
async def test_who_cannot_prove_who_it_is_is_turned_away(credential: str | None, status: int) -> None:
    async with running_server(admin_token=ADMIN_TOKEN) as server:
        assert await rejected(server, credential) == status
        async with registered(server, credential=ADMIN_TOKEN) as provider:
            assert provider.registered.provider_id


async def test_a_wrong_api_key_is_refused_where_no_credential_would_do() -> None:
    """On this machine, without an admin token, the admin interface is open: not to who claims to be a company."""
    async with running_server() as server:
        assert await rejected(server, "tr_wrong") == 401
        async with registered(server):
            pass


async def test_a_disabled_company_has_no_provider_any_more() -> None:
    async with running_server(admin_token=ADMIN_TOKEN) as server:
        company_id, key = await new_company(server)
        async with registered(server, credential=key) as provider:
            await server.service.access.companies.set_enabled(company_id, enabled=False)
            await provider.socket.send_message('{"type": "heartbeat"}')
            assert await provider.closed() == 4010
        assert await rejected(server, key) == 401


async def test_nobody_speaks_for_bots_of_others() -> None:
    async with (
        running_server(bot_deadlines=DEADLINES) as server,
        person(server) as ada,
        registered(server, "Honest") as honest,
        registered(server, "Forger", capacity=9) as forger,
    ):
        bots = server.service.bots
        asked = await bots.request(ada.joined.lobby_id, provider="Honest")
        await honest.hear(BotOffer)
        forged = {"bot_id": asked.bot_id}
        assert await forger.refused(AcceptBot(**forged)) == ("stale_offer", "bot_id")
        assert await forger.refused(RefuseBot(**forged, reason="ha")) == ("stale_offer", "bot_id")
        assert await forger.say(BotStopped(**forged, reason="ha", failed=True)) == Ok()
        view = bots.find(asked.bot_id)
        assert view is not None
        assert (view.state, view.provider) == (BotState.OFFERED, "Honest")
        for message in (AnswerQuestion(question_id=1, text="ha"), FailQuestion(question_id=1, reason="ha")):
            assert await forger.refused(message) == ("unknown_question", "question_id")
        assert await honest.say(AcceptBot(**forged)) == Ok()


async def test_nobody_comes_back_as_another() -> None:
    async with running_server(bot_deadlines=DEADLINES) as server:
        _, one = await new_company(server, "One")
        two_id, two = await new_company(server, "Two")
        async with registered(server, credential=one) as first:
            token = first.registered.resume_token
            async with opened(server, two) as thief:
                reply = await thief.say(Register(name="Thief", resume_token=token, running=("b-1",)))
                assert isinstance(reply, Registered)
                assert not reply.resumed
                assert reply.provider_id != first.registered.provider_id
                assert [each.name for each in server.service.bots.providers(two_id)] == ["Thief"]
            async with opened(server, one) as owner:
                reply = await owner.say(Register(name="Hand", resume_token=token))
                assert isinstance(reply, Registered)
                assert (reply.resumed, reply.provider_id) == (True, first.registered.provider_id)
                assert await first.closed() == 4009
                assert await owner.say(Heartbeat()) == Ok()


async def test_a_company_cannot_send_its_bots_to_another() -> None:
    async with running_server(bot_deadlines=DEADLINES) as server:
        one_id, one = await new_company(server, "One")
        _, two = await new_company(server, "Two")
        async with (
            peer_connected(server, "ada", one),
            registered(server, "Ours", credential=one) as ours,
            registered(server, "Ours", credential=two) as theirs,
            connected(server.url) as client,
        ):
            (lobby,) = server.service.lobbies
            asked = await server.service.bots.request(lobby.lobby_id, company_id=one_id)
            offer = await ours.hear(BotOffer)
            assert await theirs.refused(AcceptBot(bot_id=offer.bot_id)) == ("stale_offer", "bot_id")
            # The ticket is for the company's lobby, not for one of the same name that is nobody's.
            await client.join(offer.lobby, offer.name, bot_ticket=offer.ticket)
            assert client.joined.lobby_id == lobby.lobby_id
            with trio.fail_after(20):
                assert (await server.service.bots.wait_settled(asked.bot_id)).company_id == one_id


async def test_a_bot_is_called_what_was_asked_for() -> None:
    async with (
        running_server(bot_deadlines=DEADLINES) as server,
        person(server) as ada,
        registered(server) as hand,
        connected(server.url) as client,
    ):
        await server.service.bots.request(ada.joined.lobby_id, name="Helper")
        offer = await hand.hear(BotOffer)
        reply = await client.refused(Join(lobby="garden", name="Administrator", bot_ticket=offer.ticket))
        assert (reply.code, reply.field) == ("forbidden", "name")


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        ("nonsense", "invalid_json", None),
        ("[]", "invalid_json", None),
        ('{"data": {}}', "invalid_message", "type"),
        ('{"type": "join", "data": {}}', "unknown_type", "type"),
        ('{"type": "register", "data": {}}', "invalid_message", "name"),
        ('{"type": "register", "data": {"name": "a\\nb"}}', "invalid_message", "name"),
        ('{"type": "register", "data": {"name": "A", "capacity": 0}}', "invalid_message", "capacity"),
        ('{"type": "register", "data": {"name": "A", "capacity": true}}', "invalid_message", "capacity"),
        (
            '{"type": "register", "data": {"name": "A", "capabilities": ["A b"]}}',
            "invalid_message",
            "capabilities.0",
        ),
        (
            '{"type": "register", "data": {"name": "A", "config_schema": {"pattern": "(a+)+$"}}}',
            "invalid_schema",
            "config_schema.pattern",
        ),
        ('{"type": "heartbeat", "data": {}}', "not_registered", None),
    ],
)
async def test_what_is_no_message_is_refused_with_its_place(text: str, code: str, field: str | None) -> None:
    async with running_server() as server, opened(server) as provider:
        await provider.socket.send_message(text)
        refused = json.loads(await provider.socket.get_message())
        assert (refused["type"], refused["data"]["code"]) == ("error", code)
        if field is not None:
            assert refused["data"]["field"] == field
        # The connection is as good as before.
        assert isinstance(await provider.say(Register(name="A")), Registered)


@pytest.mark.parametrize(
    "data",
    [
        {"bot_id": "b-1", "reason": "line\nbreak"},
        {"bot_id": "b-1", "reason": "\x1b[31mred"},
        {"bot_id": "b-1", "reason": "x" * 301},
        {"bot_id": "", "reason": "x"},
        {"bot_id": "b" * 65, "reason": "x"},
    ],
)
async def test_reasons_are_short_lines_of_text(data: dict[str, str]) -> None:
    async with running_server() as server, registered(server) as provider:
        await provider.socket.send_message(json.dumps({"type": "stopped", "data": data}))
        refused = json.loads(await provider.socket.get_message())
        assert refused["data"]["code"] == "invalid_message"


async def test_a_load_is_a_fraction() -> None:
    async with running_server() as server, registered(server) as provider:
        for load in ("1.5", "-0.1", '"high"', "true", "1e999"):
            await provider.socket.send_message(f'{{"type": "heartbeat", "data": {{"load": {load}}}}}')
            refused = json.loads(await provider.socket.get_message())
            assert refused["data"]["code"] in {"invalid_message", "invalid_json"}, load


async def test_binary_frames_are_refused_and_large_ones_close() -> None:
    async with running_server() as server, registered(server) as provider:
        await provider.socket.send_message(b"PCM")
        assert json.loads(await provider.socket.get_message())["data"]["code"] == "unsupported"
        await provider.socket.send_message("x" * (MAX_MESSAGE_BYTES + 1))
        assert await provider.closed() == 1009


async def test_to_register_twice_is_refused() -> None:
    async with running_server() as server, registered(server) as provider:
        assert (await provider.refused(Register(name="Again")))[0] == "not_registered"


async def test_a_flood_is_refused_and_then_closed_and_others_go_on() -> None:
    async with (
        running_server(bot_deadlines=DEADLINES) as server,
        person(server) as ada,
        registered(server, "Flood") as flood,
        providing(server),
    ):
        view = await request_active(server, ada.joined.lobby_id, provider="Chat")

        async def pour() -> None:
            try:
                for _ in range(MESSAGE_BURST + REFUSAL_BURST * 20):
                    await flood.socket.send_message('{"type": "accept", "data": {"bot_id": "b-1"}}')
            except Exception:  # noqa: BLE001 - closed
                return

        async with trio.open_nursery() as nursery:
            nursery.start_soon(pour)
            assert await flood.closed() == 1008
            nursery.cancel_scope.cancel()
        assert await server.service.bots.answer(view.lobby_id, "say still", "p-1") == "still"


async def test_who_does_not_register_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signaling.bots.endpoint.REGISTER_SECONDS", 0.1)
    async with running_server() as server, opened(server) as provider:
        assert await provider.closed() == 1008


async def test_a_drained_provider_that_accepts_anyway_gets_nothing() -> None:
    async with (
        running_server(bot_deadlines=DEADLINES) as server,
        person(server) as ada,
        registered(server) as provider,
    ):
        assert await provider.say(DrainProvider()) == Ok()
        asked = await server.service.bots.request(ada.joined.lobby_id)
        assert await provider.refused(AcceptBot(bot_id=asked.bot_id)) == ("stale_offer", "bot_id")
