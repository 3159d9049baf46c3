"""Providers at a real server's door: what they are answered, and who gets in."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
import numpy as np
import pytest
import trio
from http_requests import fetch, send, upgrade
from phone_client import (
    AUTH_TOKEN,
    PUBLIC_URL,
    ask_twiml,
    connect_of,
    phone,
    signed_socket,
)
from phone_parts import PATIENCE_SECONDS, FakeLobby, tone
from running_server import running_server
from trio_websocket import ConnectionClosed

from signaling.messages import CloseCode
from signaling.server import RunningServer
from signaling.telephony.g711 import decode_mulaw, encode_mulaw
from signaling.telephony.signature import signature_of

PASSWORD = "correct horse"
BASIC = "Basic " + base64.b64encode(f"exotel:{PASSWORD}".encode()).decode()
EXOTEL_START = {
    "stream_sid": "s1",
    "call_sid": "c1",
    "account_sid": "a1",
    "from": "+919876543210",
    "to": "08047491899",
    "custom_parameters": {},
    "media_format": {"encoding": "base64", "sample_rate": "8000", "bit_rate": "128kbps"},
}


@asynccontextmanager
async def serving(**settings: object) -> AsyncIterator[tuple[RunningServer, FakeLobby]]:
    given = {
        "twilio_auth_token": AUTH_TOKEN,
        "telephony_public_url": PUBLIC_URL,
        "exotel_password": PASSWORD,
        "telephony_numbers": [{"number": "+18005551212", "lobby": "support"}],
    } | settings
    lobby = FakeLobby()
    async with running_server(open_line=lobby, **given) as server:
        yield server, lobby


async def status_of(server: RunningServer, path: str, *headers: str) -> int:
    """Return what an upgrade is answered."""
    return int((await send(server.url, upgrade(path, *headers))).split()[1])


async def test_a_twilio_call_comes_in_by_its_webhook_and_its_ticket() -> None:
    async with serving() as (server, lobby):
        told = connect_of(await ask_twiml(server))
        assert told.url == "wss://relay.example.org/sub/telephony/twilio"
        assert {**told.parameters, "ticket": None} == {
            "lobby": "support",
            "name": "Caller 5309",
            "from": "+14158675309",
            "to": "+18005551212",
            "ticket": None,
        }
        async with phone(server) as caller:
            await caller.start_twilio(told.parameters)
            line = await lobby.line()
            assert lobby.opened[0]["lobby"] == "support"
            assert lobby.opened[0]["name"] == "Caller 5309"
            said, answer = tone(160), tone(160, hertz=880)
            await caller.speak(said)
            await line.until(lambda: line.position == 160)
            assert np.array_equal(line.heard(), decode_mulaw(encode_mulaw(said)))
            line.say(answer)
            heard = await caller.hear("media")
            assert base64.b64decode(heard["media"]["payload"]) == encode_mulaw(answer)
            assert (await caller.hear("mark"))["mark"]["name"] == "relay-1"
            await caller.say(event="dtmf", dtmf={"track": "inbound_track", "digit": "7"})
            await line.until(lambda: line.pressed == ["7"])
            await caller.say(event="stop", stop={"callSid": "CA1"})
            assert await caller.closed() == (CloseCode.NORMAL, "")
        await lobby.wait_left()
        # The same ticket is for no other call, and for no other lobby.
        for parameters, call_id in ((told.parameters, "CA2"), ({**told.parameters, "lobby": "board"}, "CA1")):
            async with phone(server) as other:
                await other.start_twilio(parameters, call_id)
                code, reason = await other.closed()
                assert code == CloseCode.POLICY
                assert "no valid ticket" in reason
        assert len(lobby.opened) == 1


async def test_a_signed_stream_needs_no_ticket_and_a_wrong_signature_does_not_get_in() -> None:
    async with serving() as (server, lobby):
        async with phone(server, X_Twilio_Signature=signed_socket()) as caller:
            await caller.start_twilio({"lobby": "board", "name": "Ada"})
            await lobby.line()
            assert (lobby.opened[0]["lobby"], lobby.opened[0]["name"]) == ("board", "Ada")
            (await lobby.line()).end()
            assert (await caller.closed())[0] == CloseCode.NORMAL

        wrong = signature_of(AUTH_TOKEN, "wss://elsewhere.example.org/telephony/twilio")
        for signature in (wrong, "x", ""):
            assert await status_of(server, "/telephony/twilio", f"X-Twilio-Signature: {signature}") == 403
        async with phone(server) as unsigned:
            await unsigned.start_twilio({"lobby": "board"})
            assert (await unsigned.closed())[0] == CloseCode.POLICY


async def test_only_twilio_is_answered_by_the_webhook() -> None:
    async with serving() as (server, _):
        assert (await ask_twiml(server, signature="")).status_code == 403
        assert (await ask_twiml(server, signature=signed_socket())).status_code == 403
        refused = await ask_twiml(server, public_url="https://elsewhere.example.org")
        assert refused.status_code == 403
        assert "X-Twilio-Signature does not fit" in refused.json()["detail"]
        assert (
            connect_of(await ask_twiml(server, query="lobby=board&name=Ada")).parameters["lobby"] == "board"
        )
        by_get = connect_of(await ask_twiml(server, query="lobby=board", method="GET"))
        assert by_get.parameters["lobby"] == "board"
        no_call = await ask_twiml(server, {"From": "+1"})
        assert no_call.status_code == 400
        assert "CallSid is missing" in no_call.json()["detail"]
        assert (await ask_twiml(server, query="name=a%0Ab")).status_code == 400


async def test_without_a_public_url_it_is_that_of_the_request() -> None:
    async with serving(telephony_public_url=None) as (server, _):
        host = server.url.removeprefix("http://")
        told = connect_of(await ask_twiml(server, public_url=f"https://{host}"))
        assert told.url == f"wss://{host}/telephony/twilio"
        strange = await fetch(server.url, "/telephony/twilio?CallSid=x", "Host: a b", "X-Twilio-Signature: x")
        assert strange.status in {400, 403}
        for name in ("x:99999", "x:0", "[::1", "%"):
            request = f"GET /telephony/twilio HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
            assert (await send(server.url, request)).split()[1] in {b"400", b"403"}


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("application/x-www-form-urlencoded", b"x=" + b"a" * 70_000, 413),
        ("application/x-www-form-urlencoded", b"&".join(b"a=1" for _ in range(300)), 400),
        ("application/x-www-form-urlencoded", b"a=\xff", 400),
    ],
    ids=["json", "large", "many fields", "not UTF-8"],
)
async def test_forms_that_are_none_are_refused(content_type: str, body: bytes, status: int) -> None:
    async with serving() as (server, _), httpx.AsyncClient() as client:
        answer = await client.post(
            f"{server.url}/telephony/twilio",
            content=body,
            headers={"Content-Type": content_type, "X-Twilio-Signature": "x"},
            timeout=PATIENCE_SECONDS,
        )
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"


async def test_an_exotel_call_comes_in_with_its_password() -> None:
    address = "/telephony/exotel?sample-rate=8000"
    async with serving() as (server, lobby):
        async with phone(server, address, Authorization=BASIC) as caller:
            await caller.say(event="connected")
            await caller.say(event="start", sequence_number=1, stream_sid="s1", start=EXOTEL_START)
            line = await lobby.line()
            assert lobby.opened[0] == {
                "lobby": "phone",
                "name": "Caller 3210",
                "rate": 8000,
                "live": True,
                "metadata": {
                    "provider": "exotel",
                    "call_id": "c1",
                    "from": "+919876543210",
                    "to": "08047491899",
                },
            }
            said = tone(800)
            await caller.speak_linear(said)
            await line.until(lambda: line.position == 800)
            assert np.array_equal(line.heard(), said)
            for at in range(0, 1600, 160):
                line.say(tone(1600)[at : at + 160])
            payload = base64.b64decode((await caller.hear("media"))["media"]["payload"])
            assert np.array_equal(np.frombuffer(payload, "<i2"), tone(1600))
            await caller.say(event="stop", stop={"reason": "callended"})
            assert (await caller.closed())[0] == CloseCode.NORMAL
        await lobby.wait_left()


async def test_exotel_may_ask_where_its_stream_is() -> None:
    async with serving() as (server, lobby):
        path = "/telephony/exotel?lobby=board&CallSid=c1&CallFrom=1"
        assert (await fetch(server.url, path)).status == 401
        wrong = base64.b64encode(b"exotel:wrong").decode()
        for header in (f"Basic {wrong}", "Basic %", "Bearer x", BASIC[:-4]):
            assert (await fetch(server.url, path, f"Authorization: {header}")).status == 401
        answer = await fetch(server.url, path, f"Authorization: {BASIC}")
        assert answer.status == 200
        url = str(answer.json["url"])
        assert url.startswith("wss://relay.example.org/sub/telephony/exotel?lobby=board&ticket=")
        assert len(url.partition("?")[2]) <= 256
        local = url.removeprefix("wss://relay.example.org/sub")
        async with phone(server, local) as caller:
            await caller.say(event="start", stream_sid="s1", start=EXOTEL_START)
            await lobby.line()
            assert lobby.opened[0]["lobby"] == "board"

        assert await status_of(server, "/telephony/exotel") == 401
        assert await status_of(server, "/telephony/exotel?ticket=1.x") == 403
        assert await status_of(server, local.replace("board", "other")) == 403


async def test_telephony_that_is_not_set_up_is_refused_and_says_what_is_missing() -> None:
    async with serving(twilio_auth_token=None, exotel_password=None) as (server, _):
        answer = await ask_twiml(server)
        assert (answer.status_code, "twilio_auth_token" in answer.text) == (403, True)
        refused = await fetch(server.url, "/telephony/exotel", f"Authorization: {BASIC}")
        assert (refused.status, b"exotel_password" in refused.body) == (403, True)
        for path in ("/telephony/twilio", "/telephony/exotel", "/telephony/exotel?ticket=1.x"):
            assert await status_of(server, path, f"Authorization: {BASIC}") == 403


async def test_a_server_that_drains_takes_no_calls() -> None:
    async with serving() as (server, _):
        told = connect_of(await ask_twiml(server))
        server.service.drain.begin("maintenance")
        assert (await ask_twiml(server)).status_code == 503
        assert (await ask_twiml(server, signature="x")).status_code == 403
        async with phone(server) as caller:
            assert (await caller.closed())[0] == CloseCode.TRY_LATER
        assert told.parameters


async def test_hostile_streams_are_closed_with_the_reason_and_harm_nobody_else() -> None:
    async with serving() as (server, lobby):
        signature = signed_socket()
        async with phone(server, X_Twilio_Signature=signature) as good:
            await good.start_twilio({"lobby": "board"})
            line = await lobby.line()
            async with phone(server, X_Twilio_Signature=signature) as large:
                await large.start_twilio({})
                await large.socket.send_message('"' + "x" * 40_000 + '"')
                assert (await large.closed())[0] == CloseCode.TOO_LARGE
            async with phone(server, X_Twilio_Signature=signature) as nonsense:
                await nonsense.start_twilio({})
                with suppress(ConnectionClosed):
                    for _ in range(30):
                        await nonsense.socket.send_message(b"\x00\x01")
                code, reason = await nonsense.closed()
                assert (code, "binary messages" in reason) == (CloseCode.POLICY, True)
            async with phone(server, X_Twilio_Signature=signature) as wideband:
                await wideband.say(
                    event="start",
                    start={
                        "callSid": "CA1",
                        "streamSid": "MZ1",
                        "mediaFormat": {"encoding": "audio/l16", "sampleRate": "16000"},
                    },
                )
                code, reason = await wideband.closed()
                assert (code, "must be audio/x-mulaw" in reason) == (CloseCode.POLICY, True)
            # Those that got as far as a line have given it back; the good one is still heard.
            await lobby.wait_left(2)
            await good.speak(tone(160))
            await line.until(lambda: line.position == 160)
            assert not line.closed
        assert server.service.counters.failures.total() == 0


async def test_a_bug_in_the_mixer_ends_one_call_and_is_counted() -> None:
    async with serving() as (server, lobby), phone(server, X_Twilio_Signature=signed_socket()) as caller:
        await caller.start_twilio({})
        line = await lobby.line()
        line.queue = None
        await caller.speak(tone(160))
        assert (await caller.closed())[0] == CloseCode.INTERNAL
        await lobby.wait_left()
        assert server.service.counters.failures["twilio"] == 1


async def test_calls_end_with_the_server() -> None:
    goodbye: list[tuple[int, str]] = []

    async def call(server: RunningServer) -> None:
        async with phone(server, X_Twilio_Signature=signed_socket()) as caller:
            await caller.start_twilio({})
            goodbye.append(await caller.closed())

    async with trio.open_nursery() as nursery, serving() as (server, lobby):
        nursery.start_soon(call, server)
        await lobby.line()
    assert [code for code, _ in goodbye] == [CloseCode.GOING_AWAY]
    assert lobby.left == 1
