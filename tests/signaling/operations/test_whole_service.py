"""The parts put together: what is kept comes back, what drains takes nobody new, traces tell what happened."""

from pathlib import Path

import trio
from otlp_collector import attributes_of, collector
from running_server import running_server
from wire_client import connected, in_lobby

from signaling.messages import ChatSend, ChatSent, CloseCode, Join, Ping, Pong, Resumed

DRAINING = "draining: moving to another machine"


async def test_a_server_that_starts_again_gives_everything_back(tmp_path: Path) -> None:
    settings = {"database": None, "data_dir": tmp_path / "data"}
    async with running_server(**settings) as first:
        access = first.service.access
        await access.names.protect("Ada", "a good password")
        company, key = await access.companies.create("Example Ltd.")
        async with in_lobby(first.url, "garden", "Grace") as grace:
            sent = await grace.expect(ChatSend(text="before"), ChatSent)
            await grace.drop()
        seq = first.service.bus.seq
    async with running_server(**settings) as second:
        access = second.service.access
        assert len(access.names) == 1
        assert access.companies.authenticate(key) == company
        assert second.service.sessions.restored == second.service.lobbies.restored == 1
        assert second.service.bus.seq > seq
        async with connected(second.url) as back:
            resumed = await back.resume_after(grace)
            assert isinstance(resumed, Resumed)
            assert resumed.media_state in {"new", "closed"}
            assert resumed.lobby is not None
            assert [(line.seq, line.text) for line in resumed.lobby.chat] == [(sent.seq, "before")]
            again = await back.expect(ChatSend(text="after"), ChatSent)
            assert again.seq == sent.seq + 1


async def test_a_server_that_drains_takes_nobody_new_and_keeps_who_is_there() -> None:
    async with running_server() as server, in_lobby(server.url, name="Ada") as ada:
        async with in_lobby(server.url, name="Grace") as grace:
            await grace.drop()
        assert server.service.drain.begin("moving to another machine")
        async with connected(server.url) as newcomer:
            # Whether it lives may be asked by anybody.
            await newcomer.expect(Ping(), Pong)
            await newcomer.send_text('{"type": "join", "id": 9, "data": {"lobby": "garden", "name": "New"}}')
            code, reason, _ = await newcomer.closed()
            assert (code, reason) == (CloseCode.TRY_LATER, DRAINING)
        async with connected(server.url) as back:
            await back.resume_after(grace)
            await back.expect(ChatSend(text="still here"), ChatSent)
        await ada.expect(ChatSend(text="so am I"), ChatSent)
        assert server.service.drain.end()
        async with connected(server.url) as newcomer:
            await newcomer.join(name="New")


async def test_who_waited_at_the_door_is_let_in_when_draining_ends() -> None:
    async with running_server() as server:
        server.service.drain.begin()
        async with connected(server.url) as early:
            server.service.drain.end()
            await early.join(name="Early")


async def test_traces_tell_of_connections_requests_and_batches(tmp_path: Path) -> None:
    with collector() as collecting, trio.fail_after(60):
        async with (
            running_server(database=None, data_dir=tmp_path / "data", otlp_endpoint=collecting.url) as server,
            in_lobby(server.url) as client,
        ):
            await client.expect(ChatSend(text="hello"), ChatSent)
        (connection,) = [attributes_of(span) for span in collecting.spans if span.name == "connection"]
        requests = [attributes_of(span) for span in collecting.spans if span.name == "request"]
        assert [one["relay.type"] for one in requests] == [Join.type, ChatSend.type]
        assert {one["relay.connection"] for one in requests} == {connection["relay.connection"]}
        batches = [attributes_of(span) for span in collecting.spans if span.name == "store batch"]
        assert sum(one["relay.calls"] for one in batches) >= 3
