"""The client library against the real service: connections that break, sessions that end, servers that restart."""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import trio
from cuttable_path import CuttablePath, open_cuttable_path

import voicebot
from signaling.messages import ChatPosted, Closing, ParticipantJoined, ParticipantLeft
from signaling.server import RunningServer, run_server
from signaling.settings import Settings

QUICK = voicebot.Backoff(initial_s=0.05, maximum_s=0.5, attempts=100)


@dataclass(frozen=True)
class Served:
    """A service that runs in this process."""

    port: int
    stop: trio.Event

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"


@asynccontextmanager
async def open_service(**settings: Any) -> AsyncIterator[Served]:
    """Run the service; it is stopped at the end, if it was not before."""
    stop = trio.Event()
    values = {"host": "127.0.0.1", "port": 0, "udp_port": 0, "workers": 1, "database": "memory:", **settings}

    async def serve(task_status: trio.TaskStatus[RunningServer]) -> None:
        await run_server(Settings(**values), stop=stop, task_status=task_status)

    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            running: RunningServer = await nursery.start(serve)
            yield Served(running.port, stop)
            stop.set()


@asynccontextmanager
async def open_service_and_path(**settings: Any) -> AsyncIterator[tuple[str, str, CuttablePath]]:
    """Yield the service's URL, its URL through a path that can be cut, and the path."""
    async with open_service(**settings) as served, open_cuttable_path("127.0.0.1", served.port) as path:
        yield served.url, f"ws://127.0.0.1:{path.port}/ws", path


async def take(connection: voicebot.Connection, wanted: type) -> Any:
    """Return the next event, which must be of that type."""
    event = await anext(connection.events())
    assert isinstance(event, wanted), event
    return event


async def test_broken_connection_is_resumed_and_nobody_notices() -> None:
    async with (
        open_service_and_path() as (url, cuttable_url, path),
        voicebot.connect(url, lobby="garden", name="Grace") as grace,
        voicebot.connect(cuttable_url, lobby="garden", name="Ada", reconnect=QUICK) as ada,
    ):
        await take(grace, ParticipantJoined)
        me, session = ada.participant_id, ada.session_id
        for number in range(3):
            path.refusing = True
            path.cut()
            lost = await take(ada, voicebot.Disconnected)
            assert lost.will_reconnect
            await grace.chat(f"line {number}")
            await take(grace, ChatPosted)
            path.refusing = False
            back = await take(ada, voicebot.Reconnected)
            assert (back.resumed, back.replayed) == (True, True)
            assert (await take(ada, ChatPosted)).message.text == f"line {number}"
            assert (ada.participant_id, ada.session_id) == (me, session)
            assert (await ada.chat("I was away")).seq == 2 * number + 2
            await take(ada, ChatPosted)
            await take(grace, ChatPosted)
        assert [p.name for p in grace.lobby.participants.values()] == ["Grace", "Ada"]
        assert path.connections == 4


async def test_expired_session_joins_its_lobby_anew() -> None:
    async with (
        open_service_and_path(resume_seconds=0.2) as (url, cuttable_url, path),
        voicebot.connect(url, lobby="garden", name="Grace") as grace,
        voicebot.connect(cuttable_url, lobby="garden", name="Ada", reconnect=QUICK, is_bot=True) as ada,
    ):
        await take(grace, ParticipantJoined)
        await ada.set_name("Ada L.")
        former = ada.participant_id
        path.refusing = True
        path.cut()
        while not isinstance(event := await anext(grace.events()), ParticipantLeft):
            pass
        assert (event.participant_id, event.reason) == (former, "disconnected")
        path.refusing = False
        joined = (await take(grace, ParticipantJoined)).participant
        assert (joined.name, joined.is_bot) == ("Ada L.", True)
        while not isinstance(back := await anext(ada.events()), voicebot.Reconnected):
            pass
        assert (back.resumed, back.media_state) == (False, "new")
        assert ada.participant_id == joined.participant_id != former


async def test_goodbye_ends_the_session_at_once() -> None:
    async with (
        open_service() as served,
        voicebot.connect(served.url, lobby="garden", name="Grace") as grace,
    ):
        async with voicebot.connect(served.url, lobby="garden", name="Ada"):
            await take(grace, ParticipantJoined)
        with trio.fail_after(2):
            await take(grace, ParticipantLeft)
        with trio.move_on_after(0.2):
            async with voicebot.connect(served.url, lobby="garden", name="Ada"):
                await trio.sleep_forever()
        with trio.fail_after(2):
            await take(grace, ParticipantJoined)
            await take(grace, ParticipantLeft)


async def test_restarted_server_gets_its_people_back() -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(open_service())
        path = await stack.enter_async_context(open_cuttable_path("127.0.0.1", first.port))
        cuttable_url = f"ws://127.0.0.1:{path.port}/ws"
        ada = await stack.enter_async_context(
            voicebot.connect(cuttable_url, lobby="garden", name="Ada", reconnect=QUICK)
        )
        first.stop.set()
        while not isinstance(lost := await anext(ada.events()), voicebot.Disconnected):
            pass
        assert (lost.code, lost.will_reconnect) == (1001, True)
        second = await stack.enter_async_context(open_service())
        path.target = ("127.0.0.1", second.port)
        back = await take(ada, voicebot.Reconnected)
        assert not back.resumed
        async with voicebot.connect(second.url, lobby="garden", name="Grace") as grace:
            assert [participant.name for participant in grace.lobby.others] == ["Ada"]


async def test_stopping_server_says_why() -> None:
    async with (
        open_service() as served,
        voicebot.connect(served.url, lobby="garden", name="Ada", reconnect=False) as ada,
    ):
        served.stop.set()
        reason = (await take(ada, Closing)).reason
        assert await take(ada, voicebot.Disconnected) == voicebot.Disconnected(
            reason, 1001, will_reconnect=False
        )
        with pytest.raises(voicebot.ConnectionLostError, match=re.escape(reason)):
            await ada.ping()
