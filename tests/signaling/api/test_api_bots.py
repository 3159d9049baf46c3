"""Bots over HTTP: with a provider that has them, and without; and whose they are."""

import json

from api_client import open_api
from provider_client import DEADLINES, providing
from wire_client import in_lobby

from signaling.problem_codes import ProblemCode


async def test_a_bot_is_asked_for_once_comes_and_is_stopped() -> None:
    async with (
        open_api(bot_deadlines=DEADLINES) as api,
        in_lobby(api.server.url, "garden") as ada,
        providing(api.server, name="Chat", credential="a-token-for-tests-only"),
    ):
        path = f"/api/lobbies/{ada.joined.lobby_id}/bots"
        wanted = {"provider": "Chat", "name": "Eliza", "config": {"greeting": "rosebud-greeting"}}
        once = {"Idempotency-Key": "once"}
        answer = await api.ask("POST", f"{path}?wait_seconds=15", wanted, headers=once)
        assert answer.status_code == 202, answer.text
        bot = answer.json()
        assert (bot["state"], bot["name"], bot["provider"]) == ("active", "Eliza", "Chat")
        assert answer.headers["location"] == f"/api/bots/{bot['bot_id']}"
        again = await api.do("POST", path, wanted, headers=once, status=202)
        assert again["bot_id"] == bot["bot_id"]
        await api.refused("POST", path, {"name": "B"}, headers=once, code=ProblemCode.IDEMPOTENCY_CONFLICT)
        assert [each["bot_id"] for each in (await api.get(path))["bots"]] == [bot["bot_id"]]
        shown = await api.get(f"/api/bots/{bot['bot_id']}")
        assert shown["joins"] == 1
        assert "rosebud" not in json.dumps(shown)
        (provider,) = (await api.get("/api/providers"))["providers"]
        assert (provider["name"], provider["bots"], provider["figures"]["accepted"]) == ("Chat", 1, 1)
        stopped = await api.do("DELETE", f"/api/bots/{bot['bot_id']}?reason=thanks", status=200)
        assert stopped["state"] in {"leaving", "gone"}
        drained = await api.do("POST", f"/api/providers/{provider['provider_id']}/drain?reason=old")
        assert (drained["state"], drained["reason"]) == ("draining", "old")
        entries = await api.audited()
        assert [entry["action"] for entry in entries] == ["provider.drain", "bot.stop", *["bot.request"] * 2]
        assert "rosebud" not in json.dumps(entries)


async def test_what_cannot_be_asked_for_is_refused_and_that_nobody_comes_is_told() -> None:
    async with (
        open_api(bot_deadlines=DEADLINES) as api,
        in_lobby(api.server.url, "garden") as ada,
    ):
        path = f"/api/lobbies/{ada.joined.lobby_id}/bots"
        bot = await api.do("POST", f"{path}?wait_seconds=15", {}, status=202)
        assert (bot["state"], bot["ending"]) == ("gone", "not_placed")
        assert "no provider is registered" in bot["reason"]
        for body, field in [({"name": "a\nb"}, "name"), ({"config": []}, "config"), ({"bot": 1}, "bot")]:
            content = await api.refused("POST", path, body, code=ProblemCode.INVALID_MESSAGE)
            assert content["field"] == field
        content = await api.refused(
            "POST", path, {}, code=ProblemCode.INVALID_MESSAGE, headers={"Idempotency-Key": "a b"}
        )
        assert content["field"] == "Idempotency-Key"
        await api.refused("POST", "/api/lobbies/l-none/bots", {}, code=ProblemCode.NOT_FOUND)
        await api.refused("GET", "/api/lobbies/l-none/bots", code=ProblemCode.NOT_FOUND)
        await api.refused("GET", "/api/bots/b-none", code=ProblemCode.NOT_FOUND)
        await api.refused("DELETE", "/api/bots/b-none", code=ProblemCode.NOT_FOUND)
        await api.refused("POST", "/api/providers/v-none/drain", code=ProblemCode.NOT_FOUND)
        async with providing(api.server, name="Chat", credential="a-token-for-tests-only"):
            content = await api.refused(
                "POST", path, {"config": {"greeting": 7}}, code=ProblemCode.INVALID_CONFIG
            )
            assert content["field"] == "config.greeting"
        await api.do("PUT", "/api/admin/drain", {})
        await api.refused("POST", path, {}, code=ProblemCode.DRAINING)


async def test_companies_have_bots_and_providers_of_their_own() -> None:
    async with open_api(bot_deadlines=DEADLINES) as api:
        _, own = await api.company("Own", max_bots=1)
        _, other = await api.company("Other")
        lobby = await api.do("POST", "/api/lobbies", {"name": "den", "persistent": True}, key=own, status=201)
        path = f"/api/lobbies/{lobby['lobby_id']}/bots"
        async with (
            providing(api.server, name="Private", credential=own),
            providing(api.server, name="Public", credential="a-token-for-tests-only"),
        ):
            bot = await api.do(
                "POST", f"{path}?wait_seconds=15", {"provider": "Private"}, key=own, status=202
            )
            assert bot["state"] == "active", bot
            await api.refused("POST", path, {}, code=ProblemCode.COMPANY_LIMIT, key=own)
            for method, foreign in [
                ("GET", path),
                ("POST", path),
                ("GET", f"/api/bots/{bot['bot_id']}"),
                ("DELETE", f"/api/bots/{bot['bot_id']}"),
            ]:
                body = {} if method == "POST" else None
                await api.refused(method, foreign, body, code=ProblemCode.NOT_FOUND, key=other)
            mine = {each["name"]: each for each in (await api.get("/api/providers", key=own))["providers"]}
            assert set(mine) == {"Private", "Public"}
            assert mine["Private"]["figures"]["accepted"] == 1
            assert mine["Public"]["figures"] is None
            theirs = (await api.get("/api/providers", key=other))["providers"]
            assert [each["name"] for each in theirs] == ["Public"]
            drain = "/api/providers/{}/drain"
            private, public = mine["Private"]["provider_id"], mine["Public"]["provider_id"]
            await api.refused("POST", drain.format(private), code=ProblemCode.NOT_FOUND, key=other)
            await api.refused("POST", drain.format(public), code=ProblemCode.FORBIDDEN, key=other)
            assert (await api.do("POST", drain.format(private), key=own))["state"] == "draining"
