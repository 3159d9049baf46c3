"""Lost connections: resuming, joining anew, giving up. Virtual time, in-memory streams, a scripted far end."""

import pytest
import trio
import trio.testing
from scripted_server import ScriptedServer, open_scripted_server, snapshot

import voicebot
from signaling.messages import ChatSent, ErrorReply, Join, ParticipantLeft, Ping, Pong, Resume

URL = "ws://relay.example/ws"
PONG = Pong.model_validate({"time": "2026-01-31T12:00:00Z"})
#: No dice: the n-th attempt waits exactly 2^n seconds, at most 16.
STEADY = voicebot.Backoff(initial_s=1, factor=2, maximum_s=16, jitter=0, attempts=8)


def connect(server: ScriptedServer, **arguments):
    return voicebot.connect(URL, open_stream=server.open_stream, **{"reconnect": STEADY, **arguments})


async def test_lost_connection_is_resumed_by_its_token(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:
        frames = []

        async def serve() -> None:
            async with server.visit() as visit:
                await visit.admit(snapshot())
            for _ in range(2):  # the token of the first welcome stays valid
                async with server.visit() as visit:
                    frames.append(await visit.resume(snapshot(name="Ada L.")))
            async with server.visit() as visit:
                frames.append(await visit.resume(snapshot(name="Ada L.")))
                await visit.wait_closed()

        nursery.start_soon(serve)
        async with connect(server, lobby="garden", name="Ada") as connection:
            events = connection.events()
            for _ in range(3):
                lost = await anext(events)
                assert lost == voicebot.Disconnected("the connection broke", None, will_reconnect=True)
                back = await anext(events)
                assert back == voicebot.Reconnected(True, snapshot(name="Ada L."), "connected")
            assert connection.lobby.me is not None
            assert connection.lobby.me.name == "Ada L."
            assert connection.session_id == "s-1"
            assert connection.connected
    claim = Resume(resume_token="token-1", participant_id="p-1", last_seq=0)
    assert [frame.message for frame in frames] == [claim] * 3


async def test_events_after_a_resume_apply_to_its_snapshot(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:
        left = ParticipantLeft(participant_id="p-1", reason="left")

        async def serve() -> None:
            async with server.visit() as visit:
                await visit.admit(snapshot())
            async with server.visit() as visit:
                await visit.resume(snapshot())
                await visit.send(left)
                await visit.wait_closed()

        nursery.start_soon(serve)
        async with connect(server, lobby="garden", name="Ada") as connection:
            events = connection.events()
            assert isinstance(await anext(events), voicebot.Disconnected)
            assert isinstance(await anext(events), voicebot.Reconnected)
            assert await anext(events) == left
            assert connection.lobby.participants == {}


async def test_lobby_is_joined_again_when_the_session_is_gone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:
        frames = []

        async def serve() -> None:
            async with server.visit() as visit:
                await visit.admit(snapshot())
            async with server.visit() as visit:
                frames.append(await visit.refuse_resume())
                frames.append(await visit.admit(snapshot(participant_id="p-2")))
            async with server.visit() as visit:
                frames.append(await visit.resume(snapshot(participant_id="p-2")))
                await visit.wait_closed()

        nursery.start_soon(serve)
        async with connect(server, lobby="garden", name="Ada", is_bot=True) as connection:
            events = connection.events()
            await anext(events)
            back = await anext(events)
            assert isinstance(back, voicebot.Reconnected)
            assert (back.resumed, back.media_state) == (False, "new")
            assert back.lobby is not None
            assert back.lobby.participant_id == connection.participant_id == "p-2"
            assert connection.session_id == "s-2"
            await anext(events)
            assert (await anext(events)).resumed
    assert [frame.message for frame in frames] == [
        Resume(resume_token="token-1", participant_id="p-1", last_seq=0),
        Join(lobby="garden", name="Ada", is_bot=True),
        Resume(resume_token="token-2", participant_id="p-2", last_seq=0),
    ]


async def test_new_session_is_taken_when_there_was_no_lobby(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            async with server.visit():
                pass
            async with server.visit() as visit:
                await visit.refuse_resume()
                await visit.answer(PONG)
                await visit.wait_closed()

        nursery.start_soon(serve)
        async with connect(server) as connection:
            events = connection.events()
            await anext(events)
            assert await anext(events) == voicebot.Reconnected(False, None, "new")
            assert await connection.ping() == PONG
            assert connection.session_id == "s-2"


async def test_attempts_back_off_until_the_server_is_back(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:
        lost_at = 0.0

        async def serve() -> None:
            nonlocal lost_at
            async with server.visit() as visit:
                await visit.admit(snapshot())
                server.refuses = True
                lost_at = trio.current_time()
            await trio.sleep(10)
            server.refuses = False
            async with server.visit() as visit:
                await visit.resume(snapshot())
                await visit.wait_closed()

        nursery.start_soon(serve)
        async with connect(server, lobby="garden", name="Ada") as connection:
            events = connection.events()
            await anext(events)
            assert isinstance(await anext(events), voicebot.Reconnected)
            assert connection.statistics() == voicebot.ConnectionStatistics(
                links=2, failed_attempts=3, dropped_events=0, unreadable_frames=0
            )
    after = [attempt - lost_at for attempt in server.attempts[1:]]
    assert after == pytest.approx([1, 3, 7, 15])


async def test_request_made_while_disconnected_waits_for_the_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            async with server.visit() as visit:
                await visit.admit(snapshot())
            async with server.visit() as visit:
                await visit.resume(snapshot())
                await visit.answer(ChatSent(seq=7))
                await visit.wait_closed()

        nursery.start_soon(serve)
        async with connect(server, lobby="garden", name="Ada") as connection:
            assert isinstance(await anext(connection.events()), voicebot.Disconnected)
            assert not connection.connected
            assert await connection.chat("still there?") == ChatSent(seq=7)


async def test_request_made_while_disconnected_times_out(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            async with server.visit() as visit:
                await visit.admit(snapshot())
                server.refuses = True

        nursery.start_soon(serve)
        async with connect(server, lobby="garden", name="Ada") as connection:
            await anext(connection.events())
            began = trio.current_time()
            with pytest.raises(voicebot.RequestTimeoutError):
                await connection.request(Ping(), timeout_s=4)
            assert trio.current_time() - began == pytest.approx(4)


async def test_request_under_way_raises_when_the_connection_is_lost(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            async with server.visit() as visit:
                await visit.receive()
            async with server.visit() as visit:
                await visit.refuse_resume()
                await visit.answer(PONG)
                await visit.wait_closed()

        nursery.start_soon(serve)
        async with connect(server) as connection:
            with pytest.raises(voicebot.ConnectionLostError, match="the connection broke"):
                await connection.ping()
            assert await connection.ping() == PONG


async def test_without_reconnect_the_loss_is_final(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            async with server.visit() as visit:
                await visit.websocket.aclose(1001, "the server is shutting down")

        nursery.start_soon(serve)
        async with connect(server, reconnect=False) as connection:
            events = connection.events()
            lost = voicebot.Disconnected("the server is shutting down", 1001, will_reconnect=False)
            assert await anext(events) == lost
            with pytest.raises(voicebot.ConnectionLostError, match="shutting down") as raised:
                await anext(events)
            assert raised.value.code == 1001
            with pytest.raises(voicebot.ConnectionLostError, match="shutting down"):
                await connection.ping()
        assert len(server.attempts) == 1


async def test_connection_gives_up_after_the_attempts_allowed(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            async with server.visit():
                server.refuses = True

        nursery.start_soon(serve)
        async with connect(server, reconnect=voicebot.Backoff(attempts=3)) as connection:
            events = connection.events()
            assert (await anext(events)).will_reconnect
            last = await anext(events)
            assert isinstance(last, voicebot.Disconnected)
            assert not last.will_reconnect
            with pytest.raises(
                voicebot.ConnectionLostError, match="gave up after 3 attempts: cannot connect"
            ):
                await anext(events)
            with pytest.raises(voicebot.ConnectionLostError):
                await connection.ping()
        assert len(server.attempts) == 4


async def test_session_taken_over_elsewhere_is_not_taken_back(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            async with server.visit() as visit:
                await visit.websocket.aclose(4009, "resumed elsewhere")

        nursery.start_soon(serve)
        async with connect(server) as connection:
            lost = voicebot.Disconnected("resumed elsewhere", 4009, will_reconnect=False)
            assert await anext(connection.events()) == lost
            with pytest.raises(voicebot.ConnectionLostError):
                await connection.ping()
        assert len(server.attempts) == 1


async def test_client_shut_out_for_its_rate_waits_the_longest(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            async with server.visit() as visit:
                await visit.websocket.aclose(1008, "too many messages")
            async with server.visit() as visit:
                await visit.refuse_resume()
                await visit.wait_closed()

        nursery.start_soon(serve)
        async with connect(server) as connection:
            events = connection.events()
            await anext(events)
            await anext(events)
        assert server.attempts[1] - server.attempts[0] == pytest.approx(16)


async def test_server_that_drops_everybody_is_not_hammered(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            for number in range(5):
                async with server.visit() as visit:
                    if number:
                        await visit.refuse_resume()
                    if number == 3:
                        await trio.sleep(16)  # long enough to count as stable
            async with server.visit() as visit:
                await visit.refuse_resume()
                await visit.wait_closed()

        nursery.start_soon(serve)
        async with connect(server) as connection:
            events = connection.events()
            for _ in range(10):
                await anext(events)
    gaps = [later - earlier for earlier, later in zip(server.attempts, server.attempts[1:], strict=False)]
    assert gaps == pytest.approx([1, 2, 4, 16 + 1, 2])


async def test_failing_restore_is_another_failed_attempt(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            async with server.visit() as visit:
                await visit.admit(snapshot())
            async with server.visit() as visit:
                await visit.refuse_resume()
                await visit.answer(ErrorReply(code="at_capacity", error="full"))
            async with server.visit() as visit:
                await visit.answer(ErrorReply(code="internal", error="sorry"))
            async with server.visit() as visit:
                await visit.receive()  # and no answer, until the client loses its patience
                await visit.wait_closed()
            async with server.visit() as visit:
                frame = await visit.refuse_resume()
                assert frame.message == Resume(resume_token="token-1", participant_id="p-1", last_seq=0)
                await visit.admit(snapshot(participant_id="p-2"))
                await visit.wait_closed()

        nursery.start_soon(serve)
        async with connect(server, lobby="garden", name="Ada") as connection:
            events = connection.events()
            await anext(events)
            back = await anext(events)
            assert isinstance(back, voicebot.Reconnected)
            assert connection.participant_id == "p-2"
            assert connection.statistics().failed_attempts == 3


async def test_silent_server_is_given_up_by_keepalive(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:
        lost_after_s = []

        async def serve() -> None:
            # A far end that took the handshake and then froze: it neither reads nor answers pings.
            async with server.visit() as visit:
                visit.freeze()
                await trio.sleep_forever()

        nursery.start_soon(serve)
        timeouts = voicebot.Timeouts(keepalive_s=5, close_s=1)
        async with connect(server, reconnect=False, timeouts=timeouts) as connection:
            began = trio.current_time()
            lost = await anext(connection.events())
            lost_after_s.append(trio.current_time() - began)
            assert lost == voicebot.Disconnected("no pong within 5 s", None, will_reconnect=False)
        assert lost_after_s == pytest.approx([10])
        nursery.cancel_scope.cancel()


async def test_server_that_takes_no_frames_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:
        frozen = trio.Event()

        async def serve() -> None:
            async with server.visit() as visit:
                visit.freeze()
                frozen.set()
                await trio.sleep_forever()

        nursery.start_soon(serve)
        timeouts = voicebot.Timeouts(send_s=3, keepalive_s=60, close_s=1)
        # A stream without any buffer: a frame is sent when it is received.
        server.make_pair = trio.testing.lockstep_stream_pair
        async with connect(server, reconnect=False, timeouts=timeouts) as connection:
            await frozen.wait()
            began = trio.current_time()
            with pytest.raises(voicebot.ConnectionLostError, match="the server took no frame for 3 s"):
                await connection.ping()
            assert trio.current_time() - began == pytest.approx(3)
        nursery.cancel_scope.cancel()
