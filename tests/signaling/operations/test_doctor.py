"""The doctor finds what is really wrong: each fault is made, by the system itself where it can be."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from typer.testing import CliRunner

import relay
from relay import examination
from signaling.cli import make_app
from signaling.configuration.sources import ENVIRONMENT_FILE
from signaling.disk import DiskSpace
from signaling.doctor import command, keeping, libraries, machine, network
from signaling.doctor.database import check_database
from signaling.doctor.finding import Finding, Level
from signaling.settings import Settings, load_with_sources

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _own_directory(monkeypatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("RELAY_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def settings_with(**values: object) -> Settings:
    return Settings(**{"host": "127.0.0.1", "port": 0, "udp_port": 0, "workers": 1, **values})


def only(findings, check: str) -> Finding:
    (found,) = [finding for finding in findings if finding.check == check]
    return found


def doctor(*arguments: str):
    given = ["doctor", "--host", "127.0.0.1", "--port", "0", "--udp-port", "0", *arguments]
    return CliRunner().invoke(make_app(given), given)


# The command.


def test_every_line_says_level_check_and_what_is_and_each_trouble_what_to_do() -> None:
    result = doctor("--json")
    findings = [Finding(**one) for one in json.loads(result.output)]
    assert {
        "python",
        "tcp port",
        "udp ports",
        "udp buffers",
        "descriptors",
        "libsrtp",
        "database",
        "disk",
    } <= {finding.check for finding in findings}
    assert all(finding.text for finding in findings)
    assert all(bool(finding.advice) is (finding.level != Level.OK) for finding in findings)
    assert result.exit_code == 0, result.output
    lines = doctor().output.splitlines()
    assert [line.split()[0] for line in lines[: len(findings)]] == [finding.level for finding in findings]
    assert lines[-1].startswith("Nothing fails")
    assert not list(Path.cwd().iterdir()), "it changes nothing"


def test_a_taken_tcp_port_fails_and_ends_with_status_1() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = doctor("--port", str(port))
    assert result.exit_code == 1
    assert f"fail  tcp port: TCP port {port} on 127.0.0.1 is in use by another program" in result.output


def test_a_bad_setting_ends_with_status_2() -> None:
    result = doctor("--workers", "none")
    assert result.exit_code == 2
    assert "--workers" in result.stderr


def test_a_library_that_does_not_load_is_a_finding(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "signaling.doctor.libraries", None)
    (finding,) = command.examine(settings_with(), {})
    assert finding.level is Level.FAIL
    assert "cannot be loaded" in finding.text


def test_too_few_descriptors_are_found_in_a_program_that_has_them() -> None:
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (900, 900));"
        "from signaling.doctor.machine import _descriptors; from signaling.settings import Settings;"
        "print(_descriptors(Settings(max_connections=500)).line());"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (500, 500)); print(_descriptors(Settings()).line())"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        timeout=120,
    )
    few, none = done.stdout.splitlines()
    assert few.startswith(
        "warn  descriptors: 900 allowed, 1332 needed for 500 connections: raise the hard limit"
    )
    assert few.endswith("otherwise 68 connections are taken")
    assert none.startswith("fail  descriptors: 500 allowed")


# The network.


def test_a_taken_udp_port_is_named() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        found = only(network.check_network(settings_with(udp_port=port)), "udp ports")
    assert found.level is Level.FAIL
    assert str(port) in found.text
    free = only(network.check_network(settings_with(udp_port=port)), "udp ports")
    assert free.level is Level.OK


def test_ports_beyond_the_last_are_told() -> None:
    (fault,) = examination.udp_port_faults("127.0.0.1", 65_535, 2)
    assert "no UDP port 65536" in fault.reason


def test_small_udp_buffers_are_told_with_the_command_that_enlarges_them(monkeypatch) -> None:
    small = examination.UdpBuffers(wanted=4 * 1024**2, receive=212_992, send=8 * 1024**2)
    monkeypatch.setattr(examination, "udp_buffers", lambda _: small)
    found = only(network.check_network(settings_with()), "udp buffers")
    assert found.level is Level.WARN
    assert found.text.startswith("receive 208 KiB, where 4096 KiB are asked for")
    assert found.advice == "as root: sysctl -w net.core.rmem_max=4194304"


def test_the_system_s_own_buffers_are_read() -> None:
    buffers = examination.udp_buffers("127.0.0.1")
    assert buffers.wanted == 4 * 1024**2
    assert 0 < buffers.receive <= buffers.wanted
    assert 0 < buffers.send <= buffers.wanted


@pytest.mark.parametrize(
    ("values", "level", "words"),
    [
        ({"public_address": ("8.8.8.8",)}, Level.OK, "8.8.8.8"),
        ({"public_address": ("10.1.2.3",)}, Level.WARN, "a private network's"),
        ({"public_address": ("0.0.0.0",)}, Level.FAIL, "0.0.0.0"),
        ({"host": "127.0.0.1"}, Level.WARN, "127.0.0.1"),
        ({"host": "192.168.3.4"}, Level.WARN, "192.168.3.4, a private network's"),
    ],
)
def test_addresses_that_clients_cannot_reach_are_told(
    values: dict[str, object], level: Level, words: str
) -> None:
    found = network._addresses(settings_with(**values))
    assert found.level is level
    assert words in found.text


def test_an_address_of_another_machine_fails_each_check_and_stops_none() -> None:
    findings = list(network.check_network(settings_with(host="192.0.2.77")))
    assert [finding.check for finding in findings if finding.level is Level.FAIL] == [
        "tcp port",
        "udp ports",
        "udp buffers",
    ]


# The machine.


@pytest.mark.parametrize(
    ("cpuinfo", "level"),
    [
        ("processor : 0\nflags : fpu aes pclmulqdq avx2\n", Level.OK),
        ("flags : fpu sse2\n", Level.WARN),
        ("", Level.OK),
    ],
)
def test_a_processor_without_encryption_is_told(monkeypatch, cpuinfo: str, level: Level) -> None:
    monkeypatch.setattr(machine.platform, "machine", lambda: "x86_64")
    assert machine._processor(cpuinfo).level is level


@pytest.mark.parametrize(
    ("now", "source", "level"),
    [
        (1_800_000_000, "tsc", Level.OK),
        (1_800_000_000, "", Level.OK),
        (1_800_000_000, "hpet", Level.WARN),
        (0, "tsc", Level.FAIL),
        (9_000_000_000, "tsc", Level.FAIL),
    ],
)
def test_a_clock_that_is_wrong_or_slow_is_told(now: float, source: str, level: Level) -> None:
    assert machine._clock(now, source).level is level


def test_a_container_s_limits_count(monkeypatch, tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text(f"{512 * 1024**2}\n")
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    monkeypatch.setattr(machine, "_MEMORY_LIMITS", (tmp_path / "memory.max",))
    monkeypatch.setattr(machine, "_CPU_LIMIT", tmp_path / "cpu.max")
    memory = machine._memory(settings_with(max_connections=10_000))
    assert memory.level is Level.WARN
    assert memory.text.startswith("512 MiB may be used")
    assert machine._memory(settings_with(max_connections=1000)).level is Level.OK
    cores = machine._cores(settings_with(workers=2))
    assert cores.level is Level.WARN
    assert cores.text == "2 workers on 1.5 cores"
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert machine._memory(settings_with(max_connections=1)).level is Level.OK


def test_scheduling_says_what_workers_get_and_what_would_be_better(monkeypatch):
    monkeypatch.setattr(examination, "real_time_allowed", lambda: True)
    assert machine._scheduling().level is Level.OK
    monkeypatch.setattr(examination, "real_time_allowed", lambda: False)
    monkeypatch.setattr(examination, "short_slices_known", lambda: True)
    assert "CAP_SYS_NICE" in machine._scheduling().text
    monkeypatch.setattr(examination, "short_slices_known", lambda: False)
    poor = machine._scheduling()
    assert poor.level is Level.WARN
    assert "CAP_SYS_NICE" in poor.advice


def test_old_pythons_and_other_systems_fail(monkeypatch) -> None:
    assert machine._python().level is Level.OK
    monkeypatch.setattr(machine.platform, "system", lambda: "Darwin")
    assert machine._python().level is Level.FAIL
    monkeypatch.setattr(machine, "OLDEST_PYTHON", (99, 0))
    assert "3.11 or newer" in machine._python().advice


# Libraries.


@pytest.mark.parametrize(
    ("version", "level"),
    [("OpenSSL 4.0.3 1 Jan 2026", Level.OK), ("OpenSSL 3.0.2", Level.WARN), ("LibreSSL", Level.WARN)],
)
def test_an_unsafe_openssl_is_told(version: str, level: Level) -> None:
    assert libraries._openssl(version).level is level


def test_the_libraries_of_this_machine_will_do() -> None:
    found = {finding.check: finding for finding in libraries.check_libraries()}
    assert found["libsrtp"].text.startswith("libsrtp2 2.")
    assert found["openssl"].level is Level.OK
    assert found["argon2"].level in {Level.OK, Level.WARN}


def test_kernels_that_are_not_compiled_or_have_no_place_are_told(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(examination, "cache_directory", lambda: tmp_path / "kernels")
    assert examination.kernel_cache().writable
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(examination, "cache_directory", lambda: tmp_path / "file" / "kernels")
    cache = examination.kernel_cache()
    assert not cache.writable
    assert libraries._kernels(cache).level is Level.WARN
    empty = examination.KernelCache(tmp_path, writable=True, compiled=False)
    assert libraries._kernels(empty).advice == "relay warm-up"


def test_warmed_up_kernels_are_recognised() -> None:
    relay.warm_up()
    assert examination.kernel_cache().compiled


# What is kept.


def test_a_data_directory_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for directory in (tmp_path / "file" / "data", tmp_path / "file"):
        found = keeping._data_directory(directory)
        assert found.level is Level.FAIL, directory
        assert str(directory) in found.text
    assert keeping._data_directory(tmp_path).level is Level.OK
    assert "made at the first start" in keeping._data_directory(tmp_path / "new" / "er").text
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("mode", "level"), [(0o644, Level.WARN), (0o640, Level.OK)])
def test_a_file_of_secrets_that_everybody_can_read_is_told(mode: int, level: Level) -> None:
    for file, text in {
        "relay.toml": "admin_token='0123456789abcdef'",
        ".env": "RELAY_ADMIN_TOKEN=0123456789abcdef",
    }.items():
        path = Path(file)
        path.write_text(text)
        path.chmod(mode)
        settings, given = load_with_sources({"host": "127.0.0.1"}, ENVIRONMENT_FILE)
        found = only(keeping.check_keeping(settings, given), "secrets")
        assert found.level is level
        assert file in found.text
        path.unlink()
    Path("relay.toml").write_text("port = 1")
    settings, given = load_with_sources({})
    assert not [one for one in keeping.check_keeping(settings, given) if one.check == "secrets"]


@pytest.mark.parametrize(
    ("values", "level"),
    [
        ({}, Level.OK),
        ({"development": True}, Level.OK),
        ({"development": True, "host": "0.0.0.0"}, Level.WARN),
        ({"development": True, "host": "0.0.0.0", "admin_token": "0123456789abcdef"}, Level.OK),
    ],
)
def test_an_open_administration_is_told(values: dict[str, object], level: Level) -> None:
    assert keeping._administration(settings_with(**values)).level is level


def pem_of(key: Ed25519PrivateKey) -> tuple[bytes, bytes]:
    """Return both halves, the private one first."""
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_a_key_file_that_will_not_do_is_told() -> None:
    path = Path("key.pem")
    settings = settings_with(token_key_file=path)
    private, public = pem_of(Ed25519PrivateKey.generate())
    for content, level, told in (
        (None, Level.FAIL, "cannot be read"),
        (b"nonsense", Level.FAIL, "cannot be read"),
        (private, Level.OK, "made and verified with EdDSA"),
        (public, Level.OK, "verified, not made"),
    ):
        if content is not None:
            path.write_bytes(content)
        found = only(keeping.check_keeping(settings, {}), "join tokens")
        assert (found.level, told in found.text) == (level, True), found


def test_a_full_disk_is_told(monkeypatch) -> None:
    monkeypatch.setattr(keeping, "disk_space", lambda _: keeping_space(1))
    assert keeping._disk(Path()).level is Level.WARN
    monkeypatch.setattr(keeping, "disk_space", lambda _: keeping_space(10**12))
    assert keeping._disk(Path()).level is Level.OK


def keeping_space(free: int) -> DiskSpace:
    return DiskSpace(free, 10**12)


# The database.


def database(url: str, newest: str | None = None) -> Finding:
    (found,) = check_database(url, newest)
    return found


def test_a_database_that_is_not_there_yet_is_fine_and_not_made(tmp_path: Path) -> None:
    found = database(f"sqlite:///{tmp_path}/x.sqlite3")
    assert found.level is Level.OK
    assert "made at the first start" in found.text
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_database_fails(tmp_path: Path) -> None:
    (tmp_path / "x.sqlite3").write_text("not a database at all, but long enough to look at" * 100)
    found = database(f"sqlite:///{tmp_path}/x.sqlite3")
    assert found.level is Level.FAIL
    assert "file is not a database" in found.text


def test_the_tables_revision_is_compared(tmp_path: Path) -> None:
    file, url = tmp_path / "x.sqlite3", f"sqlite:///{tmp_path}/x.sqlite3"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE other (x)")
        connection.commit()
        assert "tables are made at the first start" in database(url, "0002").text
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        connection.execute("INSERT INTO alembic_version VALUES ('0001')")
        connection.commit()
    assert database(url, "0001").level is Level.OK
    assert database(url).level is Level.OK
    old = database(url, "0002")
    assert old.level is Level.WARN
    assert "revision 0001, this version's are 0002" in old.text


def test_a_database_server_that_is_not_there_fails_without_its_password() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = database(f"postgresql://relay:hunter2@127.0.0.1:{port}/relay")
    assert found.level is Level.FAIL
    assert f"postgresql://relay:***@127.0.0.1:{port}/relay does not answer" in found.text
    assert "hunter2" not in found.line()
    assert "\n" not in found.line()


def test_a_database_without_its_driver_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    found = database("postgresql://127.0.0.1/relay")
    assert found.level is Level.FAIL
    assert found.advice == "pip install 'trio-relay[postgres]'"


def test_a_database_kept_in_memory_is_a_warning() -> None:
    assert database("memory:").level is Level.WARN
