"""Bots' WebSockets on the loopback address: opened, tried again, refused, and streams on them from start to end."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random

import numpy as np
import pytest
import trio
from bot_server import Bot, answer_http, bot_server, hang_up, say_nonsense, say_nothing
from certificates import self_signed
from phone_parts import PATIENCE_SECONDS, FakeLine, FakeLobby, tone

from signaling.outbound.retry import RetryPolicy
from signaling.telephony.bot_dialer import BotDialer, BotUnreachableError
from signaling.telephony.bot_socket import BotSocketLimits
from signaling.telephony.g711 import decode_mulaw, encode_mulaw
from signaling.telephony.line import LineRefusedError
from signaling.telephony.mirror import MirrorEnd, attach_bot, run_mirror
from signaling.telephony.signature import is_signed

QUICK = RetryPolicy(attempts=3, base_seconds=0.01, cap_seconds=0.02, deadline_seconds=PATIENCE_SECONDS)
IMPATIENT = BotSocketLimits(connect_seconds=0.3, close_seconds=0.2, send_seconds=0.3)


def dialer(**more: object) -> BotDialer:
    return BotDialer(**{"retries": QUICK, "random": Random(1)} | more)


class Running:
    """``run_mirror`` under way."""

    def __init__(self) -> None:
        self.line = FakeLine()
        self.end: MirrorEnd | None = None
        self.ended = trio.Event()
        self.hang_up = trio.Event()

    async def wait_end(self) -> MirrorEnd:
        with trio.fail_after(PATIENCE_SECONDS):
            await self.ended.wait()
        assert self.end is not None
        return self.end


@asynccontextmanager
async def mirroring(url: str, dialer: BotDialer, **more: object) -> AsyncIterator[Running]:
    running = Running()

    async def run() -> None:
        running.end = await run_mirror(
            url, running.line, {"a": "b"}, trusted=True, dialer=dialer, hang_up=running.hang_up, **more
        )
        running.ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        yield running
        nursery.cancel_scope.cancel()


async def test_a_bot_hears_answers_marks_and_clears() -> None:
    said, answer = tone(160), tone(16_000, hertz=880)

    async def behave(bot: Bot) -> None:
        await bot.wait_started()
        assert bot.start["customParameters"] == {"a": "b"}
        heard = await bot.hear_audio()
        while not heard.any():
            heard = await bot.hear_audio()
        assert np.array_equal(heard, decode_mulaw(encode_mulaw(said)))
        await bot.speak(answer[:8000])
        await bot.say("mark", mark={"name": "half"})
        assert (await bot.hear("mark"))["mark"] == {"name": "half"}
        await bot.speak(answer[8000:])
        await bot.say("mark", mark={"name": "whole"})
        await bot.say("clear")
        assert (await bot.hear("mark"))["mark"] == {"name": "whole"}
        await bot.hear("stop")

    async with bot_server(behave) as server, mirroring(server.url, dialer(), auth_token="t") as running:
        line = running.line
        line.say(said)
        await line.until(lambda: line.position == 8000)
        line.play(8000)
        await line.until(lambda: line.clears == 1)
        assert np.array_equal(line.heard(), decode_mulaw(encode_mulaw(answer)))
        line.end()
        assert await running.wait_end() == MirrorEnd("the lobby was closed", failed=False)
        await server.wait_ended()
        (bot,) = server.bots
        # What the bot asserted, it got to.
        assert bot.path == "/media"
        assert bot.headers["user-agent"].startswith("trio-relay/")
        assert is_signed("t", server.url, (), bot.headers["x-twilio-signature"])
        assert line.clears == 1


async def test_a_bot_behind_tls_is_reached_if_its_certificate_is_good(tmp_path) -> None:
    server_context, client_context = self_signed(tmp_path, "127.0.0.1")
    async with bot_server(ssl_context=server_context) as server:
        async with mirroring(server.url, dialer(ssl_context=client_context)) as running:
            running.line.say(tone(160))
            await running.line.until(lambda: running.line.position >= 160)
            running.hang_up.set()
            assert await running.wait_end() == MirrorEnd("it was told to go", failed=False)
        with pytest.raises(BotUnreachableError, match=r"(?i)certificate"):
            await attach_bot(server.url, FakeLobby()(**LINE), {}, trusted=True, dialer=dialer())


LINE = {"lobby": "x", "name": "Bot", "rate": 8000, "live": False, "metadata": {}}


async def attach(url: str, lobby: FakeLobby, dialer: BotDialer, *, trusted: bool = True) -> MirrorEnd:
    with trio.fail_after(PATIENCE_SECONDS):
        return await attach_bot(url, lobby(**LINE), {}, trusted=trusted, dialer=dialer)


@pytest.mark.parametrize(
    "door", [answer_http(503, "Retry-After: 0"), hang_up, say_nonsense, answer_http(429)]
)
async def test_what_may_pass_is_tried_again(door) -> None:
    async def goodbye(bot: Bot) -> None:
        await bot.wait_started()

    lobby = FakeLobby()
    async with bot_server(goodbye, door, door) as server:
        assert await attach(server.url, lobby, dialer()) == MirrorEnd(
            "the bot closed the connection (1000)", failed=False
        )
        assert server.connections == 3
        lobby = FakeLobby()
        server.doors.extend([door] * 3)
        with pytest.raises(BotUnreachableError, match="gave up after 3 attempts: http"):
            await attach(server.url, lobby, dialer())
    # A bot that is not reached is not seen in the lobby.
    assert lobby.opened == []


@pytest.mark.parametrize(
    ("door", "text"),
    [
        (answer_http(404), "answered 404 Not Found"),
        (answer_http(403), "answered 403 Forbidden"),
        (answer_http(302, "Location: http://169.254.169.254/"), "redirects are not followed"),
        (answer_http(200), "answered 200 OK"),
    ],
)
async def test_a_refusal_is_not_tried_again(door, text: str) -> None:
    async with bot_server(answer_http, door) as server:
        with pytest.raises(BotUnreachableError, match=text):
            await attach(server.url, FakeLobby(), dialer())
        assert server.connections == 1


async def test_an_endless_refusal_is_not_read_to_its_end() -> None:
    sent: list[int] = []

    async def refuse(stream: trio.abc.Stream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await stream.send_all(b"4000\r\n" + bytes(0x4000) + b"\r\n")
            sent.append(0x4000)

    async with bot_server(answer_http, refuse, refuse, refuse) as server:
        with pytest.raises(BotUnreachableError, match="broke the opening handshake off"):
            await attach(server.url, FakeLobby(), dialer())
        await server.wait_ended(3)
    # What the system's buffers hold, and no more.
    assert sum(sent) < 64 * 2**20


async def test_a_bot_that_says_nothing_is_given_up_in_time() -> None:
    once = RetryPolicy(attempts=1, deadline_seconds=PATIENCE_SECONDS)
    async with bot_server(answer_http, say_nothing) as server:
        with pytest.raises(BotUnreachableError, match=r"did not open a WebSocket within 0\.3 s"):
            await attach(server.url, FakeLobby(), dialer(retries=once, limits=IMPATIENT))


async def test_nobody_there_is_told_of() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    with pytest.raises(BotUnreachableError, match=f"gave up after 3 attempts: http://127.0.0.1:{port}"):
        await attach(f"ws://127.0.0.1:{port}/", FakeLobby(), dialer())


@pytest.mark.parametrize(
    "url",
    [
        "ws://127.0.0.1:1/",
        "ws://localhost/",
        "ws://169.254.169.254/latest",
        "wss://[::1]/",
        "ws://2130706433/",
        "ws://inner.example/",
    ],
)
async def test_who_is_not_the_operator_reaches_no_private_address(url: str) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return ("10.0.0.7",)

    with pytest.raises(BotUnreachableError, match="not an address of the public Internet"):
        await attach(url, FakeLobby(), dialer(resolve=resolve), trusted=False)


@pytest.mark.parametrize(
    "url", ["http://a.example/", "a.example", "ws://", "ws://u:p@a.example/", "ws://a:0/"]
)
async def test_what_is_no_url_of_a_bot_is_refused(url: str) -> None:
    with pytest.raises(BotUnreachableError):
        await attach(url, FakeLobby(), dialer())


async def test_a_lobby_that_takes_nobody_closes_the_bots_connection() -> None:
    lobby = FakeLobby()
    lobby.refusal = "the lobby is full"
    async with bot_server() as server:
        with pytest.raises(LineRefusedError, match="full"):
            await attach(server.url, lobby, dialer())
        await server.wait_ended()


async def test_a_bot_that_breaks_off_or_says_why_it_goes_is_told_of() -> None:
    async def crash(bot: Bot) -> None:
        await bot.wait_started()
        await trio.aclose_forcefully(bot.socket._stream)

    async def fail(bot: Bot) -> None:
        await bot.wait_started()
        await bot.socket.aclose(1011, "no model today")

    async with bot_server(crash) as server:
        assert await attach(server.url, FakeLobby(), dialer()) == MirrorEnd(
            "the connection broke", failed=True
        )
        server.behave = fail
        assert await attach(server.url, FakeLobby(), dialer()) == MirrorEnd(
            "the bot closed the connection (1011: no model today)", failed=True
        )
        assert server.connections == 2


async def test_a_bot_whose_messages_are_too_large_is_told_of() -> None:
    async def shout(bot: Bot) -> None:
        await bot.wait_started()
        await bot.speak(tone(100_000))
        await bot.hear("never")

    limits = BotSocketLimits(max_message_bytes=100_000)
    async with bot_server(shout) as server:
        end = await attach(server.url, FakeLobby(), dialer(limits=limits))
        assert end == MirrorEnd("a message was too large", failed=True)


async def test_a_bot_that_does_not_read_is_closed_and_harms_nobody() -> None:
    async def deaf(bot: Bot) -> None:
        await trio.sleep_forever()

    limits = BotSocketLimits(close_seconds=0.2, send_seconds=0.3)
    async with bot_server(deaf) as server, mirroring(server.url, dialer(limits=limits)) as running:
        # As fast as it is taken, until the system's buffers are full and a write waits.
        with trio.move_on_after(PATIENCE_SECONDS):
            while not running.ended.is_set():
                await running.line.say_all([tone(160)] * 100)
        end = await running.wait_end()
        assert end == MirrorEnd("too slow: a message was not taken in time", failed=True)


async def test_cancelling_closes_the_bots_connection() -> None:
    gone: list[int] = []

    async def listen(bot: Bot) -> None:
        try:
            await bot.hear("never")
        finally:
            gone.append(bot.socket.closed.code)

    async with bot_server(listen) as server:
        async with mirroring(server.url, dialer()) as running:
            running.line.say(tone(160))
            await server.wait_bot()
        await server.wait_ended()
    assert gone == [1000]
