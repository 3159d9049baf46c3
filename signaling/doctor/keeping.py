"""The data directory and its disk, the secrets and who may read them."""

import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from signaling.access import admin_gate, token_key_of
from signaling.auth import TokenKeyError, is_loopback
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
    yield _join_tokens(settings)


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
    if not admin_gate(settings).is_open:
        return ok("administration", "closed, for there is no admin_token")
    told = "open to this machine without a credential"
    if is_loopback(settings.host):
        return ok("administration", told)
    return warn("administration", told, "where others have accounts, or a proxy runs, set admin_token")


def _join_tokens(settings: Settings) -> Finding:
    try:
        key = token_key_of(settings)
    except TokenKeyError as error:
        return fail("join tokens", str(error), "correct token_secret or token_key_file")
    if key is None:
        return ok("join tokens", "none are taken, for there is no key for them")
    done = "made and verified" if key.signing is not None else "verified, not made"
    return ok("join tokens", f"{done} with {key.algorithm}")
