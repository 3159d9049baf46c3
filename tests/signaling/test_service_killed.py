"""SIGKILL at any moment: whatever was acknowledged is there when the server runs again."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
import trio
from server_program import program
from trio_websocket import ConnectionClosed, HandshakeError
from wire_client import connected

from signaling.messages import ChatHistory, ChatPage, ChatSend, ChatSent

KILLS = 4
#: A kill comes at any time within this after the writers have begun.
UP_TO_SECONDS = 1.5
LOBBY = "the hall"
TOKEN = "an-admin-token-for-tests"
#: What a client sees of a server that was killed.
CUT = (httpx.TransportError, ConnectionClosed, HandshakeError, OSError, trio.BrokenResourceError)


@dataclass
class Acknowledged:
    """What the server has said that it keeps. Names are numbered, so that none is used twice."""

    chat: dict[int, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    companies: dict[str, str] = field(default_factory=dict)
    lobbies: dict[str, str] = field(default_factory=dict)
    made: int = 0

    def next_name(self, kind: str) -> str:
        self.made += 1
        return f"{kind} {self.made}"

    def counts(self) -> tuple[int, ...]:
        return len(self.chat), len(self.names), len(self.companies), len(self.lobbies)


@asynccontextmanager
async def api(url: str) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=20) as client:
        yield client


async def write_chat(url: str, kept: Acknowledged) -> None:
    async with connected(url) as client:
        await client.join(LOBBY, kept.next_name("Ada"))
        while True:
            text = kept.next_name("line")
            sent = await client.expect(ChatSend(text=text), ChatSent)
            kept.chat[sent.seq] = text
            # As many a second as one may say.
            await trio.sleep(0.1)


async def make_names(http: httpx.AsyncClient, kept: Acknowledged) -> None:
    while True:
        name = kept.next_name("Grace")
        answer = await http.put("/api/admin/names", json={"name": name, "password": "a good password"})
        assert answer.is_success, answer.text
        kept.names.add(name)


async def make_companies(http: httpx.AsyncClient, kept: Acknowledged) -> None:
    while True:
        answer = await http.post("/api/companies", json={"name": kept.next_name("company")})
        assert answer.is_success, answer.text
        made = answer.json()
        kept.companies[made["company_id"]] = made["api_key"]


async def make_lobbies(http: httpx.AsyncClient, kept: Acknowledged) -> None:
    while True:
        name = kept.next_name("lobby")
        answer = await http.post("/api/lobbies", json={"name": name, "persistent": True})
        assert answer.is_success, answer.text
        kept.lobbies[answer.json()["lobby_id"]] = name


async def until_cut(write: Callable[[], Awaitable[None]]) -> None:
    with suppress(*CUT):
        await write()


async def read_chat(url: str) -> dict[int, str]:
    lines: dict[int, str] = {}
    async with connected(url) as client:
        await client.join(LOBBY, "Reader")
        before = None
        while True:
            page = await client.expect(ChatHistory(before=before, limit=100), ChatPage)
            lines |= {line.seq: line.text for line in page.messages}
            if not page.more:
                return lines
            before = page.messages[0].seq


async def listed(http: httpx.AsyncClient, path: str, key: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    after = ""
    while True:
        page = (await http.get(path, params={"after": after, "limit": 100})).json()
        found += page[key]
        if page.get("next") is None:
            return found
        after = page["next"]


async def assert_all_kept(url: str, kept: Acknowledged) -> None:
    async with api(url) as http:
        lobbies = {one["lobby_id"]: one["name"] for one in await listed(http, "/api/lobbies", "lobbies")}
        assert kept.lobbies.items() <= lobbies.items()
        names = await listed(http, "/api/admin/names", "names")
        assert kept.names <= {one["name"] for one in names}
        companies = {one["company_id"] for one in await listed(http, "/api/companies", "companies")}
        assert kept.companies.keys() <= companies
        for company_id, key in kept.companies.items():
            # The keys are as good as before.
            seen = await http.get(f"/api/companies/{company_id}", headers={"Authorization": f"Bearer {key}"})
            assert seen.status_code == 200, seen.text
    assert kept.chat.items() <= (await read_chat(url)).items()


async def test_nothing_acknowledged_is_lost_however_often_the_server_is_killed(tmp_path: Path) -> None:
    kept = Acknowledged()
    chance = random.Random(7)
    flags = ("--api-requests-per-minute", "1000000", "--log-level", "warning")
    serve = partial(program, tmp_path, *flags, RELAY_ADMIN_TOKEN=TOKEN)
    async with serve() as server, api(server.url) as http:
        answer = await http.post("/api/lobbies", json={"name": LOBBY, "persistent": True})
        assert answer.is_success, answer.text
    grown = [kept.counts()]
    for _ in range(KILLS):
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(serve())
            await assert_all_kept(server.url, kept)
            http = await stack.enter_async_context(api(server.url))
            async with trio.open_nursery() as nursery:
                for write in (
                    partial(write_chat, server.url, kept),
                    partial(make_names, http, kept),
                    partial(make_companies, http, kept),
                    partial(make_lobbies, http, kept),
                ):
                    nursery.start_soon(until_cut, write)
                await trio.sleep(chance.uniform(0.2, UP_TO_SECONDS))
                server.process.kill()
            assert "Traceback" not in server.log.read_text()
        grown.append(kept.counts())
    async with serve() as server:
        await assert_all_kept(server.url, kept)
    # Every kind was written to before most of the kills.
    assert all(grown[-1]), grown
    assert len(set(grown)) > KILLS // 2, grown
