"""The data directory and its disk, the secrets and who may read them."""

import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path

from signaling.configuration.fields import described
from signaling.configuration.sources import ENVIRONMENT_FILE, Given, Kind
from signaling.disk import disk_space
from signaling.doctor.finding import Finding, fail, ok, warn
from signaling.readiness import Status, check_disk
from signaling.settings import Settings


def check_keeping(settings: Settings, given: Mapping[str, Given]) -> Iterator[Finding]:
    """Yield findings on what is kept on disk, and on secrets."""
    yield _data_directory(settings.data_dir)
    yield _disk(settings.data_dir)
    yield from _secret_files(given)
    yield _administration(settings)
    if settings.join_token_public_key_file is not None:
        yield _key_file(settings.join_token_public_key_file)


def _data_directory(directory: Path) -> Finding:
    path = directory.absolute()
    if not path.exists():
        above = next(one for one in path.parents if one.exists())
        if above.is_dir() and os.access(above, os.W_OK | os.X_OK):
            return ok("data directory", f"{path} is made at the first start")
        return fail("data directory", f"{path} cannot be made in {above}", "let --data-dir name another")
    try:
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        return fail(
            "data directory",
            f"{path} cannot be written to: {error.strerror}",
            "give it to the user the relay runs as, or let --data-dir name another",
        )
    return ok("data directory", f"{path} can be written to")


def _disk(directory: Path) -> Finding:
    space = disk_space(directory)
    check = check_disk(space)
    if check.status is not Status.READY:
        return warn("disk", check.reason or "", "make room, or let --data-dir name another disk")
    return ok("disk", f"{space.free_bytes // 1024**2} MiB free")


def _secret_files(given: Mapping[str, Given]) -> Iterator[Finding]:
    secret = {one.name for one in described(Settings) if one.is_secret or one.table is not None}
    files = {one.file for name, one in given.items() if name in secret and one.file is not None}
    if any(
        name in secret and one.kind is Kind.ENVIRONMENT and one.place.endswith(f" in {ENVIRONMENT_FILE}")
        for name, one in given.items()
    ):
        files.add(ENVIRONMENT_FILE)
    for file in sorted(files):
        mode = stat.S_IMODE(file.stat().st_mode)
        if mode & stat.S_IROTH:
            yield warn("secrets", f"everybody on this machine can read {file}", f"chmod o= {file}")
        else:
            yield ok("secrets", f"{file} is not for everybody to read")


def _administration(settings: Settings) -> Finding:
    if settings.admin_token is not None:
        return ok("administration", "by admin_token")
    if not settings.development:
        return ok("administration", "closed, for there is no admin_token")
    told = "development mode leaves the admin API open to this machine"
    if ip_address(settings.host).is_loopback:
        return ok("administration", told)
    return warn("administration", told, "where others have accounts, or a proxy runs, set admin_token")


def _key_file(path: Path) -> Finding:
    try:
        content = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        return fail("join tokens", f"{path} cannot be read: {error}", "correct join_token_public_key_file")
    if "PRIVATE KEY" in content:
        return warn("join tokens", f"{path} holds a private key", "the server needs the public one only")
    if "-----BEGIN PUBLIC KEY-----" not in content:
        return fail("join tokens", f"{path} holds no public key in PEM form", "openssl pkey -pubout makes it")
    return ok("join tokens", f"verified with {path}")
