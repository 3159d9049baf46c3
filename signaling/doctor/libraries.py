"""Native libraries, compiled kernels, and what passwords cost."""

import re
import ssl
import time
from collections.abc import Iterator

import argon2
from cryptography.hazmat.backends.openssl import backend

from relay import examination
from signaling.doctor.finding import Finding, fail, ok, warn

#: Earlier ones let a forged record end a DTLS association.
SAFE_OPENSSL = (4, 0, 3)
#: A login that takes longer keeps a core busy that calls could use.
SLOW_PASSWORD_SECONDS = 0.5


def check_libraries() -> Iterator[Finding]:
    """Yield findings on libraries and kernels."""
    yield ok("libsrtp", examination.libsrtp_version())
    yield _openssl(backend.openssl_version_text())
    yield ok("libopus", examination.libopus_version())
    yield _argon2()
    yield _kernels(examination.kernel_cache())


def _openssl(version: str) -> Finding:
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", version)
    if found is None:
        return warn("openssl", f"cannot tell its version from {version!r}", "pip install -U cryptography")
    if tuple(int(part) for part in found.groups()) < SAFE_OPENSSL:
        return warn(
            "openssl",
            f"{version}: with older ones than 4.0.3 a forged packet can end somebody's media",
            "pip install -U cryptography",
        )
    return ok("openssl", f"{version} for media, {ssl.OPENSSL_VERSION} for HTTP")


def _argon2() -> Finding:
    hasher = argon2.PasswordHasher()
    before = time.perf_counter()
    try:
        hasher.hash("a password")
    except argon2.exceptions.HashingError as error:
        return fail(
            "argon2", f"passwords cannot be hashed: {error}", "allow the process 64 MiB more of memory"
        )
    taken = time.perf_counter() - before
    if taken > SLOW_PASSWORD_SECONDS:
        return warn("argon2", f"a password takes {taken * 1000:.0f} ms", "the machine is busy, or slow")
    return ok("argon2", f"a password takes {taken * 1000:.0f} ms")


def _kernels(cache: examination.KernelCache) -> Finding:
    if not cache.writable:
        return warn(
            "kernels",
            f"{cache.directory} cannot be written to: they are compiled at each start, unless they are there",
            "let NUMBA_CACHE_DIR name a directory that can",
        )
    if not cache.compiled:
        return warn("kernels", "not compiled yet; the first start takes up to two minutes", "relay warm-up")
    return ok("kernels", f"compiled, in {cache.directory}")
