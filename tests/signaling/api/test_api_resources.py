"""Sessions, lobbies, chat, participants and tokens over HTTP, with people in the lobbies."""

import json
from datetime import UTC, datetime

import trio
from api_client import open_api
from wire_client import connected, in_lobby

from signaling.events import SessionEnded
from signaling.messages import (
    ChatSend,
    ChatSent,
    ErrorReply,
    Join,
    Joined,
    LobbyClosed,
    ParticipantUpdated,
    Removed,
    Resumed,
)
from signaling.problem_codes import ProblemCode


async def test_a_session_is_made_found_taken_by_its_client_and_ended() -> None:
    async with open_api() as api:
        made = await api.do("POST", "/api/sessions", key=None, status=201)
        assert made["resume_seconds"] == 30
        shown = await api.get(f"/api/sessions/{made['session_id']}")
        assert (shown["connected"], shown["lobby"], shown["media_state"]) == (False, None, "new")
        assert made["resume_token"] not in json.dumps(shown)
        async with connected(api.server.url) as ada:
            resumed = await ada.resume(made["resume_token"])
            assert isinstance(resumed, Resumed)
            assert resumed.session_id == made["session_id"]
            await ada.join("garden", "Ada")
            shown = await api.get(f"/api/sessions/{made['session_id']}")
            assert (shown["connected"], shown["lobby"], shown["name"]) == (True, "garden", "Ada")
            assert shown["participant_id"] == ada.joined.participant_id
            await api.do("DELETE", f"/api/sessions/{made['session_id']}?reason=enough", status=204)
            code, reason, read = await ada.closed()
            assert (code, reason) == (4010, "enough")
            assert [each.text for each in read if isinstance(each, Removed)] == ["enough"]
        await api.refused("GET", f"/api/sessions/{made['session_id']}", code=ProblemCode.NOT_FOUND)
        await api.refused("DELETE", f"/api/sessions/{made['session_id']}", code=ProblemCode.NOT_FOUND)
        entry = (await api.audited())[0]
        assert (entry["action"], entry["target"]) == ("session.kick", made["session_id"])
        assert entry["detail"] == {"reason": "enough"}
        assert entry["actor"] == "admin@127.0.0.1"
        assert entry["correlation_id"].startswith("c-")


async def test_no_more_sessions_wait_than_there_is_room_for_and_they_do_not_wait_for_ever() -> None:
    async with open_api(max_connections=1, resume_seconds=1.5) as api:
        opened = [await api.do("POST", "/api/sessions", key=None, status=201) for _ in range(4)]
        await api.refused("POST", "/api/sessions", key=None, code=ProblemCode.AT_CAPACITY)
        with api.server.service.bus.subscribe("test", types=(SessionEnded,)) as ended, trio.fail_after(20):
            left = {each["session_id"] for each in opened} & {
                each.session_id for each in api.server.service.sessions
            }
            while left:
                left.discard((await anext(aiter(ended))).event.session_id)
        await api.do("POST", "/api/sessions", key=None, status=201)


async def test_lists_are_read_a_page_at_a_time_without_gap_or_double() -> None:
    async with open_api() as api:
        made = {(await api.do("POST", "/api/sessions", key=None, status=201))["session_id"] for _ in range(7)}
        seen: list[str] = []
        after: str | None = ""
        while after is not None:
            page = await api.get("/api/sessions", limit=3, after=after)
            assert len(page["sessions"]) <= 3
            seen += [each["session_id"] for each in page["sessions"]]
            after = page["next"]
        assert len(seen) == 7
        assert set(seen) == made
        await api.refused("GET", "/api/sessions?limit=0", code=ProblemCode.INVALID_MESSAGE)
        await api.refused("GET", "/api/sessions?limit=201", code=ProblemCode.INVALID_MESSAGE)


async def test_a_lobby_is_made_changed_and_closed() -> None:
    async with open_api() as api:
        answer = await api.ask(
            "POST",
            "/api/lobbies",
            {"name": "den", "private": True, "password": "rosebud", "capacity": 1, "persistent": True},
        )
        assert answer.status_code == 201
        made = answer.json()
        path = answer.headers["location"]
        assert path == f"/api/lobbies/{made['lobby_id']}"
        assert await api.get(path) == made
        assert (made["has_password"], made["participant_count"], made["participants"]) == (True, 0, [])
        assert "rosebud" not in answer.text
        await api.refused("POST", "/api/lobbies", {"name": "den"}, code=ProblemCode.LOBBY_EXISTS)
        async with connected(api.server.url) as ada, connected(api.server.url) as grace:
            assert (await ada.refused(Join(lobby="den", name="Ada"))).code == "password_required"
            await ada.expect(Join(lobby="den", name="Ada", password="rosebud"), Joined)
            refusal = await grace.refused(Join(lobby="den", name="Grace", password="rosebud"))
            assert refusal.code == "lobby_full"
            changed = await api.do("PATCH", path, {"private": False, "capacity": None})
            assert (changed["private"], changed["has_password"], changed["capacity"]) == (False, False, None)
            assert changed["persistent"]
            await grace.expect(Join(lobby="den", name="Grace"), Joined)
            shown = await api.get(path)
            assert [each["name"] for each in shown["participants"]] == ["Ada", "Grace"]
            assert {each["muted"] for each in shown["participants"]} == {True}
            assert shown["participant_count"] == 2
            await api.do("DELETE", path + "?reason=closing+time", status=204)
            assert (await ada.until(LobbyClosed)).reason == "closing time"
            assert (await grace.until(LobbyClosed)).reason == "closing time"
            await api.refused("GET", path, code=ProblemCode.NOT_FOUND)
        actions = [entry["action"] for entry in await api.audited()]
        assert actions == ["lobby.close", "lobby.update", "lobby.create"]


async def test_a_password_makes_a_lobby_private() -> None:
    async with open_api() as api:
        made = await api.do(
            "POST", "/api/lobbies", {"name": "den", "password": "rosebud", "persistent": True}, status=201
        )
        assert made["private"]
        path = f"/api/lobbies/{made['lobby_id']}"
        for change, private, has_password in [
            ({"password": None}, True, False),
            ({"private": False}, False, False),
            ({"password": "rosebud"}, True, True),
            ({"capacity": 5.0}, True, True),
            ({"private": True}, True, True),
            ({"private": False}, False, False),
            ({"private": False, "password": "rosebud"}, True, True),
        ]:
            changed = await api.do("PATCH", path, change)
            assert (changed["private"], changed["has_password"]) == (private, has_password), change
        assert changed["capacity"] == 5


async def test_an_empty_lobby_made_not_persistent_is_closed_and_shown_as_it_was() -> None:
    async with open_api() as api:
        made = await api.do("POST", "/api/lobbies", {"name": "den", "persistent": True}, status=201)
        path = f"/api/lobbies/{made['lobby_id']}"
        changed = await api.do("PATCH", path, {"persistent": False, "capacity": 3})
        assert (changed["persistent"], changed["capacity"]) == (False, 3)
        await api.refused("GET", path, code=ProblemCode.NOT_FOUND)


WRONG_LOBBIES: list[tuple[object, str]] = [
    ({}, "name"),
    ({"name": ""}, "name"),
    ({"name": "a\u202eb"}, "name"),
    ({"name": "x" * 65}, "name"),
    ({"name": 7}, "name"),
    ({"name": "den", "capacity": 0}, "capacity"),
    ({"name": "den", "capacity": True}, "capacity"),
    ({"name": "den", "private": "yes"}, "private"),
    ({"name": "den", "password": "x" * 257}, "password"),
    ({"name": "den", "capacity": 2.5}, "capacity"),
    ({"name": "den", "capacity": "2"}, "capacity"),
    ({"name": "den", "privat": True}, "privat"),
    ([], "body"),
]


async def test_what_is_wrong_with_a_body_is_named() -> None:
    async with open_api() as api:
        for body, field in WRONG_LOBBIES:
            content = await api.refused("POST", "/api/lobbies", body, code=ProblemCode.INVALID_MESSAGE)
            assert content["field"] == field, content
        assert len(api.server.service.lobbies) == 0


async def test_strangers_are_told_of_public_lobbies_and_of_nothing_else() -> None:
    async with open_api() as api, in_lobby(api.server.url, "garden") as ada:
        await api.do("POST", "/api/lobbies", {"name": "den", "private": True}, status=201)
        public = await api.get("/api/lobbies", key=None)
        assert [each["name"] for each in public["lobbies"]] == ["garden"]
        assert public["lobbies"][0]["participant_count"] == 1
        lobby_id = ada.joined.lobby_id
        for method, path in [
            ("GET", f"/api/lobbies/{lobby_id}"),
            ("PATCH", f"/api/lobbies/{lobby_id}"),
            ("DELETE", f"/api/lobbies/{lobby_id}"),
            ("GET", f"/api/lobbies/{lobby_id}/chat"),
            ("GET", f"/api/lobbies/{lobby_id}/participants/{ada.joined.participant_id}"),
            ("GET", "/api/sessions"),
        ]:
            body = {} if method == "PATCH" else None
            await api.refused(method, path, body, code=ProblemCode.UNAUTHORIZED, key=None)
        everything = await api.get("/api/lobbies")
        assert {each["name"] for each in everything["lobbies"]} == {"garden", "den"}


async def test_chat_is_read_backwards_to_its_beginning() -> None:
    async with open_api() as api, in_lobby(api.server.url, "garden") as ada:
        for number in range(7):
            await ada.expect(ChatSend(text=f"line {number}"), ChatSent)
        path = f"/api/lobbies/{ada.joined.lobby_id}/chat"
        newest = await api.get(path, limit=3)
        assert [line["text"] for line in newest["lines"]] == ["line 4", "line 5", "line 6"]
        assert newest["more"]
        older = await api.get(path, limit=10, before=newest["lines"][0]["seq"])
        assert [line["text"] for line in older["lines"]] == [f"line {number}" for number in range(4)]
        assert not older["more"]
        assert older["lines"][0]["participant_id"] == ada.joined.participant_id


async def test_participants_are_renamed_muted_and_removed() -> None:
    async with (
        open_api() as api,
        in_lobby(api.server.url, "garden") as ada,
        connected(api.server.url) as grace,
    ):
        await grace.join("garden", "Grace")
        base = f"/api/lobbies/{ada.joined.lobby_id}/participants/{ada.joined.participant_id}"
        renamed = await api.do("PUT", f"{base}/name", {"name": "  Augusta "})
        assert renamed["name"] == "Augusta"
        assert (await grace.until(ParticipantUpdated)).participant.name == "Augusta"
        await api.do("PUT", f"{base}/muted", {"muted": True})
        lobby = api.server.service.lobbies.get(ada.joined.lobby_id)
        assert lobby is not None
        assert lobby.participants[ada.joined.participant_id].muted_by_server
        await api.do("PUT", f"{base}/muted", {"muted": False})
        assert not lobby.participants[ada.joined.participant_id].muted_by_server
        await api.refused(
            "PUT", f"{base}/muted", {"muted": True, "track_id": "t-none"}, code=ProblemCode.NOT_FOUND
        )
        assert (await api.get(base))["name"] == "Augusta"
        await api.do("DELETE", base + "?reason=manners", status=204)
        assert (await ada.closed())[:2] == (4010, "manners")
        await api.refused("GET", base, code=ProblemCode.NOT_FOUND)
        await api.refused("DELETE", base, code=ProblemCode.NOT_FOUND)
        await api.refused("PUT", f"{base}/name", {"name": "B"}, code=ProblemCode.NOT_FOUND)
        audited = [(entry["action"], entry["target"]) for entry in await api.audited()]
        participant_id = ada.joined.participant_id
        assert audited == [
            ("participant.kick", participant_id),
            ("participant.unmute", participant_id),
            ("participant.mute", participant_id),
            ("participant.rename", participant_id),
        ]


async def test_a_token_that_is_made_here_opens_the_lobby_it_is_for() -> None:
    async with open_api() as api:
        await api.do("POST", "/api/lobbies", {"name": "den", "private": True}, status=201)
        made = await api.do(
            "POST",
            "/api/tokens",
            {"lobby": "den", "name": "Ada", "can_chat": False, "identity": "ada@example.org"},
            status=201,
        )
        left = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
        assert 590 < left.total_seconds() <= 600
        async with connected(api.server.url) as ada:
            await ada.expect(Join(lobby="den", name="Ada", token=made["token"]), Joined)
            refusal = await ada.expect(ChatSend(text="hello"), ErrorReply)
            assert refusal.code == "forbidden"
        entry = (await api.audited())[0]
        assert (entry["action"], entry["target"]) == ("token.create", "ada@example.org")
        assert made["token"] not in json.dumps(entry)


async def test_without_a_key_no_tokens_are_made() -> None:
    async with open_api(token_secret=None) as api:
        await api.refused("POST", "/api/tokens", {"lobby": "den"}, code=ProblemCode.TOKENS_UNAVAILABLE)


async def test_a_server_that_drains_makes_neither_sessions_nor_lobbies() -> None:
    async with open_api() as api:
        state = await api.do("PUT", "/api/admin/drain", {"reason": "maintenance"})
        assert (state["draining"], state["reason"]) == (True, "maintenance")
        for path, body in [("/api/sessions", None), ("/api/lobbies", {"name": "den"})]:
            content = await api.refused("POST", path, body, code=ProblemCode.DRAINING)
            assert "maintenance" in content["detail"]
        down = await api.get("/api/system/ready", key=None, status=503)
        assert down["status"] == "down"
        assert (await api.get("/api/admin/drain"))["refused"] == 2
        assert not (await api.do("DELETE", "/api/admin/drain"))["draining"]
        await api.do("POST", "/api/lobbies", {"name": "den"}, status=201)
        # It may be down all the same, if this machine holds it up.
        ready = (await api.ask("GET", "/api/system/ready", key=None)).json()
        assert ready["checks"]["drain"]["status"] == "ready"
        actions = [entry["action"] for entry in await api.audited()]
        assert actions == ["lobby.create", "drain.end", "drain.begin"]
