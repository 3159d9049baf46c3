"""Companies: their keys and limits, and that none of them can see, or touch, what is another's."""

import json

from api_client import ADMIN_TOKEN, open_api
from wire_client import connected

from signaling.messages import Join, Joined, Removed
from signaling.problem_codes import ProblemCode


async def test_a_company_gets_a_key_that_is_shown_once_and_replaced_without_a_gap() -> None:
    async with open_api() as api:
        made = await api.do(
            "POST", "/api/companies", {"name": "Example", "limits": {"max_lobbies": 2}}, status=201
        )
        path, first = f"/api/companies/{made['company_id']}", made["api_key"]
        assert first.startswith("tr_")
        assert (made["limits"]["max_lobbies"], made["limits"]["max_bots"]) == (2, 50)
        shown = await api.get(path)
        assert first not in json.dumps(shown)
        assert await api.get(path, key=first) == shown
        second = await api.do("POST", f"{path}/keys", status=201)
        for key in (first, second["api_key"]):
            assert (await api.get("/api/lobbies", key=key))["lobbies"] == []
        await api.do("DELETE", f"{path}/keys/{shown['key_ids'][0]}", status=204)
        await api.refused("GET", "/api/lobbies", code=ProblemCode.UNAUTHORIZED, key=first)
        await api.get("/api/lobbies", key=second["api_key"])
        assert (await api.get(path))["key_ids"] == [second["key_id"]]
        await api.refused("DELETE", f"{path}/keys/{shown['key_ids'][0]}", code=ProblemCode.NOT_FOUND)
        for _ in range(4):
            await api.do("POST", f"{path}/keys", status=201)
        await api.refused("POST", f"{path}/keys", code=ProblemCode.AT_CAPACITY)
        written = json.dumps(await api.audited())
        assert first not in written
        assert second["api_key"] not in written
        assert second["key_id"] in written


async def test_companies_are_listed_changed_and_refused_by_name() -> None:
    async with open_api() as api:
        company_id, key = await api.company("Example")
        await api.company("Other")
        listed = await api.get("/api/companies", limit=1)
        more = await api.get("/api/companies", after=listed["next"])
        assert {listed["companies"][0]["name"], more["companies"][0]["name"]} == {"Example", "Other"}
        await api.refused("POST", "/api/companies", {"name": "EXAMPLE"}, code=ProblemCode.COMPANY_EXISTS)
        content = await api.refused(
            "POST",
            "/api/companies",
            {"name": "A", "limits": {"max_bots": -1}},
            code=ProblemCode.INVALID_MESSAGE,
        )
        assert content["field"] == "limits.max_bots"
        path = f"/api/companies/{company_id}"
        changed = await api.do("PATCH", path, {"limits": {"max_lobbies": 1}})
        assert (changed["limits"]["max_lobbies"], changed["enabled"]) == (1, True)
        await api.do("POST", "/api/lobbies", {"name": "den"}, key=key, status=201)
        content = await api.refused(
            "POST", "/api/lobbies", {"name": "garden"}, code=ProblemCode.COMPANY_LIMIT, key=key
        )
        assert "max_lobbies" in content["detail"]
        usage = (await api.get(path, key=key))["usage"]
        assert (usage["lobbies"], usage["refused"]) == (1, {"max_lobbies": 1})
        assert not (await api.do("PATCH", path, {"enabled": False}))["enabled"]
        await api.refused("GET", path, code=ProblemCode.UNAUTHORIZED, key=key)
        await api.refused(
            "POST", "/api/lobbies", {"name": "a", "company_id": company_id}, code=ProblemCode.COMPANY_UNKNOWN
        )
        await api.do("PATCH", path, {"enabled": True})
        await api.get(path, key=key)


async def test_deleting_a_company_ends_all_it_has() -> None:
    async with open_api() as api:
        company_id, key = await api.company()
        await api.do("POST", "/api/lobbies", {"name": "den", "persistent": True}, key=key, status=201)
        await api.do(
            "PUT", "/api/admin/names", {"name": "Ada", "password": "rosebud", "company_id": company_id}
        )
        token = (await api.do("POST", "/api/tokens", {"lobby": "den"}, key=key, status=201))["token"]
        async with connected(api.server.url) as grace:
            await grace.expect(Join(lobby="den", name="Grace", token=token), Joined)
            await api.do("DELETE", f"/api/companies/{company_id}", status=204)
            code, _, read = await grace.closed()
            assert code == 4010
            assert [each.reason for each in read if isinstance(each, Removed)] == ["company_closed"]
        service = api.server.service
        assert (len(service.lobbies), len(service.access.names), len(service.access.companies)) == (0, 0, 0)
        await api.refused("GET", "/api/lobbies", code=ProblemCode.UNAUTHORIZED, key=key)
        await api.refused("DELETE", f"/api/companies/{company_id}", code=ProblemCode.NOT_FOUND)
        await api.refused("PATCH", f"/api/companies/{company_id}", {}, code=ProblemCode.NOT_FOUND)
        await api.refused("POST", f"/api/companies/{company_id}/keys", code=ProblemCode.COMPANY_UNKNOWN)
        kept = await service.store.load()
        assert (kept.companies, kept.lobbies, kept.names) == ((), (), ())


async def test_what_is_another_companys_is_as_if_it_were_not_there() -> None:
    async with open_api() as api:
        own_id, own = await api.company("Own")
        _, other = await api.company("Other")
        lobby = await api.do("POST", "/api/lobbies", {"name": "den"}, key=own, status=201)
        session = await api.do("POST", "/api/sessions", key=own, status=201)
        token = (await api.do("POST", "/api/tokens", {"lobby": "den"}, key=own, status=201))["token"]
        async with connected(api.server.url) as ada:
            ada.joined = await ada.expect(Join(lobby="den", name="Ada", token=token), Joined)
            participant = f"/api/lobbies/{lobby['lobby_id']}/participants/{ada.joined.participant_id}"
            foreign: list[tuple[str, str, object]] = [
                ("GET", f"/api/lobbies/{lobby['lobby_id']}", None),
                ("PATCH", f"/api/lobbies/{lobby['lobby_id']}", {"private": True}),
                ("DELETE", f"/api/lobbies/{lobby['lobby_id']}", None),
                ("GET", f"/api/lobbies/{lobby['lobby_id']}/chat", None),
                ("GET", participant, None),
                ("DELETE", participant, None),
                ("PUT", f"{participant}/name", {"name": "B"}),
                ("PUT", f"{participant}/muted", {"muted": True}),
                ("GET", f"/api/sessions/{session['session_id']}", None),
                ("DELETE", f"/api/sessions/{session['session_id']}", None),
                ("GET", f"/api/companies/{own_id}", None),
            ]
            known = {lobby["lobby_id"]: "l-nothing", session["session_id"]: "s-nothing", own_id: "co-nothing"}
            for method, path, body in foreign:
                told = await api.refused(method, path, body, code=ProblemCode.NOT_FOUND, key=other)
                for there, nowhere in known.items():
                    path = path.replace(there, nowhere)  # noqa: PLW2901
                nothing = await api.refused(method, path, body, code=ProblemCode.NOT_FOUND, key=other)
                assert told | {"correlation_id": ""} == nothing | {"correlation_id": ""}
            assert (await api.get("/api/lobbies", key=other))["lobbies"] == []
            assert (await api.get("/api/sessions", key=other))["sessions"] == []
            for path, body in [("/api/lobbies", {"name": "x"}), ("/api/tokens", {})]:
                content = await api.refused(
                    "POST", path, {**body, "company_id": own_id}, code=ProblemCode.FORBIDDEN, key=other
                )
                assert content["field"] == "company_id"
            # All is as it was, and its owner may do what the other may not.
            assert (await api.get(participant, key=own))["name"] == "Ada"
            assert len((await api.get("/api/sessions", key=own))["sessions"]) == 2
            await api.do("DELETE", participant, key=own, status=204)
            assert (await ada.closed())[0] == 4010
            entry = (await api.audited())[0]
            assert entry["actor"] == f"company {own_id}@127.0.0.1"


async def test_companies_do_not_administer() -> None:
    async with open_api() as api:
        company_id, key = await api.company()
        for method, template, body in ADMINS_ONLY:
            path = template.format(company_id=company_id)
            await api.refused(method, path, body, code=ProblemCode.FORBIDDEN, key=key)
            await api.refused(method, path, body, code=ProblemCode.UNAUTHORIZED, key=None)
        assert [entry["action"] for entry in await api.audited()] == ["company.create"]


async def test_in_the_open_admin_interface_an_api_key_still_counts_as_the_companys() -> None:
    async with open_api(admin_token=None) as api:
        made = await api.do("POST", "/api/companies", {"name": "Example"}, key=None, status=201)
        await api.do("POST", "/api/lobbies", {"name": "open"}, key=None, status=201)
        await api.refused("GET", "/api/companies", code=ProblemCode.FORBIDDEN, key=made["api_key"])
        assert (await api.get("/api/lobbies", key=made["api_key"]))["lobbies"] == []
        await api.refused("GET", "/api/companies", code=ProblemCode.UNAUTHORIZED, key="tr_" + "x" * 43)
        await api.refused(
            "GET",
            "/api/companies",
            code=ProblemCode.ADMIN_CLOSED,
            key=None,
            headers={"X-Forwarded-For": "192.0.2.7"},
        )
        await api.refused(
            "GET", "/api/companies", code=ProblemCode.ADMIN_CLOSED, key=None, headers={"Host": "evil.example"}
        )
        await api.refused(
            "POST",
            "/api/companies",
            {"name": "B"},
            code=ProblemCode.CROSS_SITE,
            key=None,
            headers={"Origin": "https://evil.example"},
        )


async def test_without_a_token_and_not_in_development_the_admin_interface_is_closed() -> None:
    async with open_api(admin_token=None, development=False) as api:
        for method, path, body in ADMINS_ONLY:
            await api.refused(
                method, path.format(company_id="co-x"), body, code=ProblemCode.ADMIN_CLOSED, key=None
            )
        assert (await api.get("/api/system/health", key=None))["status"] == "ok"


async def test_wrong_tokens_are_counted_and_then_not_even_compared() -> None:
    async with open_api() as api:
        for _ in range(10):
            await api.refused(
                "GET", "/api/companies", code=ProblemCode.UNAUTHORIZED, key="wrong-token-of-somebody"
            )
        answer = await api.ask("GET", "/api/companies", key=ADMIN_TOKEN)
        assert answer.status_code == 429
        assert answer.json()["code"] == "rate_limited"
        assert 25 <= int(answer.headers["retry-after"]) <= 30


#: Everything that an API key is not enough for.
ADMINS_ONLY: list[tuple[str, str, object]] = [
    ("GET", "/api/companies", None),
    ("POST", "/api/companies", {"name": "x"}),
    ("PATCH", "/api/companies/{company_id}", {"enabled": True}),
    ("DELETE", "/api/companies/{company_id}", None),
    ("POST", "/api/companies/{company_id}/keys", None),
    ("DELETE", "/api/companies/{company_id}/keys/abc", None),
    ("GET", "/api/admin/names", None),
    ("PUT", "/api/admin/names", {"name": "x", "password": "y"}),
    ("DELETE", "/api/admin/names?name=x", None),
    ("GET", "/api/admin/audit", None),
    ("GET", "/api/admin/drain", None),
    ("PUT", "/api/admin/drain", {}),
    ("DELETE", "/api/admin/drain", None),
    ("GET", "/api/admin/log-levels", None),
    ("PUT", "/api/admin/log-levels", {"level": "debug"}),
    ("GET", "/api/admin/limits", None),
    ("PATCH", "/api/admin/limits", {}),
    ("GET", "/api/admin/webhooks", None),
    ("GET", "/api/admin/webhooks/dead-letters", None),
    ("POST", "/api/admin/webhooks/dead-letters/msg-x/redeliver", None),
]
