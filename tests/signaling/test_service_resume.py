"""Lost connections: what stays, for how long, and who gets it back."""

import pytest
import trio
from offers import Section, make_offer
from raw_client import raw_websocket
from running_server import running_server
from wire_client import Client, connected, in_lobby

from signaling.messages import (
    Answer,
    ChatPosted,
    ChatSend,
    ChatSent,
    CloseCode,
    Closing,
    ErrorCode,
    ErrorReply,
    Joined,
    Offer,
    ParticipantJoined,
    ParticipantLeft,
    Ping,
    Pong,
    PublishRequest,
    Resume,
    Resumed,
)


async def publish(client: Client, identity: str) -> str:
    offer = Offer(
        sdp=make_offer(Section("0"), identity=identity),
        publish=(PublishRequest(mid="0", source="microphone"),),
    )
    return (await client.expect(offer, Answer)).published[0].track_id


async def test_resume_restores_session_lobby_and_media_unseen_by_the_others() -> None:
    async with running_server() as server, in_lobby(server.url, name="Ada") as ada:
        async with in_lobby(server.url, name="Grace") as grace:
            track_id = await publish(grace, "grace")
            (peer,) = server.service.router.peers.values()
            token, session_id = grace.welcome.resume_token, grace.welcome.session_id
            before = grace.joined
            await grace.drop()
        await ada.expect(ChatSend(text="are you there?"), ChatSent)
        async with connected(server.url) as again:
            assert again.welcome.session_id != session_id
            resumed = await again.resume(token)
            assert isinstance(resumed, Resumed)
            assert resumed.session_id == session_id
            assert resumed.lobby is not None
            assert resumed.lobby.participant_id == before.participant_id
            assert [one.name for one in resumed.lobby.participants] == ["Ada", "Grace"]
            assert [track.track_id for track in resumed.lobby.participants[1].tracks] == [track_id]
            assert [line.text for line in resumed.lobby.chat] == ["are you there?"]
            assert resumed.media_state != "closed"
            assert list(server.service.router.peers.values()) == [peer]
            await again.expect(ChatSend(text="yes"), ChatSent)
            heard = [event for event in ada.events if not isinstance(event, ChatPosted)]
            assert not any(isinstance(event, ParticipantLeft) for event in heard)
        assert len(server.service.sessions) <= 2


async def test_the_fresh_session_of_a_resuming_connection_is_dropped() -> None:
    async with running_server() as server:
        async with in_lobby(server.url) as ada:
            token = ada.welcome.resume_token
            await ada.drop()
        async with connected(server.url) as again:
            void = again.welcome.resume_token
            assert isinstance(await again.resume(token), Resumed)
            with trio.fail_after(5):
                while len(server.service.sessions) != 1:
                    await trio.lowlevel.checkpoint()
            async with connected(server.url) as other:
                assert (await other.refused(Resume(resume_token=void))).code == ErrorCode.RESUME_FAILED
            await again.expect(Ping(), Pong)


async def test_a_token_stays_good_for_the_next_time() -> None:
    async with running_server() as server:
        async with in_lobby(server.url) as ada:
            token = ada.welcome.resume_token
            await ada.drop()
        for _ in range(3):
            async with connected(server.url) as again:
                assert isinstance(await again.resume(token), Resumed)
                await again.drop()


async def test_resume_takes_over_from_a_connection_that_still_seems_open() -> None:
    async with running_server() as server, in_lobby(server.url) as old, connected(server.url) as new:
        assert isinstance(await new.resume(old.welcome.resume_token), Resumed)
        code, _, read = await old.closed()
        assert code == CloseCode.SESSION_RESUMED_ELSEWHERE
        assert isinstance(read[-1], Closing)
        # The end of the old connection, goodbye or not, no longer concerns the session.
        assert (await new.expect(ChatSend(text="still here"), ChatSent)).seq == 1


@pytest.mark.parametrize("token", ["x", "no-such-token-but-of-a-length-like-one", "\u00fc"])
async def test_unknown_tokens_are_refused_and_the_new_session_is_usable(token: str) -> None:
    async with running_server() as server, connected(server.url) as client:
        refused = await client.resume(token)
        assert isinstance(refused, ErrorReply)
        assert (refused.code, refused.field) == (ErrorCode.RESUME_FAILED, "resume_token")
        await client.join()


async def test_resume_must_be_the_first_request() -> None:
    async with running_server() as server:
        async with in_lobby(server.url, name="Ada") as ada:
            token = ada.welcome.resume_token
            await ada.drop()
        async with connected(server.url) as other:
            await other.expect(Ping(), Pong)
            assert (await other.refused(Resume(resume_token=token))).code == ErrorCode.RESUME_FAILED
        async with connected(server.url) as again:
            assert isinstance(await again.resume(token), Resumed)


async def test_a_session_in_no_lobby_ends_with_its_connection() -> None:
    async with running_server() as server:
        async with connected(server.url) as client:
            token = client.welcome.resume_token
            await client.drop()
        async with connected(server.url) as again:
            assert (await again.refused(Resume(resume_token=token))).code == ErrorCode.RESUME_FAILED


async def test_an_expired_session_leaves_lobby_and_relay() -> None:
    async with running_server(resume_seconds=0.3) as server, in_lobby(server.url, name="Ada") as ada:
        async with in_lobby(server.url, name="Grace") as grace:
            await ada.event(ParticipantJoined)
            await publish(grace, "grace")
            token = grace.welcome.resume_token
            dropped = trio.current_time()
            await grace.drop()
        left = await ada.until(ParticipantLeft)
        assert left.reason == "disconnected"
        assert 0.2 <= trio.current_time() - dropped < 5
        assert not server.service.router.peers
        async with connected(server.url) as again:
            assert (await again.refused(Resume(resume_token=token))).code == ErrorCode.RESUME_FAILED


async def test_a_session_whose_media_has_ended_too_does_not_wait_as_long(monkeypatch) -> None:
    monkeypatch.setattr("signaling.session.MEDIA_LOST_SECONDS", 0.2)
    async with running_server(resume_seconds=600) as server, in_lobby(server.url, name="Ada") as ada:
        # First the connection, then the media.
        async with in_lobby(server.url, name="Grace") as grace:
            await publish(grace, "grace")
            await grace.drop()
        (peer,) = server.service.router.peers.values()
        peer.close("the client closed it")
        assert (await ada.until(ParticipantLeft)).reason == "disconnected"
        # First the media, then the connection.
        async with in_lobby(server.url, name="Eve") as eve:
            await publish(eve, "eve")
            (peer,) = server.service.router.peers.values()
            peer.close("the client closed it")
            await eve.expect(Ping(), Pong)
            await eve.drop()
        assert (await ada.until(ParticipantLeft)).reason == "disconnected"


async def test_a_client_that_stops_answering_pings_is_dropped_and_its_session_expires() -> None:
    async with (
        running_server(keepalive_seconds=0.2, resume_seconds=0.3) as server,
        in_lobby(server.url, name="Ada") as ada,
        raw_websocket(server.url) as dead,
    ):
        await dead.send_message("join", lobby="garden", name="Grace")
        await ada.event(ParticipantJoined)
        assert (await ada.until(ParticipantLeft)).reason == "disconnected"
        messages, close = await dead.messages_until_close()
        assert messages[-1]["type"] == "closing"
        assert close.code == CloseCode.KEEPALIVE_TIMEOUT


async def test_many_sessions_dropped_at_once_all_resume() -> None:
    async with running_server() as server:
        clients: dict[str, Joined] = {}

        async def lose_one(number: int) -> None:
            async with in_lobby(server.url, f"lobby {number % 10}", str(number)) as client:
                clients[client.welcome.resume_token] = client.joined
                await client.drop()

        async def resume_one(token: str, joined: Joined) -> None:
            async with connected(server.url) as client:
                resumed = await client.resume(token)
                assert isinstance(resumed, Resumed)
                assert resumed.lobby is not None
                assert resumed.lobby.participant_id == joined.participant_id

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for number in range(100):
                    nursery.start_soon(lose_one, number)
            async with trio.open_nursery() as nursery:
                for token, joined in clients.items():
                    nursery.start_soon(resume_one, token, joined)
