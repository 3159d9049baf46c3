"""The program as an operator meets it: a child process, its exit codes, what it prints, how it ends."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest
import trio
from raw_client import raw_connection, raw_websocket
from running_server import START_SECONDS
from server_program import STOP_BOUND_SECONDS, environment, program
from trio_websocket import open_websocket_url
from wire_client import Client, in_lobby

from signaling.messages import ChatPosted, ChatSend, ChatSent, CloseCode
from signaling.serve import BESIDE_CONNECTIONS


def run(*arguments: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "signaling", *arguments],
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        cwd=cwd,
        env={
            **environment(),
            "COLUMNS": "200",
            "PYTHONPATH": str(Path.cwd()),
            "RELAY_DATABASE": "memory:",
            **variables,
        },
        check=False,
    )


async def test_it_takes_as_many_connections_as_the_system_gives_descriptors_for(tmp_path: Path) -> None:
    descriptors = BESIDE_CONNECTIONS + 2
    within = ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh"]
    async with (
        program(tmp_path, within=within) as server,
        in_lobby(server.url, name="Ada"),
        in_lobby(server.url, name="Grace") as grace,
        open_websocket_url(server.url.replace("http", "ws") + "/ws") as third,
    ):
        assert "full" in await third.get_message()
        await grace.expect(ChatSend(text="still here"), ChatSent)
        await server.wrote(f"raise the hard limit, `ulimit -Hn`, to {1_000 + BESIDE_CONNECTIONS}")
        assert '"lowered_to": 2,' in server.log.read_text()
        await Client(third).drop()


async def test_it_raises_the_soft_limit_of_descriptors_by_itself(tmp_path: Path) -> None:
    within = ["sh", "-c", 'ulimit -Sn 256; exec "$@"', "sh"]
    async with program(tmp_path, "--max-connections", "500", within=within) as server:
        limits = (Path("/proc") / str(server.pid) / "limits").read_text()
        (line,) = [one for one in limits.splitlines() if one.startswith("Max open files")]
        assert int(line.split()[3]) == 500 + BESIDE_CONNECTIONS
        assert "too few" not in server.log.read_text()


async def test_it_says_where_it_is_and_ends_well_on_sigterm_and_sigint(tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        async with program(tmp_path) as server:
            assert server.pid == server.process.pid
            with await trio.to_thread.run_sync(urlopen, f"{server.url}/api/system/health") as response:
                assert json.load(response)["status"] == "ok"
            code, seconds = await server.end(number)
            log = server.log.read_text()
        assert code == 0
        assert seconds < STOP_BOUND_SECONDS
        assert f"Open {server.url}" in log
        assert str(server.udp_ports[0]) in log
        assert "Traceback" not in log


async def test_it_ends_in_time_under_load_and_tells_its_clients(tmp_path: Path) -> None:
    codes: list[int] = []
    async with program(tmp_path, "--log-format", "json") as server, trio.open_nursery() as nursery:
        talking = 0
        enough = trio.Event()

        async def talk(number: int) -> None:
            nonlocal talking
            async with in_lobby(server.url, f"lobby {number % 5}", str(number)) as client:
                with trio.CancelScope() as scope:
                    async with trio.open_nursery() as inner:

                        async def read() -> None:
                            code, _, _ = await client.closed()
                            codes.append(code)
                            scope.cancel()

                        await client.expect(ChatSend(text="hello"), ChatSent)
                        await client.until(ChatPosted)
                        inner.start_soon(read)
                        talking += 1
                        if talking == 100:
                            enough.set()

        async def misbehave(task_status: trio.TaskStatus[None], *, upgraded: bool) -> None:
            opened = raw_websocket(server.url) if upgraded else raw_connection(server.url)
            async with opened:
                task_status.started()
                await trio.sleep_forever()

        for number in range(100):
            nursery.start_soon(talk, number)
        async with trio.open_nursery() as silent:
            for number in range(20):
                await silent.start(
                    lambda task_status, up=number % 2 == 0: misbehave(task_status, upgraded=up)
                )
            with trio.fail_after(60):
                await enough.wait()
            code, seconds = await server.end(signal.SIGTERM)
            silent.cancel_scope.cancel()
        assert code == 0
        assert seconds < STOP_BOUND_SECONDS
        log = server.log.read_text()
        assert "Traceback" not in log
        assert "a client's task failed" not in log
    assert codes == [CloseCode.GOING_AWAY] * 100


async def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    # An idle client that answers nothing makes the orderly end take its time.
    async with program(tmp_path) as server, raw_websocket(server.url):
        server.process.send_signal(signal.SIGTERM)
        await server.wrote("stopping")
        code, seconds = await server.end(signal.SIGTERM)
        assert code == 128 + signal.SIGTERM
        assert seconds < 1


async def test_environment_and_file_set_what_flags_do_not(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / ".env").write_text("RELAY_PORT=1\nRELAY_LOG_FORMAT=wrong\n")
    result = run("serve", "--host", "127.0.0.1", cwd=tmp_path, RELAY_PORT=str(port))
    assert result.returncode == 2
    assert result.stderr == (
        "relay: RELAY_LOG_FORMAT in .env: 'wrong' is not valid; "
        "expected auto, console or json (auto: console on a terminal)\n"
    )


def test_the_settings_file_is_read_and_a_bad_line_of_it_named(tmp_path: Path) -> None:
    (tmp_path / "relay.toml").write_text('host = "127.0.0.1"\nworkers = "many"\n')
    result = run("serve", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr == (
        "relay: relay.toml, line 2: workers: 'many' is not valid; expected a number of workers from 1 to 64\n"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--port", "99999"), "--port: '99999' is not valid; expected a TCP port, 0 to 65535"),
        (("--udp-port", "x"), "--udp-port: 'x' is not valid"),
        (("--workers", "0"), "--workers: '0' is not valid"),
        (("--host", "example.org"), "--host: 'example.org' is not valid; expected an IP address"),
        (("--public-address", "203.0.113.5", "--public-address", "me"), "--public-address: '203.0.113.5,me'"),
        (("--allowed-origin", "example.org"), "--allowed-origin: 'example.org'"),
    ],
)
def test_a_bad_flag_is_one_line_and_exit_code_2(arguments: tuple[str, ...], words: str) -> None:
    result = run("serve", *arguments)
    assert result.returncode == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_taken_port_is_one_line_and_exit_code_1() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run("serve", "--host", "127.0.0.1", "--port", str(port), "--udp-port", "0")
        assert result.returncode == 1
        assert f"TCP port {port} on 127.0.0.1 is in use by another program" in result.stderr
        assert "Traceback" not in result.stderr
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        result = run("serve", "--host", "127.0.0.1", "--port", "0", "--udp-port", str(port))
        assert result.returncode == 1
        assert str(port) in result.stderr
        assert "Traceback" not in result.stderr


def test_an_address_of_another_machine_is_explained() -> None:
    result = run("serve", "--host", "192.0.2.77", "--port", "0", "--udp-port", "0")
    assert result.returncode == 1
    assert "192.0.2.77 is not an address of this machine" in result.stderr


def test_help_and_version() -> None:
    result = run("--help")
    assert result.returncode == 0
    assert "serve" in result.stdout
    assert "warm-up" in result.stdout
    result = run("serve", "--help")
    for flag in (
        "--host",
        "--port",
        "--udp-port",
        "--workers",
        "--public-address",
        "--ready-file",
        "--log-format",
    ):
        assert flag in result.stdout
    assert "RELAY_PORT" in result.stdout
    result = run("--version")
    assert result.stdout.startswith("trio-relay ")
    assert run("dance").returncode == 2
