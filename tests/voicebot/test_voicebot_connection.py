"""Requests, events and endings of a connection; virtual time, in-memory streams, a scripted far end."""

from functools import partial

import pytest
import trio
import trio.testing
from scripted_server import ScriptedServer, open_scripted_server, snapshot, welcome

import voicebot
from signaling.messages import (
    Answer,
    ChatSent,
    ClientMessage,
    Closing,
    ErrorReply,
    Join,
    Left,
    MediaState,
    Mute,
    NameSet,
    Ok,
    ParticipantLeft,
    Ping,
    Pong,
    ServerMessage,
    Subscribed,
    Unsubscribed,
)

URL = "ws://relay.example/ws"
PONG = Pong.model_validate({"time": "2026-01-31T12:00:00Z"})


def connect(server: ScriptedServer, **arguments):
    return voicebot.connect(URL, open_stream=server.open_stream, **arguments)


async def test_connect_reads_the_welcome_and_says_goodbye_at_the_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:
        codes = []

        async def serve() -> None:
            async with server.visit() as visit:
                codes.append(await visit.wait_closed())

        nursery.start_soon(serve)
        async with connect(server) as connection:
            assert connection.connected
            assert connection.welcome == welcome(1)
            assert connection.session_id == "s-1"
    assert codes == [1000]


async def test_connect_joins_the_lobby_it_is_given(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:
        frames = []

        async def serve() -> None:
            async with server.visit() as visit:
                frames.append(await visit.admit(snapshot()))
                await visit.wait_closed()

        nursery.start_soon(serve)
        async with connect(server, lobby="garden", name="Ada", is_bot=True) as connection:
            assert connection.participant_id == "p-1"
            assert connection.lobby.lobby == "garden"
    assert frames[0].message == Join(lobby="garden", name="Ada", is_bot=True)


@pytest.mark.parametrize(
    ("request_of", "reply"),
    [
        (lambda c: c.leave(), Left()),
        (lambda c: c.set_name("Ada"), NameSet(name="Ada")),
        (lambda c: c.chat("hello"), ChatSent(seq=1)),
        (lambda c: c.ping(), PONG),
        (lambda c: c.mute("t-1"), Ok()),
        (lambda c: c.candidate("candidate:1"), Ok()),
        (lambda c: c.subscribe("t-1", "0"), Subscribed(track_id="t-1", mid="0")),
        (lambda c: c.subscribe(2, "0"), Subscribed(slot=2, mid="0")),
        (lambda c: c.unsubscribe("0"), Unsubscribed(mid="0")),
        (
            lambda c: c.offer("v=0", publish={"0": "bot"}, subscribe={"1": "t-1"}),
            Answer(sdp="v=0", published=(), subscribed=(), refused=()),
        ),
        (lambda c: c.request(Mute(track_id="t-1", muted=False)), Ok()),
    ],
)
async def test_requests_return_their_replies(
    autojump_clock: trio.testing.MockClock, request_of, reply: ServerMessage
) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            async with server.visit() as visit:
                await visit.answer(reply)
                await visit.wait_closed()

        nursery.start_soon(serve)
        async with connect(server) as connection:
            assert await request_of(connection) == reply


async def test_offer_names_what_its_sections_are_for(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:
        messages: list[ClientMessage] = []

        async def serve() -> None:
            async with server.visit() as visit:
                answer = Answer(sdp="v=0", published=(), subscribed=(), refused=())
                messages.append((await visit.answer(answer)).message)
                await visit.wait_closed()

        nursery.start_soon(serve)
        async with connect(server) as connection:
            await connection.offer(
                "v=0", publish={"0": "microphone"}, listen=["1", "2"], subscribe={"3": "t-1", "4": 2}
            )
    assert messages[0].model_dump() == {
        "sdp": "v=0",
        "publish": ({"mid": "0", "source": "microphone"},),
        "subscribe": (
            {"mid": "1", "track_id": None, "slot": 0, "mix": False},
            {"mid": "2", "track_id": None, "slot": 1, "mix": False},
            {"mid": "3", "track_id": "t-1", "slot": None, "mix": False},
            {"mid": "4", "track_id": None, "slot": 2, "mix": False},
        ),
    }


async def test_requests_may_overlap_and_be_answered_in_any_order(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            async with server.visit() as visit:
                first, second = await visit.receive(), await visit.receive()
                for frame in (second, first):
                    await visit.send(ChatSent(seq=int(frame.message.text)), frame.id)
                await visit.wait_closed()

        nursery.start_soon(serve)
        seqs = {}
        async with connect(server) as connection:

            async def say(number: int) -> None:
                seqs[number] = (await connection.chat(str(number))).seq

            async with trio.open_nursery() as speakers:
                speakers.start_soon(say, 1)
                speakers.start_soon(say, 2)
    assert seqs == {1: 1, 2: 2}


async def test_refused_request_raises_and_the_connection_lives_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            async with server.visit() as visit:
                await visit.answer(ErrorReply(code="not_in_lobby", error="join first"))
                await visit.answer(PONG)
                await visit.wait_closed()

        nursery.start_soon(serve)
        async with connect(server) as connection:
            with pytest.raises(voicebot.ProtocolError, match="not_in_lobby: join first"):
                await connection.chat("hello")
            assert await connection.ping() == PONG


async def test_request_times_out_when_no_reply_comes(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            async with server.visit() as visit:
                late = await visit.receive()
                current = await visit.receive()
                await visit.send(PONG.model_copy(update={"time": PONG.time.replace(year=2020)}), late.id)
                await visit.send(PONG, current.id)
                await visit.wait_closed()

        nursery.start_soon(serve)
        async with connect(server) as connection:
            began = trio.current_time()
            with pytest.raises(voicebot.RequestTimeoutError, match=r"no reply to `ping` within 3 s"):
                await connection.request(Ping(), timeout_s=3)
            assert trio.current_time() - began == pytest.approx(3)
            assert await connection.ping() == PONG


async def test_events_arrive_in_order_and_change_the_roster(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:
        left = ParticipantLeft(participant_id="p-1", reason="left")
        state = MediaState(state="connected")

        async def serve() -> None:
            async with server.visit() as visit:
                await visit.admit(snapshot())
                await visit.send(state)
                await visit.send(left)
                await visit.wait_closed()

        nursery.start_soon(serve)
        async with connect(server, lobby="garden", name="Ada") as connection:
            events = connection.events()
            assert [await anext(events), await anext(events)] == [state, left]
            assert connection.lobby.participants == {}


async def test_frames_of_a_newer_server_are_skipped_and_counted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            async with server.visit() as visit:
                await visit.websocket.send_message('{"type": "hologram", "data": {}}')
                await visit.websocket.send_message("not JSON")
                await visit.websocket.send_message(b"\x00\x01")
                frame = await visit.receive()
                await visit.websocket.send_message(f'{{"type": "pong", "data": {{}}, "re": {frame.id}}}')
                await visit.wait_closed()

        nursery.start_soon(serve)
        async with connect(server) as connection:
            with pytest.raises(voicebot.ProtocolError, match="invalid_message"):
                await connection.ping()
            assert connection.statistics().unreadable_frames == 4


async def test_slow_reader_of_events_does_not_hold_up_replies(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            async with server.visit() as visit:
                for number in range(500):
                    await visit.send(Closing(reason=str(number)))
                await visit.answer(PONG)
                await visit.wait_closed()

        nursery.start_soon(serve)
        async with connect(server, event_queue_length=100) as connection:
            assert await connection.ping() == PONG
            assert connection.statistics().dropped_events == 400
            events = connection.events()
            assert await anext(events) == voicebot.EventsDropped(400)
            assert await anext(events) == Closing(reason="400")


async def test_exception_of_the_body_comes_out_bare_and_after_the_goodbye(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:
        codes = []

        async def serve() -> None:
            async with server.visit() as visit:
                codes.append(await visit.wait_closed())

        nursery.start_soon(serve)
        with pytest.raises(KeyError, match="mine") as raised:
            async with connect(server):
                raise KeyError("mine")
        assert raised.value.__context__ is None
    assert codes == [1000]


async def test_group_of_the_body_stays_a_group(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            async with server.visit() as visit:
                await visit.wait_closed()

        nursery.start_soon(serve)
        with pytest.RaisesGroup(pytest.RaisesExc(KeyError)):
            async with connect(server):
                raise ExceptionGroup("mine", [KeyError(1)])


async def test_cancelled_body_says_goodbye_without_delay(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:
        codes = []

        async def serve() -> None:
            async with server.visit() as visit:
                codes.append(await visit.wait_closed())

        nursery.start_soon(serve)
        began = trio.current_time()
        with trio.move_on_after(5) as scope:
            async with connect(server):
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert trio.current_time() - began == pytest.approx(5)
    assert codes == [1000]


async def test_goodbye_to_a_silent_server_does_not_last(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:
        gone = trio.Event()

        async def serve() -> None:
            async with server.visit():  # never reads
                await gone.wait()

        nursery.start_soon(serve)
        async with connect(server, timeouts=voicebot.Timeouts(close_s=2)):
            began = trio.current_time()
        assert trio.current_time() - began <= 2
        gone.set()


async def test_connect_raises_when_refused(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scripted_server() as server:
        server.refuses = True
        with pytest.raises(voicebot.ConnectError, match=r"cannot connect to relay.example: refused"):
            async with connect(server):
                pytest.fail("connected to nobody")
        assert len(server.attempts) == 1


async def test_connect_raises_when_the_server_is_silent(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scripted_server() as server:
        with pytest.raises(voicebot.ConnectError, match=r"no welcome from relay.example within 4 s"):
            async with connect(server, timeouts=voicebot.Timeouts(connect_s=4)):
                pytest.fail("connected to nobody")
        assert trio.current_time() - server.attempts[0] == pytest.approx(4)


async def test_connect_raises_at_once_when_the_handshake_breaks_off(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:

        async def hang_up() -> None:
            stream = await server.accept_stream()
            await stream.receive_some()
            await stream.aclose()

        nursery.start_soon(hang_up)
        with pytest.raises(voicebot.ConnectError, match="during the opening handshake"):
            async with connect(server):
                pytest.fail("connected to nobody")
        assert trio.current_time() == server.attempts[0]


async def test_connect_raises_with_the_status_when_the_upgrade_is_rejected(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:

        async def reject() -> None:
            stream = await server.accept_stream()
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")

        nursery.start_soon(reject)
        with pytest.raises(voicebot.ConnectError, match=r"relay.example answered HTTP 503 at /ws"):
            async with connect(server):
                pytest.fail("connected to nobody")


async def test_connect_raises_when_the_server_closes_before_its_welcome(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            from trio_websocket import wrap_server_stream  # noqa: PLC0415

            websocket = await (await wrap_server_stream(nursery, await server.accept_stream())).accept()
            await websocket.aclose(1013, "full")

        nursery.start_soon(serve)
        with pytest.raises(voicebot.ConnectError, match="full"):
            async with connect(server):
                pytest.fail("connected to nobody")


async def test_connect_raises_when_the_lobby_refuses(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            async with server.visit() as visit:
                await visit.answer(ErrorReply(code="at_capacity", error="full"))
                await visit.wait_closed()

        nursery.start_soon(serve)
        with pytest.raises(voicebot.ProtocolError, match="at_capacity"):
            async with connect(server, lobby="garden", name="Ada"):
                pytest.fail("joined a full lobby")


@pytest.mark.parametrize(
    ("url", "arguments", "match"),
    [
        ("http://relay.example", {}, "expected a URL like"),
        ("ws://", {}, "expected a URL like"),
        (URL, {"lobby": "garden"}, "give a `name`"),
    ],
)
async def test_connect_refuses_bad_arguments(url: str, arguments: dict[str, str], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        async with voicebot.connect(url, open_stream=partial(pytest.fail, "opened"), **arguments):
            pytest.fail("connected to nobody")
