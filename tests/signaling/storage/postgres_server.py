"""A PostgreSQL server of the test run's own: in a temporary directory, on a Unix socket, never as root."""

import os
import pwd
import shutil
import subprocess
import tempfile
from itertools import count
from pathlib import Path

import psycopg

DEBIAN_PROGRAMS = "/usr/lib/postgresql"
MISSING = "the tests need PostgreSQL's server: apt-get install postgresql (`make test` does)"
SETTINGS = """
listen_addresses = ''
fsync = off
full_page_writes = off
shared_buffers = 16MB
max_connections = 30
"""


class PostgresServer:
    def __init__(self) -> None:
        self._programs = _programs()
        self._user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
        self._home = Path(tempfile.mkdtemp(prefix="relay-pg-"))
        self._data = self._home / "data"
        self._numbers = count(1)
        if os.getuid() == 0:
            try:
                shutil.chown(self._home, "postgres")
            except LookupError:
                raise RuntimeError(MISSING) from None
        self._run("initdb", "-A", "trust", "-U", "relay", "-E", "UTF8", "--locale=C", "--no-sync")
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(f"{SETTINGS}unix_socket_directories = '{self._home}'\n")
        self.start()

    def start(self) -> None:
        self._run("pg_ctl", "-w", "-l", str(self._home / "log"), "start")

    def stop(self, mode: str = "immediate") -> None:
        self._run("pg_ctl", "-w", "-m", mode, "stop")

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._home)

    def new_database(self) -> str:
        """Return the URL of an empty database."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return f"postgresql://relay@/{name}?host={self._home}"

    def connect(self, database: str) -> psycopg.Connection:
        return psycopg.connect(host=str(self._home), user="relay", dbname=database, autocommit=True)

    def execute(self, statement: str, database: str = "postgres") -> list[tuple]:
        with self.connect(database) as connection:
            found = connection.execute(statement)
            return found.fetchall() if found.description else []

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), "-D", str(self._data), *arguments]
        as_user = {"user": self._user, "group": pwd.getpwnam(self._user).pw_gid, "extra_groups": []}
        done = subprocess.run(
            command,
            cwd=self._home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            **(as_user if os.getuid() == 0 else {}),
        )
        if done.returncode:
            log = self._home / "log"
            told = log.read_text()[-2000:] if log.exists() else ""
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}\n{told}")


def _programs() -> Path:
    if debian := sorted(Path(DEBIAN_PROGRAMS).glob("*/bin"), key=lambda path: int(path.parent.name)):
        return debian[-1]
    found = shutil.which("postgres")
    if found is None:
        raise RuntimeError(MISSING)
    return Path(found).resolve().parent
