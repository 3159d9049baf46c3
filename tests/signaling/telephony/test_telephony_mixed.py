"""Phone calls and Twilio's bots in a lobby of a whole server: the real relay, the real mixer, real WebSockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import trio
from bot_server import Bot, bot_server, echo
from handset import AMPLITUDE, PATIENCE_SECONDS, amplitude_of, exotel_call, share, twilio_call
from phone_client import AUTH_TOKEN, PUBLIC_URL
from phone_parts import tone
from running_server import running_server
from wire_client import in_lobby

from signaling.messages import (
    Dtmf,
    ParticipantJoined,
    ParticipantLeft,
    Speaking,
    TrackPublished,
    TrackUpdated,
)
from signaling.server import RunningServer

PASSWORD = "correct horse"


@asynccontextmanager
async def serving(**settings: object) -> AsyncIterator[tuple[RunningServer, httpx.AsyncClient]]:
    """A server to which phones lead, into the lobby "support"; and its HTTP interface."""
    given = {
        "twilio_auth_token": AUTH_TOKEN,
        "telephony_public_url": PUBLIC_URL,
        "exotel_password": PASSWORD,
        "telephony_numbers": [{"number": "+18005551212", "lobby": "support"}],
        "twilio_bots": 2,
    } | settings
    async with (
        running_server(**given) as server,
        httpx.AsyncClient(base_url=server.url, timeout=PATIENCE_SECONDS) as http,
    ):
        yield server, http


async def test_two_calls_hear_each_other_and_not_themselves() -> None:
    async with (
        serving() as (server, _),
        twilio_call(server, 440) as first,
        exotel_call(server, PASSWORD, 1000) as second,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(first.talk)
        nursery.start_soon(second.talk)
        for ear, mouth in ((first, second), (second, first)):
            heard = await ear.until_tone(mouth.hertz)
            assert share(heard, ear.hertz, ear.rate) < 1e-3
            assert amplitude_of(heard) == pytest.approx(AMPLITUDE, rel=0.12)  # 1 dB
        nursery.cancel_scope.cancel()


async def test_a_caller_is_a_participant_who_presses_keys_speaks_and_hangs_up() -> None:
    async with (
        serving() as (server, _),
        in_lobby(server.url, "support") as ada,
        twilio_call(server, 440) as caller,
        trio.open_nursery() as nursery,
    ):
        joined = (await ada.until(ParticipantJoined)).participant
        assert (joined.name, joined.is_bot) == ("Caller 5309", False)
        assert "4158675309" not in joined.model_dump_json()
        track = (await ada.until(TrackPublished)).track
        assert (track.source, track.in_slots, track.muted) == ("microphone", True, False)
        await caller.line.say(event="dtmf", dtmf={"track": "inbound_track", "digit": "#"})
        pressed = await ada.until(Dtmf)
        assert (pressed.participant_id, pressed.digit) == (joined.participant_id, "#")
        nursery.start_soon(caller.talk)
        spoke = await ada.until(Speaking)
        assert (spoke.participant_id, spoke.speaking) == (joined.participant_id, True)
        await caller.line.say(event="stop", streamSid="MZ1", stop={"callSid": "CA1"})
        left = await ada.until(ParticipantLeft)
        assert (left.participant_id, left.reason) == (joined.participant_id, "left")
        nursery.cancel_scope.cancel()


async def test_a_caller_whose_playout_falls_behind_is_cleared() -> None:
    async with (
        serving() as (server, _),
        twilio_call(server, 440) as caller,
        exotel_call(server, PASSWORD, 1000) as other,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(other.talk)
        await caller.until_tone(1000)
        with trio.fail_after(PATIENCE_SECONDS):
            while len(caller.marks) < 2:
                await caller.take()
            assert caller.cleared == 0
            caller.answers_marks = False
            while not caller.cleared:
                await caller.take()
        nursery.cancel_scope.cancel()


async def test_a_caller_is_muted_unmuted_and_removed_by_an_administrator() -> None:
    async with (
        serving() as (server, http),
        in_lobby(server.url, "support") as ada,
        twilio_call(server, 440) as caller,
        exotel_call(server, PASSWORD, 1000) as other,
        trio.open_nursery() as nursery,
    ):
        joined = (await ada.until(ParticipantJoined)).participant
        base = f"/api/lobbies/{ada.joined.lobby_id}/participants/{joined.participant_id}"
        nursery.start_soon(caller.talk)
        await other.until_tone(440)
        await http.put(f"{base}/muted", json={"muted": True})
        assert (await ada.until(TrackUpdated)).track.muted_by_server
        await other.until_silence()
        await http.put(f"{base}/muted", json={"muted": False})
        await other.until_tone(440)
        # The track alone, which is another way to the same.
        shown = (await http.get(base)).json()
        await http.put(f"{base}/muted", json={"muted": True, "track_id": shown["tracks"][0]["track_id"]})
        await other.until_silence()
        await http.delete(f"{base}?reason=manners")
        assert await caller.line.closed() == (1000, "manners")
        await ada.until(ParticipantLeft)
        await http.delete(f"/api/lobbies/{ada.joined.lobby_id}")
        assert await other.line.closed() == (1000, "the lobby was closed")
        nursery.cancel_scope.cancel()


async def test_calls_that_may_not_come_in_are_told_why() -> None:
    async with serving() as (server, http):
        await http.post("/api/lobbies", json={"name": "support", "private": True, "password": "a good one"})
        async with twilio_call(server, 440) as caller:
            code, reason = await caller.line.closed()
        assert code == 1013
        assert "this lobby is private" in reason


async def ask_bot(http: httpx.AsyncClient, lobby_id: str, url: str) -> str:
    asked = await http.post(
        f"/api/lobbies/{lobby_id}/bots",
        params={"wait_seconds": 15},
        json={"provider": "twilio", "name": "Robin", "config": {"url": url}},
    )
    bot = asked.json()
    assert bot["state"] == "active", bot
    return bot["bot_id"]


async def test_a_twilio_bot_hears_a_caller_and_answers() -> None:
    async with (
        serving() as (server, http),
        in_lobby(server.url, "support") as ada,
        twilio_call(server, 440) as caller,
        bot_server(echo) as robot,
        trio.open_nursery() as nursery,
    ):
        await ada.until(TrackPublished)
        bot_id = await ask_bot(http, ada.joined.lobby_id, robot.url)
        joined = (await ada.until(ParticipantJoined)).participant
        assert (joined.name, joined.is_bot) == ("Robin", True)
        assert (await ada.until(TrackPublished)).track.source == "bot"
        nursery.start_soon(caller.talk)
        # Nobody hears oneself: what the caller hears of the own tone comes from the bot.
        heard = await caller.until_tone(440)
        assert amplitude_of(heard) == pytest.approx(AMPLITUDE, rel=0.12)
        await http.delete(f"/api/bots/{bot_id}")
        assert (await ada.until(ParticipantLeft)).participant_id == joined.participant_id
        await robot.wait_ended()
        await caller.until_silence()
        nursery.cancel_scope.cancel()


async def test_a_twilio_bot_is_told_of_keys_gets_its_marks_back_and_is_silent_when_it_clears() -> None:
    heard_by_bot: list[dict[str, object]] = []
    silence_wanted = trio.Event()

    async def behave(bot: Bot) -> None:
        await bot.wait_started()
        heard_by_bot.append((await bot.hear("dtmf"))["dtmf"])
        await bot.say("mark", mark={"name": "nothing waits"})
        heard_by_bot.append((await bot.hear("mark"))["mark"])
        await bot.speak(tone(250, hertz=700))  # no whole frames
        await bot.say("mark", mark={"name": "short"})
        heard_by_bot.append((await bot.hear("mark"))["mark"])
        # Four minutes, of which little will be heard.
        for _ in range(240):
            await bot.speak(tone(8000, hertz=700))
        await bot.say("mark", mark={"name": "long"})
        while not silence_wanted.is_set():
            assert (await bot.next())["event"] == "media"
        await bot.say("clear")
        heard_by_bot.append((await bot.hear("mark"))["mark"])
        await bot.hear("stop")

    async with (
        serving() as (server, http),
        in_lobby(server.url, "support") as ada,
        twilio_call(server, 440) as caller,
        bot_server(behave) as robot,
    ):
        await ada.until(TrackPublished)
        bot_id = await ask_bot(http, ada.joined.lobby_id, robot.url)
        await caller.line.say(event="dtmf", dtmf={"track": "inbound_track", "digit": "5"})
        await caller.until_tone(700)
        silence_wanted.set()
        await caller.until_silence()
        await http.delete(f"/api/bots/{bot_id}")
        await robot.wait_ended()
        assert [each.get("digit", each.get("name")) for each in heard_by_bot] == [
            "5",
            "nothing waits",
            "short",
            "long",
        ]
