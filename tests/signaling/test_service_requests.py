"""Join, leave, rename, chat and ping over real sockets, and what the others are told, in which order."""

from datetime import UTC, datetime

import pytest
import trio
from running_server import running_server
from wire_client import Client, connected, in_lobby

from signaling.lobby import CHAT_HISTORY, CHAT_SNAPSHOT
from signaling.messages import (
    Candidate,
    ChatPosted,
    ChatSend,
    ChatSent,
    ErrorCode,
    Leave,
    Left,
    Mute,
    NameSet,
    Offer,
    Ok,
    ParticipantJoined,
    ParticipantLeft,
    ParticipantUpdated,
    Ping,
    Pong,
    ServerMessage,
    SetName,
    Subscribe,
    Unsubscribe,
    encode_client,
)
from signaling.session import CHAT_BURST


async def test_welcome_names_server_and_limits() -> None:
    async with running_server(max_message_bytes=4096) as server, connected(server.url) as client:
        assert client.welcome.server.name == "trio-relay"
        assert client.welcome.limits.max_message_bytes == 4096
        assert client.welcome.resume_seconds == 30
        assert len(client.welcome.resume_token) >= 32
        assert client.welcome.resume_token not in repr(server.service.sessions.__dict__)


async def test_join_shows_the_lobby_to_the_newcomer_and_the_newcomer_to_the_lobby() -> None:
    async with running_server() as server, in_lobby(server.url, name="Ada") as ada:
        assert [one.name for one in ada.joined.participants] == ["Ada"]
        async with in_lobby(server.url, name="Grace", is_bot=True) as grace:
            assert [one.name for one in grace.joined.participants] == ["Ada", "Grace"]
            assert grace.joined.lobby == "garden"
            told = await ada.event(ParticipantJoined)
            assert told.participant.participant_id == grace.joined.participant_id
            assert told.participant.is_bot
            assert abs((told.participant.joined_at - datetime.now(UTC)).total_seconds()) < 60
            assert not grace.events


async def test_join_trims_names_and_tells_lobbies_apart() -> None:
    async with (
        running_server() as server,
        in_lobby(server.url, "  north ", " Ada ") as ada,
        in_lobby(server.url, "south", "Grace") as grace,
    ):
        assert ada.joined.lobby == "north"
        assert ada.joined.participants[0].name == "Ada"
        await grace.expect(ChatSend(text="only the south hears this"), ChatSent)
        await ada.expect(Ping(), Pong)
        assert not ada.events


async def test_second_join_leaves_the_former_lobby_first() -> None:
    async with (
        running_server() as server,
        in_lobby(server.url, "north", "Ada") as ada,
        in_lobby(server.url, "north", "Grace") as grace,
    ):
        await ada.event(ParticipantJoined)
        former = grace.joined.participant_id
        await grace.join("south", "Grace")
        assert grace.joined.participant_id != former
        assert [one.name for one in grace.joined.participants] == ["Grace"]
        left = await ada.event(ParticipantLeft)
        assert (left.participant_id, left.reason) == (former, "moved")


async def test_leave_tells_the_others_and_closes_an_empty_lobby() -> None:
    async with running_server() as server, in_lobby(server.url, name="Ada") as ada:
        async with in_lobby(server.url, name="Grace") as grace:
            await ada.event(ParticipantJoined)
            await grace.expect(Leave(), Left)
            left = await ada.event(ParticipantLeft)
            assert (left.participant_id, left.reason) == (grace.joined.participant_id, "left")
            assert (await grace.refused(Leave())).code == ErrorCode.NOT_IN_LOBBY
        await ada.expect(Leave(), Left)
        assert not server.service.lobbies.open


async def test_closing_normally_leaves_at_once() -> None:
    async with running_server() as server, in_lobby(server.url, name="Ada") as ada:
        async with in_lobby(server.url, name="Grace"):
            await ada.event(ParticipantJoined)
        assert (await ada.event(ParticipantLeft)).reason == "left"


async def test_set_name_tells_everybody() -> None:
    async with (
        running_server() as server,
        in_lobby(server.url, name="Ada") as ada,
        in_lobby(server.url, name="Grace") as grace,
    ):
        await ada.event(ParticipantJoined)
        assert (await ada.expect(SetName(name=" Ada L. "), NameSet)).name == "Ada L."
        for client in (ada, grace):
            updated = await client.event(ParticipantUpdated)
            assert updated.participant.name == "Ada L."
            assert updated.participant.participant_id == ada.joined.participant_id


async def test_chat_reaches_everybody_in_the_order_of_its_numbers() -> None:
    async with (
        running_server() as server,
        in_lobby(server.url, name="Ada") as ada,
        in_lobby(server.url, name="Grace") as grace,
    ):
        await ada.event(ParticipantJoined)

        async def talk(client: Client) -> None:
            for number in range(CHAT_BURST):
                await client.expect(ChatSend(text=f"{number}\n\U0001f44b <b>"), ChatSent)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk, ada)
            nursery.start_soon(talk, grace)
        heard = [[await client.event(ChatPosted) for _ in range(2 * CHAT_BURST)] for client in (ada, grace)]
        assert heard[0] == heard[1]
        assert [one.message.seq for one in heard[0]] == list(range(1, 2 * CHAT_BURST + 1))
        assert heard[0][-1].message.text.endswith("\n\U0001f44b <b>")
        assert {one.message.name for one in heard[0]} == {"Ada", "Grace"}


async def test_join_tells_the_last_lines_of_chat_and_the_lobby_keeps_a_bounded_number() -> None:
    async with running_server() as server, in_lobby(server.url, name="Ada") as ada:
        lobby = server.service.lobbies.open["garden"]
        (participant,) = lobby.participants.values()
        for number in range(CHAT_HISTORY + 10):
            lobby.say(participant, str(number))
        assert len(lobby.chat) == CHAT_HISTORY
        async with in_lobby(server.url, name="Grace") as grace:
            assert len(grace.joined.chat) == CHAT_SNAPSHOT
            assert grace.joined.chat[-1].text == str(CHAT_HISTORY + 9)
            assert grace.joined.chat[-1].participant_id == ada.joined.participant_id


async def test_ping_tells_the_time_and_candidate_is_accepted() -> None:
    async with running_server() as server, connected(server.url) as client:
        pong = await client.expect(Ping(), Pong)
        assert abs((pong.time - datetime.now(UTC)).total_seconds()) < 60
        await client.expect(Candidate(candidate="candidate:1 1 udp 1 192.0.2.1 9 typ host", sdp_mid="0"), Ok)
        await client.expect(Candidate(candidate="", sdp_mline_index=0), Ok)


@pytest.mark.parametrize(
    "message",
    [
        Leave(),
        SetName(name="x"),
        Offer(sdp="v=0"),
        Subscribe(track_id="t", mid="0"),
        Unsubscribe(mid="0"),
        Mute(track_id="t", muted=True),
        ChatSend(text="x"),
    ],
    ids=lambda message: message.type,
)
async def test_requests_about_a_lobby_are_refused_outside_of_one(message) -> None:
    async with running_server() as server, connected(server.url) as client:
        assert (await client.refused(message)).code == ErrorCode.NOT_IN_LOBBY


async def test_chat_beyond_the_burst_is_refused_and_has_no_effect() -> None:
    async with running_server() as server, in_lobby(server.url) as ada:
        sequence_numbers = [(await ada.expect(ChatSend(text="x"), ChatSent)).seq for _ in range(CHAT_BURST)]
        assert sequence_numbers == list(range(1, CHAT_BURST + 1))
        assert (await ada.refused(ChatSend(text="one too many"))).code == ErrorCode.RATE_LIMITED
        assert len(server.service.lobbies.open["garden"].chat) == CHAT_BURST


async def test_a_request_without_id_is_answered_without_re() -> None:
    async with running_server() as server, connected(server.url) as client:
        await client.send_text(encode_client(Ping()))
        reply, re = await client.receive()
        assert isinstance(reply, Pong)
        assert re is None


async def test_requests_sent_at_once_are_answered_in_order() -> None:
    async with running_server() as server, connected(server.url) as client:
        for number in range(100):
            await client.send_text(encode_client(Ping(), number))
        replies: list[tuple[ServerMessage, int | None]] = [await client.receive() for _ in range(100)]
        assert [re for _, re in replies] == list(range(100))
