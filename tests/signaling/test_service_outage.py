"""The database stops to answer while people talk: they go on, are told what may not be kept, and nothing is lost."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import trio
from http_requests import fetch
from running_server import running_server
from wire_client import connected, in_lobby

from signaling.messages import ChatHistory, ChatPage, ChatPosted, ChatSend, ChatSent, ErrorCode, Ping, Pong


@contextmanager
def seized(database: Path) -> Iterator[None]:
    """Hold the database as a program would that never ends its transaction."""
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")


async def readiness(url: str) -> tuple[int, str, str]:
    answer = await fetch(url, "/api/system/ready")
    content = json.loads(answer.body)
    return answer.status, content["status"], content["checks"]["storage"]["status"]


async def wait_readiness(url: str, expected: tuple[int, str, str]) -> None:
    """Wait for it: a machine that holds the server up for a moment makes it degraded, too."""
    with trio.fail_after(20):
        while await readiness(url) != expected:  # noqa: ASYNC110 - asked over HTTP
            await trio.sleep(0.05)


async def test_people_go_on_while_the_database_does_not_and_nothing_is_lost(tmp_path: Path) -> None:
    settings = {"database": None, "data_dir": tmp_path}
    async with (
        running_server(**settings) as server,
        in_lobby(server.url, name="Ada") as ada,
        in_lobby(server.url, name="Grace") as grace,
    ):
        await ada.expect(ChatSend(text="before"), ChatSent)
        await wait_readiness(server.url, (200, "ready", "ready"))
        with seized(tmp_path / "relay.sqlite3"):
            reply = await ada.refused(ChatSend(text="amid"))
            assert reply.code == ErrorCode.STORAGE_UNAVAILABLE
            assert "may not be kept" in reply.error
            # The others have heard it, and who asks for nothing that is kept notices nothing.
            assert [(await grace.until(ChatPosted)).message.text for _ in range(2)] == ["before", "amid"]
            await grace.expect(Ping(), Pong)
            async with connected(server.url) as late:
                await late.join("elsewhere", "Late")
            await wait_readiness(server.url, (200, "degraded", "degraded"))
        await wait_readiness(server.url, (200, "ready", "ready"))
        await ada.expect(ChatSend(text="after"), ChatSent)
        page = await ada.expect(ChatHistory(), ChatPage)
        assert [line.text for line in page.messages] == ["before", "amid", "after"]
        await ada.drop()
    async with running_server(**settings) as again, connected(again.url) as back:
        resumed = await back.resume_after(ada)
        assert resumed.lobby is not None
        assert [line.text for line in resumed.lobby.chat] == ["before", "amid", "after"]
