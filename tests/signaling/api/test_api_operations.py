"""What the administrator does to the server itself, and what is said of it all in the audit log."""

import json
import logging
from datetime import UTC, datetime

from api_client import open_api
from http_peer import http_peer, respond
from wire_client import connected

from signaling.messages import Join, Joined
from signaling.problem_codes import ProblemCode
from signaling.storage import AddDeadLetter, DeadLetterRecord


async def test_names_are_protected_listed_and_freed() -> None:
    async with open_api() as api:
        kept = await api.do("PUT", "/api/admin/names", {"name": "Ada", "password": "rosebud"})
        assert (kept["name"], kept["company_id"]) == ("Ada", "")
        assert await api.get("/api/admin/names") == {"names": [kept], "next": None}
        assert (await api.get("/api/system/health"))["statistics"]["protected_names"] == 1
        async with connected(api.server.url) as ada:
            assert (await ada.refused(Join(lobby="garden", name="A\u200bda"))).code == "name_protected"
            await ada.expect(Join(lobby="garden", name="Ada", name_password="rosebud"), Joined)
        await api.do("DELETE", "/api/admin/names?name=ADA", status=204)
        await api.refused("DELETE", "/api/admin/names?name=Ada", code=ProblemCode.NOT_FOUND)
        async with connected(api.server.url) as ada:
            await ada.join("garden", "Ada")
        wrong = {"name": "B", "password": "x", "company_id": "co-none"}
        await api.refused("PUT", "/api/admin/names", wrong, code=ProblemCode.COMPANY_UNKNOWN)
        await api.refused(
            "PUT", "/api/admin/names", {"name": "\u200b", "password": "x"}, code=ProblemCode.INVALID_MESSAGE
        )
        entries = await api.audited()
        assert [(entry["action"], entry["target"]) for entry in entries] == [
            ("name.clear", "Ada"),
            ("name.clear", "ADA"),
            ("name.protect", "Ada"),
        ]
        assert "rosebud" not in json.dumps(entries)


async def test_names_are_read_a_page_at_a_time_in_the_order_in_which_they_are_compared() -> None:
    async with open_api() as api:
        for name in ("bob", "Ada", "Éva", "carol", "Zoë"):
            await api.server.service.access.names.protect(name, "rosebud")
        seen: list[str] = []
        after: str | None = ""
        while after is not None:
            page = await api.get("/api/admin/names", limit=2, after=after)
            seen += [each["name"] for each in page["names"]]
            after = page["next"]
        assert seen == [each.name for each in api.server.service.access.names.listed()]
        assert len(seen) == 5
        assert (await api.get("/api/admin/names", company_id="co-none"))["names"] == []


async def test_the_audit_log_is_read_backwards_to_its_beginning() -> None:
    async with open_api() as api:
        for number in range(7):
            await api.do("PUT", "/api/admin/drain", {"reason": f"{number}"})
        first = await api.get("/api/admin/audit", limit=4)
        assert [entry["detail"]["reason"] for entry in first["entries"]] == ["6", "5", "4", "3"]
        rest = await api.get("/api/admin/audit", limit=4, before=first["next"])
        assert [entry["detail"]["reason"] for entry in rest["entries"]] == ["2", "1", "0"]
        assert rest["next"] is None
        assert (await api.get("/api/admin/drain"))["reason"] == "0"


async def test_log_levels_change_at_once() -> None:
    async with open_api() as api:
        logger = logging.getLogger("signaling.lobby")
        assert logger.getEffectiveLevel() != logging.ERROR
        try:
            told = await api.do(
                "PUT", "/api/admin/log-levels", {"logger": "signaling.lobby", "level": "error"}
            )
            assert told["levels"]["signaling.lobby"] == "error"
            assert logger.getEffectiveLevel() == logging.ERROR
            assert await api.get("/api/admin/log-levels") == told
            told = await api.do("PUT", "/api/admin/log-levels", {"logger": "signaling.lobby", "level": None})
            assert "signaling.lobby" not in told["levels"]
        finally:
            logger.setLevel(logging.NOTSET)
        for wrong, field in [
            ({"logger": "a b", "level": "info"}, "logger"),
            ({"level": None}, "level"),
            ({"level": "loud"}, "level"),
        ]:
            content = await api.refused(
                "PUT", "/api/admin/log-levels", wrong, code=ProblemCode.INVALID_MESSAGE
            )
            assert content["field"] == field
        assert [entry["detail"] for entry in await api.audited()] == [
            {"level": None, "former": "error"},
            {"level": "error", "former": None},
        ]


async def test_some_limits_change_at_once_and_the_others_are_told() -> None:
    async with open_api(max_connections=77) as api:
        told = await api.get("/api/admin/limits")
        assert told["changeable"] == {"api_requests_per_minute": 300, "max_connections_per_address": 500}
        assert told["need_restart"]["max_connections"] == 77
        changed = await api.do("PATCH", "/api/admin/limits", {"api_requests_per_minute": 1000})
        assert changed["changeable"]["api_requests_per_minute"] == 1000
        answer = await api.ask("GET", "/api/lobbies")
        assert answer.headers["x-ratelimit-limit"] == "1000"
        changed = await api.do("PATCH", "/api/admin/limits", {"max_connections_per_address": 3})
        assert api.server.service.address_limits.max_open == 3
        await api.refused(
            "PATCH", "/api/admin/limits", {"max_connections": 5}, code=ProblemCode.INVALID_MESSAGE
        )
        assert (await api.audited())[0]["detail"]["now"] == changed["changeable"]


async def test_dead_letters_are_listed_and_delivered_once_more() -> None:
    async with http_peer() as receiver:
        hook = {
            "url": f"{receiver.url}?key=hidden",
            "secret": "a-secret-for-webhooks",
            "events": ["LobbyOpened"],
        }
        async with open_api(webhooks=[hook]) as api:
            letter = DeadLetterRecord(
                delivery_id="msg-dead",
                url=hook["url"],
                event_type="LobbyOpened",
                body='{"type":"LobbyOpened"}',
                attempts=12,
                last_error="it was not there",
                created_at=datetime.now(UTC),
                given_up_at=datetime.now(UTC),
            )
            await api.server.service.store.commit(AddDeadLetter(letter))
            listed = await api.get("/api/admin/webhooks/dead-letters")
            assert [each["delivery_id"] for each in listed["dead_letters"]] == ["msg-dead"]
            assert "hidden" not in json.dumps(listed)
            assert "hidden" not in json.dumps(await api.get("/api/admin/webhooks"))
            path = "/api/admin/webhooks/dead-letters/msg-dead/redeliver"
            receiver.answers.append(respond(500))
            await api.refused("POST", path, code=ProblemCode.DELIVERY_FAILED)
            receiver.answers.append(respond(204))
            await api.do("POST", path, status=204)
            assert receiver.heard[-1].body == b'{"type":"LobbyOpened"}'
            assert (await api.get("/api/admin/webhooks/dead-letters"))["dead_letters"] == []
            await api.refused("POST", path, code=ProblemCode.NOT_FOUND)
            gone = letter.__class__(
                **{name: getattr(letter, name) for name in letter.__slots__} | {"url": "http://x/"}
            )
            await api.server.service.store.commit(AddDeadLetter(gone))
            await api.refused("POST", path, code=ProblemCode.DELIVERY_CONFLICT)
            outcomes = [entry["detail"]["delivered"] for entry in await api.audited()]
            assert outcomes == [False, False, True, False]
