"""Peers on ``/signal/{peer_id}/{company_api_key}`` against the real service: each message, each way to be refused."""

import json
from contextlib import AsyncExitStack, suppress

import pytest
import trio
from offers import Section, make_offer
from peer_client import PeerClient, connected, error_of, new_company, opened
from running_server import running_server
from test_service_slots import LISTENING
from trio_websocket import ConnectionClosed
from wire_client import in_lobby

import relay
from signaling.connection import MESSAGE_BURST, REFUSAL_BURST
from signaling.lobbies import LobbyOptions
from signaling.messages import CloseCode
from signaling.moderation import Moderation
from signaling.peer_path import BotFailedError, BotTimeoutError, NoBotError
from signaling.peer_path.connection import VIOLATION_BURST
from signaling.peer_path.questions import MAX_QUESTIONS
from signaling.server import RunningServer
from signaling.session_limits import SESSION_LIMITS

BOTH_WAYS = (Section("0", direction="sendrecv"),)


async def test_the_first_frame_says_who_one_is_and_where() -> None:
    async with running_server() as server:
        company_id, key = await new_company(server)
        async with connected(server, "ada", key) as ada, connected(server, "bob", key, "?lobby=attic"):
            assert ada.ack == {
                "type": "connection_ack",
                "peer_id": "ada",
                "lobby": "main",
                "relay_peer": "relay",
                "correlation_id": ada.ack["correlation_id"],
            }
            assert str(ada.ack["correlation_id"]).startswith("c-")
            lobbies = server.service.lobbies
            assert sorted(lobby.name for lobby in lobbies) == ["attic", "main"]
            (participant,) = lobbies.find("main", company_id).participants.values()
            assert (participant.name, participant.company_id) == ("ada", company_id)
            assert not lobbies.open
        await until_empty(server)


async def test_ping_and_config() -> None:
    servers = (
        {"urls": "stun:stun.example.org"},
        {"urls": ["turn:a.example.org", "turn:b.example.org"], "username": "u", "credential": "c"},
    )
    async with running_server(ice_servers=servers) as server:
        _, key = await new_company(server)
        async with connected(server, "ada", key) as ada:
            assert await ada.ask("ping") == {"type": "pong"}
            assert await ada.ask("config_request") == {
                "type": "config",
                "ice_servers": [
                    {"urls": ["stun:stun.example.org"]},
                    {
                        "urls": ["turn:a.example.org", "turn:b.example.org"],
                        "username": "u",
                        "credential": "c",
                    },
                ],
            }


# Signals.


async def test_an_offer_is_answered_by_the_relay_and_publishes_what_it_sends() -> None:
    async with running_server() as server:
        company_id, key = await new_company(server)
        async with connected(server, "ada", key) as ada:
            sections = (
                Section("a"),
                Section("b", "video"),
                Section("c"),
                Section("d", "video"),
                Section("e", direction="recvonly"),
            )
            answer = await ada.negotiate(make_offer(*sections))
            assert answer.startswith("v=0\r\n")
            assert f" 127.0.0.1 {server.udp_ports[0]} typ host" in answer
            lobby = server.service.lobbies.find("main", company_id)
            (participant,) = lobby.participants.values()
            assert [published.source for published in participant.tracks.values()] == [
                "microphone", "camera", "screen_audio", "screen",
            ]  # fmt: skip


async def test_with_sections_enough_a_peer_hears_through_the_slots() -> None:
    async with running_server() as server:
        _, key = await new_company(server)
        async with connected(server, "ada", key) as ada:
            await ada.negotiate(make_offer(Section("m"), *LISTENING))
            (peer,) = server.service.router.peers.values()
            assert [slot.index for slot in peer.subscriptions.values()] == [0, 1, 2]


async def test_with_one_section_peers_are_given_each_other_without_a_new_offer() -> None:
    async with running_server() as server:
        _, key = await new_company(server)
        async with connected(server, "ada", key) as ada, connected(server, "bob", key) as bob:
            await ada.negotiate(make_offer(*BOTH_WAYS, identity="ada"))
            await bob.negotiate(make_offer(*BOTH_WAYS, identity="bob"))
            first, second = server.service.router.peers.values()
            await until(lambda: first.subscriptions["0"] in second.tracks.values())
            assert second.subscriptions["0"] in first.tracks.values()
            async with connected(server, "eve", key, "?lobby=attic") as eve:
                await eve.negotiate(make_offer(*BOTH_WAYS, identity="eve"))
                *_, third = server.service.router.peers.values()
                assert third.subscriptions["0"] not in (*first.tracks.values(), *second.tracks.values())
        # Both have gone; nothing is left behind.
        await until_empty(server)


@pytest.mark.parametrize(
    ("data", "code", "field"),
    [
        ({"type": "offer"}, "invalid_message", "data.sdp"),
        ({"type": "offer", "sdp": 1}, "invalid_message", "data.sdp"),
        ({"type": "offer", "sdp": ""}, "invalid_message", "data.sdp"),
        ({"type": "offer", "sdp": "hello"}, "invalid_sdp", "data.sdp"),
        ({"type": "offer", "sdp": "v=0\r\n"}, "invalid_sdp", "data.sdp"),
        ({"type": "answer", "sdp": "v=0"}, "unsupported", "data.type"),
        ({"type": ["offer"]}, "unsupported", "data.type"),
        ({}, "unsupported", "data.type"),
    ],
)
async def test_what_the_relay_cannot_use_is_refused(data: dict[str, object], code: str, field: str) -> None:
    async with running_server() as server:
        _, key = await new_company(server)
        async with connected(server, "ada", key) as ada:
            assert await ada.refused("signal", to_peer="relay", data=data) == (code, field)
            assert await ada.ask("ping") == {"type": "pong"}


async def test_candidates_are_taken_in_silence() -> None:
    async with running_server() as server:
        _, key = await new_company(server)
        async with connected(server, "ada", key) as ada:
            for data in (
                {"type": "candidate", "candidate": {"candidate": "", "sdpMid": "0"}},
                {"type": "ice-candidate", "candidate": None},
                {"candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host", "sdpMid": "0", "sdpMLineIndex": 0},
            ):
                await ada.say("signal", data=data)
            assert await ada.ask("ping") == {"type": "pong"}


async def test_a_section_that_is_not_taken_is_told_beside_the_answer() -> None:
    async with running_server() as server:
        _, key = await new_company(server)
        async with connected(server, "ada", key) as ada:
            sdp = make_offer(Section("0"), Section("1", "video")).replace("VP8/90000", "THEORA/90000")
            await ada.negotiate(sdp)
            frame = await ada.hear()
            assert error_of(frame)[1] == "data.sdp"
            assert "section '1' was not taken" in frame["error"]


async def test_a_relay_that_is_full_says_so() -> None:
    async with running_server(max_peers=1) as server:
        _, key = await new_company(server)
        async with connected(server, "ada", key) as ada, connected(server, "bob", key) as bob:
            await ada.negotiate(make_offer(Section("0"), identity="ada"))
            data = {"type": "offer", "sdp": make_offer(Section("0"), identity="bob")}
            assert await bob.refused("signal", data=data) == ("at_capacity", "data.sdp")


async def test_signals_go_to_other_peers_of_the_company_as_they_are() -> None:
    async with running_server() as server:
        _, key = await new_company(server)
        async with (
            connected(server, "ada", key) as ada,
            connected(server, "b b/\u00e9", key, "?lobby=x") as bob,
        ):
            deep: object = 1
            for _ in range(150):
                deep = [deep]
            data = {
                "type": "offer",
                "sdp": "not for the relay",
                "more": {"deep": deep, "n": None, "big": 2**70},
            }
            await ada.say("signal", to_peer="b b/\u00e9", data=data)
            assert await bob.hear() == {"type": "signal", "from_peer": "ada", "data": data}
            assert await ada.refused("signal", to_peer="carol", data={}) == ("unknown_peer", "to_peer")


async def test_who_does_not_read_signals_is_cut_and_the_sender_notices_nothing() -> None:
    async with running_server(send_queue_bytes=65_536) as server:
        _, key = await new_company(server)
        async with connected(server, "ada", key) as ada, connected(server, "bob", key):
            # The library's queue takes no more than a thousand; before that the server's is full.
            with trio.fail_after(20):
                while not server.service.counters.websockets_closed["try_later"]:
                    for _ in range(40):
                        await ada.say("signal", to_peer="bob", data={"x": "y" * 100_000})
                    assert (await ada.ask("ping"))["type"] in {"pong", "error"}


# Companies and their peers.


async def test_companies_have_peers_and_lobbies_of_the_same_names_and_never_meet() -> None:
    async with running_server() as server:
        (first, first_key), (second, second_key) = [
            await new_company(server, name) for name in ("One", "Two")
        ]
        async with (
            connected(server, "ada", first_key) as ada,
            connected(server, "ada", second_key) as other_ada,
            connected(server, "bob", second_key) as bob,
            in_lobby(server.url, "main", "bob"),
        ):
            assert await ada.refused("signal", to_peer="bob", data={}) == ("unknown_peer", "to_peer")
            await other_ada.say("signal", to_peer="bob", data={"hello": 1})
            assert (await bob.hear())["data"] == {"hello": 1}
            lobbies = server.service.lobbies
            sizes = [len(lobbies.find("main", company).participants) for company in (first, second, "")]
            assert sizes == [1, 2, 1]
            for client, identity in ((ada, "ada"), (bob, "bob")):
                await client.negotiate(make_offer(*BOTH_WAYS, identity=identity))
            await bob.ask("ping")
            carried = [peer.subscriptions["0"] for peer in server.service.router.peers.values()]
            assert all(isinstance(source, relay.AudioSlot) for source in carried)
            assert carried[0].slots is not carried[1].slots


async def test_the_newer_of_two_peers_of_one_id_wins() -> None:
    async with running_server() as server:
        company_id, key = await new_company(server, max_sessions=1, max_participants=1, max_lobbies=1)
        async with connected(server, "ada", key) as former:
            await former.negotiate(make_offer(*BOTH_WAYS, identity="former"))
            async with connected(server, "ada", key) as newer:
                code, read = await former.closed()
                assert code == 4002
                assert "newer connection" in read[-1]["error"]
                assert await newer.ask("ping") == {"type": "pong"}
                assert len(server.service.lobbies.find("main", company_id).participants) == 1
                assert not any(peer.tracks for peer in server.service.router.peers.values())
                await newer.negotiate(make_offer(*BOTH_WAYS, identity="newer"))
        await until_empty(server)
        assert not server.service.counters.failures


async def test_many_at_once_under_one_id_leave_one() -> None:
    async with running_server() as server, AsyncExitStack() as stack:
        company_id, key = await new_company(server)
        clients: list[PeerClient] = []

        async def come() -> None:
            clients.append(await stack.enter_async_context(opened(server, "ada", key)))

        for _ in range(10):
            await come()
        await until(lambda: len(server.service.sessions) == 1)
        assert len(server.service.lobbies.find("main", company_id).participants) == 1
        codes = [(await client.closed())[0] for client in clients[:-1]]
        assert codes == [4002] * 9
        assert (await clients[-1].hear())["type"] == "connection_ack"
        assert await clients[-1].ask("ping") == {"type": "pong"}


async def test_a_peer_that_loses_its_connection_is_gone_at_once() -> None:
    async with running_server() as server:
        _, key = await new_company(server)
        async with connected(server, "ada", key) as ada:
            await trio.aclose_forcefully(ada.socket._stream)
            await until_empty(server)
        snapshot = await server.service.access.companies._store.load()
        assert snapshot.sessions == ()


# Close codes.


@pytest.mark.parametrize("key", ["wrong", "tr_" + "x" * 43, "%FF", "k" * 5000, "a/b", "\u00e9"])
async def test_a_wrong_key_closes_with_4001_after_the_handshake(key: str) -> None:
    async with running_server() as server:
        await new_company(server)
        async with opened(server, "ada", key) as client:
            code, read = await client.closed()
            assert code == 4001
            assert [error_of(frame) for frame in read] == [("closing", None)]
        assert not server.service.sessions
        assert server.service.counters.refused["unauthorized"] == 1


async def test_a_revoked_key_and_a_disabled_company_close_with_4001() -> None:
    async with running_server() as server:
        companies = server.service.access.companies
        company_id, key = await new_company(server)
        second = await companies.rotate(company_id)
        await companies.revoke(company_id, companies.find(company_id).key_ids[0])
        async with opened(server, "ada", key) as client:
            assert (await client.closed())[0] == 4001
        async with connected(server, "ada", second):
            pass
        await companies.set_enabled(company_id, enabled=False)
        async with opened(server, "ada", second) as client:
            assert (await client.closed())[0] == 4001


@pytest.mark.parametrize(
    ("peer_id", "query"),
    [
        (" ada", ""),
        ("a\nb", ""),
        ("a\u202eb", ""),
        ("x" * 65, ""),
        ("relay", ""),
        ("Relay", ""),
        ("a\ufffd", ""),
        ("ada", "?lobby="),
        ("ada", "?lobby=a%0Ab"),
        ("ada", "?lobby=%FF"),
        ("ada", "?lobby=" + "x" * 65),
    ],
)
async def test_an_address_that_names_nobody_closes_with_4002(peer_id: str, query: str) -> None:
    async with running_server() as server:
        _, key = await new_company(server)
        async with opened(server, peer_id, key, query) as client:
            code, (last,) = await client.closed()
            assert code == 4002
            assert "printable" in last["error"]
        assert not server.service.sessions


async def test_a_protected_name_is_nobodys_peer_id() -> None:
    async with running_server() as server:
        company_id, key = await new_company(server)
        await server.service.access.names.protect("Ada", "her secret password", company_id=company_id)
        async with opened(server, "ada", key) as client:
            code, read = await client.closed()
            assert (code, error_of(read[0])[0]) == (4002, "name_protected")
        await until_empty(server)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"max_sessions": 1}, "max_sessions"),
        ({"max_participants": 1}, "max_participants"),
        ({"max_lobbies": 1}, "max_lobbies"),
    ],
)
async def test_a_company_at_its_limits_closes_with_4003(limits: dict[str, int], words: str) -> None:
    async with running_server() as server:
        company_id, key = await new_company(server, **limits)
        async with connected(server, "ada", key) as ada, opened(server, "bob", key, "?lobby=attic") as bob:
            code, read = await bob.closed()
            assert code == 4003
            assert error_of(read[0]) == ("company_limit", None)
            assert words in read[0]["error"]
            assert error_of(read[1]) == ("closing", None)
            assert await ada.ask("ping") == {"type": "pong"}
            assert server.service.access.companies.usage.of(company_id).refused == {words: 1}


async def test_a_lobby_that_is_private_or_full_closes_with_4003() -> None:
    async with running_server() as server:
        company_id, key = await new_company(server)
        lobbies = server.service.lobbies
        await lobbies.create("secret", LobbyOptions(private=True, persistent=True), company_id=company_id)
        await lobbies.create(
            "guarded", LobbyOptions(private=True, password_hash="x", persistent=True), company_id=company_id
        )
        await lobbies.create("closet", LobbyOptions(capacity=1, persistent=True), company_id=company_id)
        async with connected(server, "ada", key, "?lobby=closet"):
            for lobby, error in (
                ("secret", "lobby_private"),
                ("guarded", "password_required"),
                ("closet", "lobby_full"),
            ):
                async with opened(server, "bob", key, f"?lobby={lobby}") as bob:
                    code, read = await bob.closed()
                    assert (code, error_of(read[0])[0]) == (4003, error)
            # Who is in it may take its own place again.
            async with connected(server, "ada", key, "?lobby=closet") as again:
                assert again.ack["lobby"] == "closet"


async def test_a_company_that_is_disabled_or_closed_meanwhile_closes_with_4003() -> None:
    async with running_server() as server:
        service = server.service
        company_id, key = await new_company(server)
        async with connected(server, "ada", key) as ada, connected(server, "bob", key) as bob:
            await service.access.companies.set_enabled(company_id, enabled=False)
            await ada.say("ping")
            assert (await ada.closed())[0] == 4003
            moderation = Moderation(lobbies=service.lobbies, sessions=service.sessions)
            await moderation.close_company(company_id)
            assert (await bob.closed())[0] == 4003
        await until_empty(server)


async def test_who_is_kicked_or_whose_lobby_is_closed_is_told_with_4010() -> None:
    async with running_server() as server:
        service = server.service
        company_id, key = await new_company(server)
        async with connected(server, "ada", key) as ada, connected(server, "bob", key) as bob:
            lobby = service.lobbies.find("main", company_id)
            kicked = next(iter(lobby.participants))
            Moderation(lobbies=service.lobbies, sessions=service.sessions).kick(lobby, kicked, "enough")
            code, read = await ada.closed()
            assert (code, read[-1]["error"]) == (CloseCode.SESSION_ENDED, "enough")
            await service.lobbies.close(lobby, "at night")
            code, read = await bob.closed()
            assert (code, read[-1]["error"]) == (CloseCode.SESSION_ENDED, "the lobby was closed")
        await until_empty(server)


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        ("", "invalid_json", None),
        ("[]", "invalid_json", None),
        ("[" * 50_000, "invalid_json", None),
        ('{"type":"signal","data":' + '{"a":' * 50_000, "invalid_json", None),
        ('{"type":"ping","x":NaN}', "invalid_json", None),
        ("{}", "invalid_message", "type"),
        ('{"type":7}', "invalid_message", "type"),
        ('{"type":"dance"}', "unknown_type", "type"),
        ('{"type":"connection_ack"}', "unknown_type", "type"),
        ('{"type":"signal"}', "invalid_message", "data"),
        ('{"type":"signal","data":[]}', "invalid_message", "data"),
        ('{"type":"signal","to_peer":7,"data":{}}', "invalid_message", "to_peer"),
        ('{"type":"signal","to_peer":"","data":{}}', "invalid_message", "to_peer"),
        ('{"type":"message"}', "invalid_message", "message"),
        ('{"type":"message","message":" "}', "invalid_message", "message"),
        ('{"type":"message","message":"a\\u0007"}', "invalid_message", "message"),
        (json.dumps({"type": "message", "message": "x" * 2001}), "invalid_message", "message"),
        (b"\x00", "unsupported", None),
    ],
)  # fmt: skip
async def test_what_is_no_message_is_refused(text: str | bytes, code: str, field: str | None) -> None:
    async with running_server() as server:
        _, key = await new_company(server)
        async with connected(server, "ada", key) as ada:
            await ada.say_text(text)
            assert error_of(await ada.hear()) == (code, field)
            assert await ada.ask("ping") == {"type": "pong"}


async def test_too_much_that_is_no_message_closes_with_4004() -> None:
    async with running_server() as server:
        _, key = await new_company(server)
        async with connected(server, "ada", key) as ada:
            with suppress(ConnectionClosed):
                for _ in range(VIOLATION_BURST + 50):
                    await ada.say_text('{"type":"dance"}')
            code, read = await ada.closed()
            assert code == 4004
            assert {error_of(frame)[0] for frame in read} == {"unknown_type", "closing"}
            assert len(read) >= VIOLATION_BURST + 2
            assert not server.service.counters.failures


async def test_a_message_too_large_closes_with_1009() -> None:
    async with running_server(max_message_bytes=4096) as server:
        _, key = await new_company(server)
        async with connected(server, "ada", key) as ada:
            await ada.say_text("x" * 5000)
            code, read = await ada.closed()
            assert code == CloseCode.TOO_LARGE
            assert [error_of(frame)[0] for frame in read] == ["too_large", "closing"]


async def test_too_many_messages_are_refused_unread_then_closed_with_1008() -> None:
    async with running_server() as server:
        _, key = await new_company(server)
        async with opened(server, "ada", key) as ada:
            with suppress(ConnectionClosed):
                for _ in range(2 * (MESSAGE_BURST + REFUSAL_BURST)):
                    await ada.say("ping")
            code, read = await ada.closed()
            assert code == CloseCode.POLICY
            assert {frame["code"] for frame in read if frame["type"] == "error"} == {
                "rate_limited",
                "closing",
            }
            assert sum(frame["type"] == "pong" for frame in read) >= MESSAGE_BURST


async def test_a_company_that_sends_too_much_is_refused_message_by_message() -> None:
    async with running_server() as server:
        _, key = await new_company(server, messages_per_second=1)
        async with connected(server, "ada", key) as ada, connected(server, "bob", key) as bob:
            assert await ada.ask("ping") == {"type": "pong"}
            replies = [await bob.ask("ping") for _ in range(3)]
            assert ("company_limit", None) in [error_of(each) for each in replies if each["type"] == "error"]


async def test_a_server_that_stops_closes_with_1001() -> None:
    readings: list[tuple[int, list[dict[str, object]]]] = []

    async def stay(server: RunningServer, key: str, *, task_status: trio.TaskStatus[None]) -> None:
        async with connected(server, "ada", key) as ada:
            task_status.started()
            readings.append(await ada.closed())

    async with trio.open_nursery() as nursery, running_server() as server:
        _, key = await new_company(server)
        await nursery.start(stay, server, key)
    ((code, read),) = readings
    assert code == CloseCode.GOING_AWAY
    assert error_of(read[-1])[0] == "closing"


# Bots.


class Parrot:
    """A bot that answers what it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.waiting = 0
        self.go = trio.Event()

    async def answer(self, lobby_id: str, text: str, from_participant_id: str) -> str:
        self.asked.append((lobby_id, text, from_participant_id))
        match text:
            case "nobody":
                raise NoBotError("nobody here")
            case "late":
                raise BotTimeoutError("too late")
            case "refused":
                raise BotFailedError("not to you")
            case "broken":
                raise ZeroDivisionError("a bug in a bot")
            case "wait":
                self.waiting += 1
                try:
                    await self.go.wait()
                finally:
                    self.waiting -= 1
        return f"you said {text}\ud800"


async def test_a_message_is_answered_by_the_lobbys_bot() -> None:
    parrot = Parrot()
    async with running_server(answerer=parrot) as server:
        company_id, key = await new_company(server)
        async with connected(server, "ada", key) as ada:
            assert await ada.ask("message", message="hello") == {
                "type": "response",
                "content": "you said hello?",
            }
            lobby = server.service.lobbies.find("main", company_id)
            assert parrot.asked == [(lobby.lobby_id, "hello", *lobby.participants)]


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("nobody", "no_bot", "nobody here"),
        ("late", "bot_timeout", "too late"),
        ("refused", "bot_failed", "not to you"),
        ("broken", "internal", "log"),
    ],
)
async def test_a_bot_that_does_not_answer_is_told_clearly(text: str, code: str, words: str) -> None:
    async with running_server(answerer=Parrot()) as server:
        _, key = await new_company(server)
        async with connected(server, "ada", key) as ada:
            frame = await ada.ask("message", message=text)
            assert error_of(frame) == (code, None)
            assert words in frame["error"]
            assert await ada.ask("ping") == {"type": "pong"}
            assert server.service.counters.failures["peer_answer"] == (code == "internal")


async def test_without_bots_the_error_says_so() -> None:
    async with running_server() as server:
        _, key = await new_company(server)
        async with connected(server, "ada", key) as ada:
            assert await ada.refused("message", message="hello") == ("no_bot", None)


async def test_nothing_waits_behind_a_bot_and_questions_are_bounded() -> None:
    parrot = Parrot()
    async with running_server(answerer=parrot) as server:
        _, key = await new_company(server)
        async with connected(server, "ada", key) as ada:
            for _ in range(MAX_QUESTIONS):
                await ada.say("message", message="wait")
            assert await ada.refused("message", message="hello") == ("rate_limited", None)
            assert await ada.ask("ping") == {"type": "pong"}
            parrot.go.set()
            for _ in range(MAX_QUESTIONS):
                assert (await ada.hear())["type"] == "response"
            # Those answered make room for others, up to what one may write.
            for _ in range(SESSION_LIMITS["chat"].burst):
                last = await ada.ask("message", message="more")
            assert error_of(last) == ("rate_limited", None)


async def test_a_bot_that_never_answers_is_given_up(monkeypatch) -> None:
    monkeypatch.setattr("signaling.peer_path.questions.ANSWER_SECONDS", 0.01)
    async with running_server(answerer=Parrot()) as server:
        _, key = await new_company(server)
        async with connected(server, "ada", key) as ada:
            assert await ada.refused("message", message="wait") == ("bot_timeout", None)


async def test_who_leaves_does_not_keep_a_bot_waiting() -> None:
    parrot = Parrot()
    async with running_server(answerer=parrot) as server:
        _, key = await new_company(server)
        async with connected(server, "ada", key) as ada:
            await ada.say("message", message="wait")
            await until(lambda: parrot.waiting == 1)
        await until(lambda: parrot.waiting == 0)
        await until_empty(server)
        assert not server.service.counters.failures


async def until(condition) -> None:
    with trio.fail_after(20):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await trio.sleep(0.001)


async def until_empty(server: RunningServer) -> None:
    """Wait until nothing is left of anybody."""
    service = server.service
    await until(lambda: not (service.sessions or service.lobbies.participant_count or service.router.peers))
    for company in service.access.companies.listed():
        await until(
            lambda company=company: (
                not any(service.access.companies.usage.of(company.company_id).held.values())
            )
        )


def test_the_relay_reads_offers_for_others() -> None:
    (section,) = relay.parse_offer(make_offer(Section("m", "video", "recvonly"))).sections
    assert (section.mid, section.kind, section.direction) == ("m", "video", "recvonly")
