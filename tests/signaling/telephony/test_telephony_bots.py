"""Bots written for Twilio, asked for by the bots' API of a real server; they join with their tickets, as other bots do."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx
import numpy as np
import pytest
import trio
from bot_server import Bot, answer_http, bot_server, echo
from phone_parts import PATIENCE_SECONDS, FakeLine, FakeLobby, tone
from provider_client import watching
from running_server import running_server
from wire_client import in_lobby

import voicebot
from signaling.bots import BotState, Deadlines, Ending
from signaling.bots.events import BotGone
from signaling.server import RunningServer
from signaling.telephony.g711 import decode_mulaw, encode_mulaw

DEADLINES = Deadlines(
    request_s=0.3, offer_s=20, join_s=20, leave_s=20, cool_down_s=0.01, max_cool_down_s=0.02
)


class JoiningLobby(FakeLobby):
    """An ``OpenLine`` whose participants are real ones, though what they hear is the test's to say."""

    url = ""

    @asynccontextmanager
    async def __call__(
        self, *, lobby: str, name: str, rate: int, live: bool, metadata: Mapping[str, str]
    ) -> AsyncIterator[FakeLine]:
        async with (
            voicebot.connect(self.url) as connection,
            super().__call__(lobby=lobby, name=name, rate=rate, live=live, metadata=metadata) as line,
        ):
            await connection.join(lobby, name, is_bot=True, bot_ticket=metadata["bot_ticket"])
            yield line


class Garden:
    """A server, somebody in the lobby "garden", and the HTTP interface."""

    def __init__(
        self, server: RunningServer, lines: JoiningLobby, lobby_id: str, http: httpx.AsyncClient
    ) -> None:
        self.server = server
        self.lines = lines
        self.lobby_id = lobby_id
        self.http = http

    async def ask(self, url: str, *, wait: float = 0, **config: object) -> httpx.Response:
        return await self.http.post(
            f"/api/lobbies/{self.lobby_id}/bots",
            params={"wait_seconds": wait},
            json={"provider": "twilio", "name": "Robin", "config": {"url": url, **config}},
        )

    def names(self) -> list[str]:
        lobby = self.server.service.lobbies.get(self.lobby_id)
        return [each.name for each in lobby.participants.values()]

    async def wait_gone(self, bot_id: str) -> None:
        with watching(self.server) as watch:
            if self.server.service.bots.find(bot_id).state is not BotState.GONE:
                await watch.until(BotGone, bot_id)


@asynccontextmanager
async def garden(**settings: object) -> AsyncIterator[Garden]:
    lines = JoiningLobby()
    given = {"twilio_bots": 2, "bot_deadlines": DEADLINES} | settings
    async with (
        running_server(open_line=lines, **given) as server,
        in_lobby(server.url) as person,
        httpx.AsyncClient(base_url=server.url, timeout=PATIENCE_SECONDS) as http,
    ):
        lines.url = server.url.replace("http", "ws", 1) + "/ws"
        yield Garden(server, lines, person.joined.lobby_id, http)


async def test_a_twilio_bot_comes_hears_answers_and_is_told_to_go() -> None:
    async with bot_server() as robot, garden() as place:
        answer = await place.ask(robot.url, wait=15, parameters={"persona": "bird"})
        assert answer.status_code == 202, answer.text
        bot = answer.json()
        assert (bot["state"], bot["name"], bot["provider"]) == ("active", "Robin", "twilio")
        assert place.names() == ["Ada", "Robin"]
        assert "config" not in bot
        opened = place.lines.opened[0]
        assert (opened["lobby"], opened["name"], opened["rate"], opened["live"]) == (
            "garden",
            "Robin",
            8000,
            False,
        )
        line, said = await place.lines.line(), tone(160)
        line.say(said)
        expected = decode_mulaw(encode_mulaw(said))
        await line.until(lambda: any(np.array_equal(each, expected) for each in line.queued))
        assert robot.bots[0].start["customParameters"] == {"persona": "bird"}
        stopped = await place.http.delete(f"/api/bots/{bot['bot_id']}", params={"reason": "enough"})
        assert stopped.status_code == 200
        await place.wait_gone(bot["bot_id"])
        gone = place.server.service.bots.find(bot["bot_id"])
        assert (gone.ending, gone.reason) == (Ending.STOPPED, "enough")
        await place.lines.wait_left()
        await robot.wait_ended()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://a.example/", "expected a URL that begins with ws:// or wss://"),
        ("wss://user:password@a.example/", "must not contain a user name or password"),
    ],
)
async def test_what_is_no_url_of_a_bot_is_refused(url: str, reason: str) -> None:
    async with garden() as place:
        bot = (await place.ask(url, wait=15)).json()
        assert bot["state"] == "gone"
        assert reason in bot["reason"]
        assert place.lines.opened == []


async def test_a_config_without_a_url_is_an_error() -> None:
    async with garden() as place:
        for config in (
            {},
            {"url": 7},
            {"url": "ws://a.example", "parameters": {"a": 1}},
            {"url": "x", "x": 1},
        ):
            answer = await place.http.post(
                f"/api/lobbies/{place.lobby_id}/bots", json={"provider": "twilio", "config": config}
            )
            assert answer.status_code == 422, answer.text


async def test_a_bot_that_is_not_reached_is_gone_and_says_why() -> None:
    async with bot_server(echo, answer_http(403)) as robot, garden() as place:
        bot = (await place.ask(robot.url, wait=15)).json()
        assert bot["state"] == "gone"
        assert "answered 403 Forbidden" in bot["reason"]
        assert place.names() == ["Ada"]


async def test_a_bot_that_crashes_is_dialed_again_and_harms_nobody() -> None:
    async def crash(bot: Bot) -> None:
        await bot.wait_started()
        robot.behave = echo
        await trio.aclose_forcefully(bot.socket._stream)

    async with bot_server(crash) as robot, garden() as place:
        bot = (await place.ask(robot.url, wait=15)).json()
        line = await place.lines.line(1)
        line.say(tone(160))
        await line.until(lambda: line.position >= 160)
        found = place.server.service.bots.find(bot["bot_id"])
        assert found.reassignments == 1
        assert place.server.service.counters.failures.total() == 0


async def test_a_bot_that_ends_by_itself_leaves_the_lobby() -> None:
    async def hear_once(bot: Bot) -> None:
        await bot.wait_started()
        await bot.hear("media")

    async with bot_server(hear_once) as robot, garden() as place:
        bot = (await place.ask(robot.url)).json()
        (await place.lines.line()).say(tone(160))
        await place.wait_gone(bot["bot_id"])
        found = place.server.service.bots.find(bot["bot_id"])
        assert (found.ending, "the bot closed the connection (1000)" in found.reason) == (Ending.LEFT, True)
        await place.lines.wait_left()


async def test_a_company_may_not_have_bots_at_private_addresses() -> None:
    async with bot_server() as robot, garden() as place:
        company = (await place.http.post("/api/companies", json={"name": "Acme"})).json()
        made = await place.http.post(
            "/api/lobbies",
            json={"name": "office"},
            headers={"Authorization": f"Bearer {company['api_key']}"},
        )
        place.lobby_id = made.json()["lobby_id"]
        bot = (await place.ask(robot.url, wait=15)).json()
        assert bot["state"] == "gone"
        assert "not an address of the public Internet" in bot["reason"]
        assert robot.connections == 0


async def test_there_are_none_unless_the_operator_wants_them() -> None:
    async with garden(twilio_bots=0) as place:
        assert place.server.service.bots.providers() == ()
    async with garden() as place:
        (provider,) = (await place.http.get("/api/providers")).json()["providers"]
        assert (provider["name"], provider["capacity"]) == ("twilio", 2)
