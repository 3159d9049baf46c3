"""`relay bot`: what it refuses, that it waits for its relay, and that its bots do what they are for when they run by themselves."""

import signal
import sys
import wave
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import trio
import trio.testing
from scripted_server import ScriptedServer, open_scripted_server, snapshot
from typer.testing import CliRunner

import voicebot
from signaling.bots.config_schema import ConfigSchema
from signaling.messages import CloseCode, decode_client
from signaling.messages.bots import PROVIDER_MESSAGES, Register, Registered
from voicebot.announcer import Announcer
from voicebot.attendance import attend
from voicebot.command import app
from voicebot.echo_bot import EchoBot
from voicebot.recorder import Recorder
from voicebot.testing import FakeLobby, tone

STEADY = voicebot.Backoff(initial_s=1, factor=2, maximum_s=16, jitter=0, attempts=6)
RELAY = "ws://relay.example"
#: A port that nothing listens at: it is privileged, and of a service of the past.
NOBODY = "ws://127.0.0.1:9"


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["run", "nothing"], "expected module:Class"),
        (["run", "voicebot:ChatBot", "--config", "{"], "--config is no JSON"),
        (["run", "voicebot:ChatBot", "--config", "[]"], "--config is to be a JSON object"),
        (["run", "voicebot:ChatBot", "--config", '{"a": 1}'], "--config goes with --lobby"),
        (["chat", "--url", "gopher://example"], "expected a URL like"),
        (["chat", "--lobby", "garden", "--url", "gopher://example"], "expected a URL like"),
        (["chat", "--lobby", "garden", "--name", "\x1b"], "--name: "),
        (["chat", "--lobby", "x" * 65], "--lobby: "),
        (["echo", "--delay-ms", "100"], "--delay-ms goes with --lobby"),
        (["announce", "a.wav"], "a file or --text goes with --lobby"),
        (["announce", "--lobby", "garden"], "expected a file, or --text, and not both"),
        (
            ["announce", "a.wav", "--text", "a", "--lobby", "garden"],
            "expected a file, or --text, and not both",
        ),
        (["announce", "no-such.wav", "--lobby", "garden"], "there is no file no-such.wav"),
        (["record", "--format", "mp3"], "--format is wav or opus, not 'mp3'"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_reason(arguments: list[str], fault: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("bot: ")
    assert fault in result.stderr


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["chat", "--url", NOBODY, "--no-wait"], "cannot connect to 127.0.0.1:9"),
        (["chat", "--url", NOBODY, "--no-wait", "--lobby", "garden"], "cannot connect to 127.0.0.1:9"),
        (["record", "--lobby", "garden", "--no-mixed", "--no-participants"], "there is nothing to record"),
    ],
)
def test_what_fails_is_told_in_one_line(arguments: list[str], fault: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert fault in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("bot", [voicebot.ChatBot, EchoBot, Announcer, Recorder])
def test_relay_takes_what_the_bots_say_of_themselves(bot: type[voicebot.Bot]) -> None:
    ConfigSchema(bot.config_schema)
    Register(
        name=bot.title,
        description=bot.description,
        capabilities=bot.capabilities,
        capacity=1,
        config_schema=dict(bot.config_schema),
    )


class Brief(voicebot.Bot):
    title = "Brief"

    async def run(self, connection: voicebot.Connection) -> None:
        assert connection.lobby.lobby == "garden"


async def test_attending_bot_waits_for_a_relay_that_is_late(autojump_clock: trio.testing.MockClock) -> None:
    said: list[str] = []
    async with open_scripted_server() as server, trio.open_nursery() as nursery:
        server.refuses = True

        async def serve() -> None:
            await trio.sleep(10)
            server.refuses = False
            async with server.visit() as visit:
                joined = (await visit.admit(snapshot())).message
                assert (joined.name, joined.is_bot, joined.token) == ("Bob", True, "secret")
                await visit.wait_closed()

        nursery.start_soon(serve)
        await attend(
            RELAY,
            Brief,
            lobby="garden",
            name="Bob",
            token="secret",
            backoff=STEADY,
            patient=True,
            log=said.append,
            open_stream=server.open_stream,
        )
        assert server.attempts == [0, 1, 3, 7, 15]
    assert said[0] == "waiting for the relay: cannot connect to relay.example: refused by the script"
    assert said[-1] == "'Bob' is in the lobby 'garden'"


@pytest.mark.parametrize("patient", [True, False])
async def test_attending_bot_gives_up_when_told_to(
    autojump_clock: trio.testing.MockClock, patient: bool
) -> None:
    async with open_scripted_server() as server:
        server.refuses = True
        with pytest.raises(voicebot.ConnectError, match="refused"):
            await attend(
                RELAY,
                Brief,
                lobby="garden",
                name="Bob",
                backoff=STEADY,
                patient=patient,
                open_stream=server.open_stream,
            )
        assert len(server.attempts) == (7 if patient else 1)


def provider(server: ScriptedServer, **options) -> voicebot.Provider:
    made = voicebot.Provider(RELAY, Brief, backoff=STEADY, **options)
    made._open_stream = server.open_stream
    return made


async def register(server: ScriptedServer) -> None:
    async with server.visit() as visit:
        registered = Registered(
            provider_id="v-1", resume_token="t", resumed=False, heartbeat_seconds=2, away_seconds=5
        )
        frame = decode_client(await visit.websocket.get_message(), PROVIDER_MESSAGES)
        assert isinstance(frame.message, Register)
        await visit.send(registered, frame.id)
        await visit.websocket.aclose(CloseCode.SESSION_ENDED, "enough")


async def test_patient_provider_waits_for_a_relay_that_is_late(
    autojump_clock: trio.testing.MockClock,
) -> None:
    said: list[str] = []
    async with open_scripted_server() as server, trio.open_nursery() as nursery:
        server.refuses = True

        async def serve() -> None:
            await trio.sleep(10)
            server.refuses = False
            await register(server)

        nursery.start_soon(serve)
        with pytest.raises(voicebot.ConnectionLostError, match="enough"):
            await provider(server, patient=True, log=said.append).run()
        assert server.attempts == [0, 1, 3, 7, 15]
    assert said[0] == "waiting for the relay: cannot connect to relay.example: refused by the script"
    assert said[-1] == "registered as 'Brief' (v-1)"


async def test_impatient_provider_tries_once(autojump_clock: trio.testing.MockClock) -> None:
    async with open_scripted_server() as server:
        server.refuses = True
        with pytest.raises(voicebot.ConnectError):
            await provider(server).run()
        assert len(server.attempts) == 1


@pytest.mark.parametrize(("status", "attempts"), [(401, 1), (404, 1), (429, 7), (503, 7)])
async def test_patience_ends_where_the_relay_says_no(
    autojump_clock: trio.testing.MockClock, status: int, attempts: int
) -> None:
    async with open_scripted_server() as server, trio.open_nursery() as nursery:

        async def reject() -> None:
            while True:
                stream = await server.accept_stream()
                await stream.receive_some()
                await stream.send_all(f"HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n".encode())

        nursery.start_soon(reject)
        with pytest.raises((voicebot.ConnectError, voicebot.ConnectionLostError), match=f"HTTP {status}"):
            await provider(server, patient=True).run()
        assert len(server.attempts) == attempts
        nursery.cancel_scope.cancel()


async def test_bots_of_the_command_line_do_what_they_are_for(tmp_path: Path) -> None:
    """Programs, real sockets: one records what another announces."""
    with wave.open(str(tmp_path / "bell.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(tone(440, 0.5))
    with trio.fail_after(60):
        async with FakeLobby() as lobby, trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, lobby._serve, 0, host="127.0.0.1"))
            url = f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
            command = [sys.executable, "-m", "signaling", "bot"]
            where = ["--url", url, "--lobby", "garden"]
            recorder = await nursery.start(
                partial(
                    trio.run_process,
                    [*command, "record", *where, "--directory", str(tmp_path / "out"), "--no-participants"],
                    capture_stderr=True,
                )
            )
            await lobby.wait_for(lambda: bool(lobby.chat))
            announced = await trio.run_process(
                [*command, "announce", str(tmp_path / "bell.wav"), *where], capture_stderr=True
            )
            assert announced.stderr == b"'Announcer' is in the lobby 'garden'\n"
            await trio.sleep(0.1)
            recorder.send_signal(signal.SIGTERM)
            assert await recorder.wait() == 0
            nursery.cancel_scope.cancel()
    (path,) = (tmp_path / "out").rglob("mixed.wav")
    with wave.open(str(path), "rb") as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    begin = int(np.flatnonzero(samples)[0]) - 1
    frames = samples[begin : begin + (len(samples) - begin) // 320 * 320].reshape(-1, 320)
    heard = frames[frames.any(axis=1)]  # on a busy machine the fake lobby may have to wait for samples
    assert heard.tobytes() == tone(440, 0.5)
