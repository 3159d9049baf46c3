"""Bots on a real server: providers over WebSockets, bots that join as clients do, people who talk to them."""

# ruff: noqa: ASYNC110 - what other processes do, and the client library, is looked for

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import pytest
import trio
from peer_client import connected as peer_connected
from peer_client import new_company
from provider_client import (
    CHAT_CAPABILITIES,
    DEADLINES,
    PATIENCE_SECONDS,
    HandProvider,
    names_in,
    opened,
    person,
    providing,
    registered,
    request_active,
    watching,
)
from running_server import running_server
from wire_client import connected

import voicebot
from signaling.auth import CompanyLimitError
from signaling.auth.company_usage import Resource
from signaling.bots import (
    BotConfigError,
    BotsDrainingError,
    BotState,
    Deadlines,
    Ending,
    InvalidRequestError,
    ProviderState,
    UnknownBotError,
    UnknownLobbyError,
    UnknownProviderError,
)
from signaling.bots.events import BotActive, BotGone, BotReassigned
from signaling.bots.in_process import InProcessProvider
from signaling.bus import SUBSCRIBER_EVENTS
from signaling.events import ChatSaid
from signaling.lobbies import LobbyOptions
from signaling.messages import (
    ChatMessage,
    ChatPosted,
    ChatSend,
    ChatSent,
    ErrorReply,
    Join,
    ParticipantJoined,
    ParticipantLeft,
    ServerMessage,
)
from signaling.messages.bots import (
    AcceptBot,
    AnswerQuestion,
    BotOffer,
    BotQuestion,
    BotStop,
    DrainProvider,
    FailQuestion,
    Heartbeat,
    ProviderDraining,
    RefuseBot,
    Register,
    Registered,
)
from signaling.messages.server import Ok
from signaling.metrics import Metrics
from signaling.moderation import Moderation
from signaling.removals import TOKEN_EXPIRED
from signaling.server import RunningServer
from signaling.storage import Change, PutBot, StoreUnavailableError
from signaling.storage.memory import MemoryStore


async def test_a_chat_bot_comes_when_it_is_asked_for_answers_and_goes_when_it_is_told() -> None:
    async with (
        running_server(bot_deadlines=DEADLINES) as server,
        person(server) as ada,
        providing(server) as chat,
    ):
        bots, lobby_id = server.service.bots, ada.joined.lobby_id
        with watching(server) as watch:
            asked = await bots.request(lobby_id, name="Helper", config={"greeting": ""}, requested_by="ada")
            assert asked.state is BotState.OFFERED
            joined = await ada.until(ParticipantJoined)
            assert (joined.participant.name, joined.participant.is_bot) == ("Helper", True)
            await ada.expect(ChatSend(text="say hello world"), ChatSent)
            lines = [(await ada.until(ChatPosted)).message for _ in range(2)]
            assert [(line.name, line.text) for line in lines] == [
                ("Ada", "say hello world"),
                ("Helper", "hello world"),
            ]
            await watch.until(BotActive, asked.bot_id)
            stopping = await bots.stop(asked.bot_id, "enough talk")
            assert stopping.state is BotState.LEAVING
            assert (await ada.until(ParticipantLeft)).participant_id == joined.participant.participant_id
            gone = await watch.until(BotGone, asked.bot_id)
            assert (gone.ending, gone.reason) == (Ending.STOPPED, "enough talk")
            assert watch.states(asked.bot_id) == [
                "BotRequested",
                "BotOffered",
                "BotJoining",
                "BotActive",
                "BotLeaving",
                "BotGone",
            ]
        view = bots.find(asked.bot_id)
        assert view is not None
        assert (view.joins, view.messages, view.failures, view.offers) == (1, 1, 0, 1)
        assert view.joined_at is not None
        assert view.gone_at is not None
        assert 0 < view.active_seconds < PATIENCE_SECONDS
        (provider,) = bots.providers()
        assert (provider.name, provider.joins, provider.messages, provider.bots) == ("Chat", 1, 1, 0)
        assert provider.provider_id == chat.provider_id
        statistics = bots.statistics()
        assert (statistics.endings, statistics.messages) == ({Ending.STOPPED: 1}, 1)
        assert statistics.bots[BotState.ACTIVE] == 0
        assert statistics.providers[ProviderState.READY] == 1
        shown = Metrics(server.service).render().decode()
        for line in (
            'signaling_bots{state="active"} 0.0',
            'signaling_bot_providers{state="ready"} 1.0',
            'signaling_bot_steps_total{state="joining"} 1.0',
            'signaling_bot_endings_total{ending="stopped"} 1.0',
            "signaling_bot_messages_total 1.0",
        ):
            assert line in shown


async def test_a_provider_that_refuses_or_is_silent_is_followed_by_another() -> None:
    async with (
        running_server(bot_deadlines=_with(offer_s=1.0)) as server,
        person(server) as ada,
        registered(server, "Grumpy") as grumpy,
    ):
        bots, lobby_id = server.service.bots, ada.joined.lobby_id
        with watching(server) as watch:
            asked = await bots.request(lobby_id)
            offer = await grumpy.hear(BotOffer)
            assert offer.bot_id == asked.bot_id
            async with registered(server, "Silent") as silent:
                assert await grumpy.say(RefuseBot(bot_id=offer.bot_id, reason="not today")) == Ok()
                second = await silent.hear(BotOffer)
                assert second.ticket != offer.ticket
                async with providing(server):
                    await watch.until(BotActive, asked.bot_id)
                    assert (await silent.hear(BotStop)).reason == "too late"
                    reasons = [event.reason for event in watch.seen]
                    assert "'Grumpy' refused: not today" in reasons
                    assert "'Silent' did not answer within 1 s" in reasons
                    view = bots.find(asked.bot_id)
                    assert view is not None
                    assert (view.offers, view.provider) == (3, "Chat")


async def test_without_a_provider_the_request_ends_with_a_reason() -> None:
    async with running_server(bot_deadlines=DEADLINES) as server, person(server) as ada:
        bots = server.service.bots
        asked = await bots.request(ada.joined.lobby_id, provider="Chat")
        assert asked.state is BotState.REQUESTED
        with trio.fail_after(PATIENCE_SECONDS):
            view = await bots.wait_settled(asked.bot_id)
        assert (view.state, view.ending) == (BotState.GONE, Ending.NOT_PLACED)
        assert view.reason == "no provider named 'Chat' is registered, not within 0.3 s"
        assert bots.listed() == (view,)
        assert await bots.wait_settled(asked.bot_id) == view


async def test_a_provider_killed_with_its_bots_is_followed_by_another() -> None:
    async with (
        running_server(bot_deadlines=DEADLINES) as server,
        person(server) as ada,
        chat_program(server, "Doomed") as process,
    ):
        bots, lobby_id = server.service.bots, ada.joined.lobby_id
        first = await request_active(server, lobby_id, name="Helper")
        assert first.provider == "Doomed"
        async with providing(server, name="Heir") as heir:
            with watching(server) as watch:
                process.kill()
                again = await watch.until(BotReassigned, first.bot_id)
                assert "'Doomed' is gone" in again.reason
                active = await watch.until(BotActive, first.bot_id)
            assert active.provider_id == heir.provider_id
            view = bots.find(first.bot_id)
            assert view is not None
            assert (view.joins, view.reassignments, view.failures) == (2, 1, 1)
            assert view.participant_id != first.participant_id
            assert sorted(names_in(server, lobby_id)) == ["Ada", "Helper"]
            await ada.expect(ChatSend(text="say still here"), ChatSent)
            while (await ada.until(ChatPosted)).message.text != "still here":
                pass


async def test_a_provider_that_is_told_to_stop_lets_its_bots_finish() -> None:
    async with (
        running_server(bot_deadlines=DEADLINES) as server,
        person(server) as ada,
        chat_program(server, "Polite") as process,
    ):
        bots = server.service.bots
        view = await request_active(server, ada.joined.lobby_id)
        process.terminate()
        with trio.fail_after(PATIENCE_SECONDS):
            while bots.providers()[0].state is not ProviderState.DRAINING:
                await trio.sleep(0.02)
            assert bots.providers()[0].bots == 1
            await bots.stop(view.bot_id, "enough")
            assert await process.wait() == 0
        assert bots.providers() == ()


async def test_a_provider_whose_connection_breaks_comes_back_and_its_bots_stay() -> None:
    async with (
        running_server(bot_deadlines=_with(away_s=20)) as server,
        person(server) as ada,
        providing(server, backoff=voicebot.Backoff(initial_s=0.01)) as chat,
    ):
        bots = server.service.bots
        view = await request_active(server, ada.joined.lobby_id)
        link = bots._links[chat.provider_id]
        again = chat.registered
        await trio.aclose_forcefully(link._socket._stream)
        with trio.fail_after(PATIENCE_SECONDS):
            while chat.registered is again:
                await trio.sleep(0.01)
            await chat.registered.wait()
        (provider,) = bots.providers()
        assert (provider.provider_id, provider.losses, provider.bots) == (chat.provider_id, 1, 1)
        now = bots.find(view.bot_id)
        assert now is not None
        assert (now.state, now.participant_id) == (BotState.ACTIVE, view.participant_id)
        assert await bots.answer(ada.joined.lobby_id, "say yes", "p-1") == "yes"


async def test_a_bot_that_crashes_is_tried_again() -> None:
    crashes = 0

    class Fragile(voicebot.ChatBot):
        async def run(self, connection: voicebot.Connection) -> None:
            nonlocal crashes
            if not crashes:
                crashes += 1
                raise KeyError("a fault\nof the author's")
            await super().run(connection)

    async with (
        running_server(bot_deadlines=DEADLINES) as server,
        person(server) as ada,
        providing(server, Fragile),
    ):
        with watching(server) as watch:
            asked = await server.service.bots.request(ada.joined.lobby_id)
            lost = await watch.until(BotReassigned, asked.bot_id)
            # Its goodbye may be heard before its provider says why.
            assert lost.reason.startswith("'Chat' failed: KeyError:")
            await watch.until(BotActive, asked.bot_id)
        view = server.service.bots.find(asked.bot_id)
        assert view is not None
        assert (view.joins, view.failures) == (2, 1)


async def test_a_bot_that_cannot_be_made_is_refused_with_its_reason() -> None:
    class Picky(voicebot.ChatBot):
        def __init__(self, assignment: voicebot.Assignment) -> None:
            raise ValueError(f"no taste for {assignment.lobby}")

    async with (
        running_server(bot_deadlines=DEADLINES) as server,
        person(server) as ada,
        providing(server, Picky),
    ):
        bots = server.service.bots
        asked = await bots.request(ada.joined.lobby_id)
        with trio.fail_after(PATIENCE_SECONDS):
            view = await bots.wait_settled(asked.bot_id)
        assert view.ending is Ending.NOT_PLACED
        assert "refused: ValueError: no taste for garden" in view.reason


async def test_a_draining_provider_gets_no_more_and_is_told() -> None:
    async with (
        running_server(bot_deadlines=DEADLINES) as server,
        person(server) as ada,
        providing(server, name="Old") as old,
    ):
        bots, lobby_id = server.service.bots, ada.joined.lobby_id
        kept = await request_active(server, lobby_id)
        view = bots.drain_provider(old.provider_id, "a new version comes")
        assert (view.state, view.reason) == (ProviderState.DRAINING, "a new version comes")
        asked = await bots.request(lobby_id)
        with trio.fail_after(PATIENCE_SECONDS):
            refused = await bots.wait_settled(asked.bot_id)
        assert "1 is draining" in refused.reason
        assert old.runner.draining
        async with providing(server, name="New"):
            assert (await request_active(server, lobby_id)).provider == "New"
            now = bots.find(kept.bot_id)
            assert now is not None
            assert (now.state, now.provider) == (BotState.ACTIVE, "Old")
        with pytest.raises(UnknownProviderError):
            bots.drain_provider("v-none")


async def test_a_provider_may_drain_itself() -> None:
    async with running_server(bot_deadlines=DEADLINES) as server, registered(server) as hand:
        assert await hand.say(DrainProvider(reason="lunch")) == Ok()
        assert (await hand.hear(ProviderDraining)).reason == "lunch"
        (provider,) = server.service.bots.providers()
        assert (provider.state, provider.reason) == (ProviderState.DRAINING, "lunch")


async def test_goodbye_gives_the_bots_to_others_at_once() -> None:
    async with (
        running_server(bot_deadlines=_with(away_s=1000)) as server,
        person(server) as ada,
        trio.open_nursery() as nursery,
    ):
        leaving = await nursery.start(_provide, server, "Leaving")
        view = await request_active(server, ada.joined.lobby_id)
        async with providing(server, name="Staying"):
            with watching(server) as watch:
                leaving.cancel()
                await watch.until(BotReassigned, view.bot_id)
                await watch.until(BotActive, view.bot_id, provider="Staying")
            assert names_in(server, ada.joined.lobby_id) == ["Ada", "Staying"]


async def test_a_silent_heart_ends_a_provider() -> None:
    async with (
        running_server(bot_deadlines=_with(late_s=0.5)) as server,
        person(server) as ada,
        registered(server) as hand,
    ):
        assert await hand.say(Heartbeat(load=0.25)) == Ok()
        (provider,) = server.service.bots.providers()
        assert provider.load == 0.25
        assert await hand.closed() == 4008
        assert server.service.bots.providers() == ()
        assert ada.joined.lobby_id


async def test_a_question_of_the_peer_path_is_answered_by_the_lobbys_bot() -> None:
    async with running_server(bot_deadlines=DEADLINES) as server:
        company_id, key = await new_company(server)
        async with (
            peer_connected(server, "ada", key) as ada,
            providing(server, name="Chat", credential=key),
        ):
            lobby = server.service.lobbies.find("main", company_id)
            assert lobby is not None
            assert (await ada.ask("message", message="say hello"))["code"] == "no_bot"
            view = await request_active(server, lobby.lobby_id, company_id=company_id)
            reply = await ada.ask("message", message="say hello")
            assert (reply["type"], reply["content"]) == ("response", "hello")
            who = await ada.ask("message", message="hello")
            assert who["content"].startswith("Hello, ada!")
            now = server.service.bots.find(view.bot_id)
            assert now is not None
            assert now.messages == 2
            assert server.service.access.companies.usage.of(company_id).held[Resource.BOT] == 1


async def _bring(server, hand: HandProvider, lobby_id: str, client) -> str:
    """Let a provider by hand accept an offer, and a client come in as its bot."""
    asked = await server.service.bots.request(lobby_id)
    offer = await hand.hear(BotOffer)
    assert await hand.say(AcceptBot(bot_id=offer.bot_id)) == Ok()
    await client.join(offer.lobby, offer.name, bot_ticket=offer.ticket)
    with trio.fail_after(PATIENCE_SECONDS):
        await server.service.bots.wait_settled(asked.bot_id)
    return asked.bot_id


async def test_a_question_that_is_not_answered_in_time_fails() -> None:
    async with running_server(bot_deadlines=_with(answer_s=0.1)) as server:
        _, key = await new_company(server)
        async with (
            peer_connected(server, "ada", key) as ada,
            registered(server, capabilities=CHAT_CAPABILITIES) as hand,
            connected(server.url) as client,
        ):
            (lobby,) = server.service.lobbies
            await _bring(server, hand, lobby.lobby_id, client)
            late = await ada.ask("message", message="are you there?")
            assert (late["code"], late["error"]) == ("bot_timeout", "the bot did not answer within 0.1 s")
            question = await hand.hear(BotQuestion)
            answer = AnswerQuestion(question_id=question.question_id, text="here")
            assert await hand.refused(answer) == ("unknown_question", "question_id")


async def test_a_question_fails_with_a_reason_when_the_bot_says_so_or_leaves() -> None:
    async with running_server(bot_deadlines=DEADLINES) as server:
        _, key = await new_company(server)
        async with (
            peer_connected(server, "ada", key) as ada,
            registered(server, capabilities=CHAT_CAPABILITIES) as hand,
            connected(server.url) as client,
        ):
            (lobby,) = server.service.lobbies
            bot_id = await _bring(server, hand, lobby.lobby_id, client)
            await ada.say("message", message="are you there?")
            question = await hand.hear(BotQuestion)
            assert (question.bot_id, question.text) == (bot_id, "are you there?")
            assert question.participant_id in lobby.participants
            reply = FailQuestion(question_id=question.question_id, reason="no idea")
            assert await hand.say(reply) == Ok()
            failed = await ada.hear()
            assert (failed["code"], failed["error"]) == ("bot_failed", "the bot did not answer: no idea")
            assert await hand.refused(reply) == ("unknown_question", "question_id")
            await ada.say("message", message="and then?")
            await hand.hear(BotQuestion)
            await server.service.bots.stop(bot_id, "enough")
            assert (await ada.hear())["error"] == "the bot did not answer: it has left (enough)"
            assert server.service.bots.statistics().unanswered == 2


async def test_bots_leave_a_lobby_that_only_they_keep_open() -> None:
    async with running_server(bot_deadlines=DEADLINES) as server, providing(server):
        bots = server.service.bots
        kept = await server.service.lobbies.create("hall", LobbyOptions(persistent=True))
        waiting = await request_active(server, kept.lobby_id)
        with watching(server) as watch:
            async with person(server) as ada:
                lobby_id = ada.joined.lobby_id
                view = await request_active(server, lobby_id)
            gone = await watch.until(BotGone, view.bot_id)
        assert gone.reason == "nobody but bots is left in the lobby"
        assert server.service.lobbies.get(lobby_id) is None
        now = bots.find(waiting.bot_id)
        assert now is not None
        assert now.state is BotState.ACTIVE


async def test_a_bot_that_is_kicked_or_whose_lobby_is_closed_is_gone() -> None:
    async with running_server(bot_deadlines=DEADLINES) as server, person(server) as ada, providing(server):
        lobby = server.service.lobbies.get(ada.joined.lobby_id)
        assert lobby is not None
        moderation = Moderation(lobbies=server.service.lobbies, sessions=server.service.sessions)
        with watching(server) as watch:
            kicked = await request_active(server, lobby.lobby_id)
            moderation.kick(lobby, kicked.participant_id or "", "no bots here")
            gone = await watch.until(BotGone, kicked.bot_id)
            assert (gone.ending, gone.reason) == (Ending.STOPPED, "kicked")
            closed = await request_active(server, lobby.lobby_id)
            await server.service.lobbies.close(lobby, "the lesson is over")
            gone = await watch.until(BotGone, closed.bot_id)
            assert gone.reason == "the lobby was closed: the lesson is over"


async def test_what_cannot_be_asked_for_is_refused_and_changes_nothing() -> None:
    async with running_server(bot_deadlines=DEADLINES) as server, person(server) as ada, providing(server):
        bots, lobby_id = server.service.bots, ada.joined.lobby_id
        with pytest.raises(UnknownLobbyError):
            await bots.request("l-none")
        with pytest.raises(UnknownLobbyError):
            await bots.request(lobby_id, company_id="co-other")
        with pytest.raises(BotConfigError, match=r"config\.greeting") as fault:
            await bots.request(lobby_id, config={"greeting": 7})
        assert fault.value.field == "config.greeting"
        with pytest.raises(BotConfigError, match="not JSON"):
            await bots.request(lobby_id, config={"greeting": object()})
        with pytest.raises(InvalidRequestError, match="control character"):
            await bots.request(lobby_id, name="a\nb")
        with pytest.raises(UnknownBotError):
            await bots.stop("b-none", "why not")
        with pytest.raises(UnknownBotError):
            await bots.wait_settled("b-none")
        server.service.drain.begin("maintenance")
        with pytest.raises(BotsDrainingError, match="maintenance"):
            await bots.request(lobby_id)
        assert bots.listed() == ()
        assert bots.find("b-none") is None


async def test_a_company_has_no_more_bots_than_it_may_and_only_its_own() -> None:
    async with running_server(bot_deadlines=DEADLINES) as server:
        (one_id, one), (two_id, two) = (
            await new_company(server, "One", max_bots=1),
            await new_company(server, "Two"),
        )
        async with (
            peer_connected(server, "ada", one),
            peer_connected(server, "bob", two),
            providing(server, credential=two, name="Chat"),
        ):
            bots = server.service.bots
            lobbies = {lobby.company_id: lobby.lobby_id for lobby in server.service.lobbies}
            view = await request_active(server, lobbies[two_id], company_id=two_id)
            assert bots.listed(company_id=one_id) == ()
            assert [each.bot_id for each in bots.listed(company_id=two_id)] == [view.bot_id]
            assert [each.name for each in bots.providers(two_id)] == ["Chat"]
            assert bots.providers(one_id) == ()
            # The provider of the other company is not even asked.
            asked = await bots.request(lobbies[one_id], company_id=one_id)
            with pytest.raises(CompanyLimitError):
                await bots.request(lobbies[one_id], company_id=one_id)
            with trio.fail_after(PATIENCE_SECONDS):
                assert "no provider is registered" in (await bots.wait_settled(asked.bot_id)).reason
            again = await bots.request(lobbies[one_id], company_id=one_id, idempotency_key="k")
            assert await bots.request(lobbies[one_id], company_id=one_id, idempotency_key="k") == again


async def test_a_part_of_the_program_can_be_a_provider() -> None:
    async with (
        running_server(bot_deadlines=DEADLINES) as server,
        person(server) as ada,
        trio.open_nursery() as nursery,
    ):
        told: list[object] = []
        runner = voicebot.BotRunner(
            voicebot.ChatBot,
            capacity=2,
            connect=lambda: voicebot.connect(server.url.replace("http", "ws") + "/ws"),
            tell=lambda message: told.append(provider.tell(message)),
            report=lambda _, error: told.append(error),
        )
        provider = InProcessProvider(server.service.bots, runner.handle)
        await nursery.start(runner.run)
        assert isinstance(provider.tell(Heartbeat()), ErrorReply)  # it has not registered
        assert isinstance(provider.tell(Register(name="Inside", capacity=2)), Registered)
        view = await request_active(server, ada.joined.lobby_id)
        assert view.provider == "Inside"
        with watching(server) as watch:
            provider.leave()
            await watch.until(BotReassigned, view.bot_id)
        assert server.service.bots.providers() == ()
        assert isinstance(provider.tell(AcceptBot(bot_id=view.bot_id)), ErrorReply)
        nursery.cancel_scope.cancel()


async def test_bots_outlive_a_server_that_starts_again() -> None:
    store = MemoryStore()
    backoff = voicebot.Backoff(initial_s=0.05, maximum_s=0.2, attempts=None)
    async with trio.open_nursery() as nursery:
        async with running_server(store=store, bot_deadlines=DEADLINES) as server, person(server) as ada:
            provider = voicebot.Provider(server.url, voicebot.ChatBot, backoff=backoff)
            nursery.start_soon(provider.run)
            with trio.fail_after(PATIENCE_SECONDS):
                await provider.registered.wait()
            view = await request_active(server, ada.joined.lobby_id, requested_by="ada", idempotency_key="k")
            before = provider.provider_id
            await ada.drop()
        async with (
            running_server(store=store, port=server.port, bot_deadlines=DEADLINES) as again,
            connected(again.url) as back,
        ):
            bots = again.service.bots
            found = bots.find(view.bot_id)
            assert found is not None
            assert (found.state, found.participant_id, found.requested_by) == (
                BotState.ACTIVE,
                view.participant_id,
                "ada",
            )
            assert found.requested_at == view.requested_at
            assert found.joins == 1
            await back.resume_after(ada)
            with trio.fail_after(PATIENCE_SECONDS):
                while bots.providers()[0].state is not ProviderState.READY:
                    await trio.sleep(0.02)
                # The bot's own connection comes back by itself as well.
                while not all(each.attached for each in again.service.sessions if each.membership):
                    await trio.sleep(0.02)
            assert provider.provider_id == before
            assert (await bots.request(view.lobby_id, idempotency_key="k")).bot_id == view.bot_id
            await back.expect(ChatSend(text="say still here"), ChatSent)
            while (await back.until(ChatPosted)).message.text != "still here":
                pass
            with watching(again) as watch:
                await bots.stop(view.bot_id, "enough")
                await watch.until(BotGone, view.bot_id)
            assert names_in(again, view.lobby_id) == ["Ada"]
        assert (await store.load()).bots == ()
        nursery.cancel_scope.cancel()


async def test_bots_whose_provider_does_not_outlive_the_server_go_to_another() -> None:
    store = MemoryStore()
    async with running_server(store=store, bot_deadlines=_with(away_s=1000)) as server, person(server) as ada:
        lobby_id = ada.joined.lobby_id
        async with chat_program(server, "Doomed") as process:
            active = await request_active(server, lobby_id, name="Helper")
            process.kill()
            await process.wait()
        waiting = await server.service.bots.request(lobby_id, name="Late")
        await ada.drop()
    kept = {record.bot_id for record in (await store.load()).bots}
    assert kept == {active.bot_id, waiting.bot_id}
    async with (
        running_server(store=store, bot_deadlines=_with(restart_s=0.2)) as again,
        connected(again.url) as back,
    ):
        await back.resume_after(ada)
        with watching(again) as watch:
            async with providing(again, name="Heir"):
                await watch.until(BotActive, waiting.bot_id)
                await watch.until(BotActive, active.bot_id)
                with trio.fail_after(PATIENCE_SECONDS):
                    while sorted(names_in(again, lobby_id)) != ["Ada", "Helper", "Late"]:
                        await trio.sleep(0.02)
                view = again.service.bots.find(active.bot_id)
                assert view is not None
                assert (view.joins, view.reassignments) == (2, 1)


async def test_a_bot_that_was_told_to_leave_is_not_wanted_after_a_restart() -> None:
    store = MemoryStore()
    async with (
        running_server(store=store, bot_deadlines=DEADLINES) as server,
        person(server) as ada,
        registered(server) as hand,
        connected(server.url) as client,
    ):
        bot_id = await _bring(server, hand, ada.joined.lobby_id, client)
        (kept,) = (await store.load()).bots
        assert (kept.bot_id, kept.participant_id) == (bot_id, client.joined.participant_id)
        assert (await server.service.bots.stop(bot_id, "enough")).state is BotState.LEAVING
        assert (await store.load()).bots == ()


async def test_a_bot_that_the_database_does_not_keep_is_not_run() -> None:
    full = True

    class Stubborn(MemoryStore):
        async def commit(self, *changes: Change) -> None:
            if full and any(isinstance(change, PutBot) for change in changes):
                raise StoreUnavailableError("the disk is full")
            await super().commit(*changes)

    async with (
        running_server(store=Stubborn(), bot_deadlines=DEADLINES) as server,
        person(server) as ada,
        registered(server) as hand,
    ):
        bots = server.service.bots
        with pytest.raises(StoreUnavailableError, match="disk is full"):
            await bots.request(ada.joined.lobby_id)
        offer = await hand.hear(BotOffer)
        assert (await hand.hear(BotStop)).bot_id == offer.bot_id
        (view,) = bots.listed()
        assert (view.state, view.ending) == (BotState.GONE, Ending.STOPPED)
        full = False
        known = await bots.request(ada.joined.lobby_id, idempotency_key="k")
        full = True
        # Who asks again for what was promised gets no new promise, and what was promised goes on.
        with pytest.raises(StoreUnavailableError, match="disk is full"):
            await bots.request(ada.joined.lobby_id, idempotency_key="k")
        again = bots.find(known.bot_id)
        assert again is not None
        assert again.state is BotState.OFFERED


async def test_bots_are_kept_by_a_database(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'relay.db'}"
    async with (
        running_server(database=database, data_dir=tmp_path, bot_deadlines=_with(request_s=1000)) as server,
        person(server) as ada,
    ):
        config = {"greeting": "hé \N{GRINNING FACE}", "deep": [1, 2.5, None, {"a": True}]}
        asked = await server.service.bots.request(
            ada.joined.lobby_id, config=config, name="Ålice", idempotency_key="k", capability="chat"
        )
        await ada.drop()
    async with running_server(database=database, data_dir=tmp_path, bot_deadlines=DEADLINES) as again:
        bots = again.service.bots
        found = bots.find(asked.bot_id)
        assert found is not None
        assert (found.state, found.reason) == (BotState.REQUESTED, "the server started again")
        assert (found.name, found.config, found.requested_at) == ("Ålice", config, asked.requested_at)
        # It is the same request still.
        same = await bots.request(
            asked.lobby_id, config=config, name="Ålice", idempotency_key="k", capability="chat"
        )
        assert same.bot_id == asked.bot_id
        async with registered(again, capabilities=CHAT_CAPABILITIES) as hand:
            offer = await hand.hear(BotOffer)
            assert (offer.bot_id, offer.name, offer.config) == (asked.bot_id, "Ålice", config)


async def test_what_the_bots_did_not_hear_they_see_for_themselves() -> None:
    """Who comes and goes while more happens than waits for the bots is not overlooked."""
    async with (
        running_server(bot_deadlines=DEADLINES) as server,
        person(server) as ada,
        registered(server) as hand,
        connected(server.url) as client,
        connected(server.url) as second,
    ):
        lobby = server.service.lobbies.get(ada.joined.lobby_id)
        assert lobby is not None
        bot_id = await _bring(server, hand, lobby.lobby_id, client)
        with watching(server) as watch:
            _flood(server, ada.joined.participant_id)
            # Dropped by the bots' subscription, which is full.
            lobby.participants[client.joined.participant_id].dismiss(TOKEN_EXPIRED)
            await watch.until(BotReassigned, bot_id)
        offers = [await hand.hear(ServerMessage) for _ in range(2)]
        offer = next(each for each in offers if isinstance(each, BotOffer))
        assert await hand.say(AcceptBot(bot_id=bot_id)) == Ok()
        await second.join(offer.lobby, offer.name, bot_ticket=offer.ticket)
        with trio.fail_after(PATIENCE_SECONDS):
            while (view := server.service.bots.find(bot_id)) is None or view.state is not BotState.ACTIVE:
                await trio.sleep(0.02)
        assert view.participant_id == second.joined.participant_id
        assert server.service.bus.subscribers["bots"].lost == 1


async def test_the_reply_comes_before_what_a_request_brings_about() -> None:
    async with (
        running_server(bot_deadlines=_with(request_s=20)) as server,
        person(server) as ada,
        opened(server) as provider,
    ):
        await server.service.bots.request(ada.joined.lobby_id)
        await provider.socket.send_message('{"type": "register", "data": {"name": "Hand"}, "id": 1}')
        types = [json.loads(await provider.socket.get_message())["type"] for _ in range(2)]
        assert types == ["registered", "offer"]


async def test_a_provider_that_cannot_be_one_is_told_why() -> None:
    class Odd(voicebot.ChatBot):
        config_schema: ClassVar = {"pattern": ".*"}

    async with running_server(admin_token="a-token-of-some-length") as server:
        with pytest.raises(voicebot.ConnectError, match="HTTP 401"):
            await voicebot.provide(server.url, voicebot.ChatBot, credential="wrong")
        with pytest.raises(voicebot.ProtocolError, match=r"config_schema\.pattern") as refused:
            await voicebot.provide(server.url, Odd, credential="a-token-of-some-length")
        assert refused.value.code == "invalid_schema"


async def test_a_ticket_is_not_for_everybody() -> None:
    async with (
        running_server(bot_deadlines=DEADLINES) as server,
        person(server) as ada,
        registered(server) as hand,
        connected(server.url) as client,
    ):
        await server.service.bots.request(ada.joined.lobby_id)
        offer = await hand.hear(BotOffer)
        for wrong in (
            Join(lobby="garden", name=offer.name, bot_ticket="guessed"),
            Join(lobby="cellar", name=offer.name, bot_ticket=offer.ticket),
        ):
            reply = await client.refused(wrong)
            assert (reply.code, reply.field) == ("token_invalid", "bot_ticket")
        await client.join(offer.lobby, offer.name, bot_ticket=offer.ticket)
        async with connected(server.url) as thief:
            reply = await thief.refused(Join(lobby="garden", name=offer.name, bot_ticket=offer.ticket))
            assert reply.code == "token_invalid"
        assert server.service.bots.statistics().tickets_refused == 3


def _flood(server: RunningServer, participant_id: str) -> None:
    """Let more happen at once than waits for any subscriber."""
    line = ChatMessage(
        seq=1, participant_id=participant_id, name="Ada", text="hello", sent_at=datetime.now(UTC)
    )
    for _ in range(SUBSCRIBER_EVENTS + 1):
        server.service.bus.publish(ChatSaid("elsewhere", line))


def _with(**more: float) -> Deadlines:
    return replace(DEADLINES, **more)


async def _provide(server: RunningServer, name: str, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
    with trio.CancelScope() as scope:
        async with providing(server, name=name):
            task_status.started(scope)
            await trio.sleep_forever()


@asynccontextmanager
async def chat_program(server: RunningServer, name: str) -> AsyncIterator[trio.Process]:
    """Run ``relay bot chat`` in a process of its own; whatever becomes of it, it is ended."""
    command = [sys.executable, "-m", "signaling", "bot", "chat", "--url", server.url, "--name", name]
    process = await trio.lowlevel.open_process(command, stderr=subprocess.DEVNULL)
    try:
        with trio.fail_after(PATIENCE_SECONDS * 2):
            while not server.service.bots.providers():
                await trio.sleep(0.05)
        yield process
    finally:
        with trio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
            await process.wait()
