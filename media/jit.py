"""The one way a function becomes machine code here.

`kernel` fixes numba's flags for the whole project and puts the compiled code in a cache whose directory is
named by a digest of *all* kernel sources: numba itself notices only a change in the file that holds the function,
not in a callee from another file, and would run stale code.

`media.warm_up` compiles, or loads from the cache, all that the relay runs, before the first socket opens: nothing is
ever compiled while serving.
"""

import atexit
import hashlib
import importlib.util
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba
import numpy as np
from numba.core import config as numba_config
from numba.extending import intrinsic as numba_intrinsic

P = ParamSpec("P")
R = TypeVar("R")

KERNEL_PACKAGES = ("media", "bench")
"""Packages that may hold kernels. Each one's digest covers `media` and itself."""

_directory_lock = threading.Lock()


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` with numba: no GIL, cached on disk, no bounds checks, C division, no fast-math.

    Raises: RuntimeError when called outside `KERNEL_PACKAGES`, whose sources alone key the cache.
    """
    return _compile(function, fastmath=False)


def dsp_kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` as `kernel` does, but let sums of floats be reordered and multiply-adds be fused.

    Without that, a dot product is one long chain of additions. NaN and infinities keep their meaning, so that a kernel can
    still look for them. Raises: as `kernel`.
    """
    return _compile(function, fastmath={"reassoc", "contract"})


def helper(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` as `kernel` does and inline it into its callers (LLVM's `alwaysinline`).

    For the small functions on the packet path whose call overhead would show. They are compiled as a part of the
    kernels that use them, so they take no place in the disk cache of their own.
    """
    return cast("Callable[P, R]", numba.njit(nogil=True, error_model="numpy", forceinline=True)(function))


def intrinsic(function: Callable[..., Any]) -> Any:
    """`numba.extending.intrinsic`, whose own types describe the generator rather than what kernels call."""
    return numba_intrinsic(function)


@helper
def integer(value: Any) -> int:
    """Any number as int64: fields and results of C functions come in other widths, and mixed signs become floats."""
    return int(np.int64(value))


def python_function(compiled: Callable[P, R]) -> Callable[P, R]:
    """Return the interpreted function behind a kernel, for tests that compare the two."""
    return cast("Callable[P, R]", cast("Any", compiled).py_func)


def cache_directory(package: str = "media") -> Path:
    """Where the compiled kernels of `package` are kept.

    numba's own setting `NUMBA_CACHE_DIR` names the root; without it, the user's cache directory.
    """
    return cache_root() / sources_digest(package)


def cache_root() -> Path:
    """The directory above all digests."""
    if numba_config.CACHE_DIR:
        return Path(numba_config.CACHE_DIR)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "trio-relay" / "kernels"


@cache
def sources_digest(package: str) -> str:
    """Digest of every source file that may end up inside a kernel of `package`."""
    digest = hashlib.sha256(numba.__version__.encode())
    for name in dict.fromkeys(("media", package)):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.submodule_search_locations
        for location in spec.submodule_search_locations:
            for source in sorted(Path(location).rglob("*.py")):
                digest.update(source.name.encode())
                digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _compile(function: Callable[P, R], *, fastmath: bool | set[str]) -> Callable[P, R]:
    package = function.__module__.partition(".")[0]
    if package not in KERNEL_PACKAGES:
        raise RuntimeError(f"{function.__module__} is not among the kernel packages {KERNEL_PACKAGES}")
    # numba reads its cache directory when the dispatcher is made and offers no argument for it.
    with _directory_lock:
        before = numba_config.CACHE_DIR
        numba_config.CACHE_DIR = str(_writable(cache_directory(package)))
        try:
            compiled = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=fastmath)(function)
        finally:
            numba_config.CACHE_DIR = before
    return cast("Callable[P, R]", compiled)


@cache
def _writable(directory: Path) -> Path:
    """Return `directory`, or this process's own copy of it where it cannot be written to.

    numba loads nothing from a cache that it could not also write. With a copy, kernels that were compiled into an image serve
    any user there and a read-only file system too; and where there is no place for a cache at all, all is compiled.
    """
    with suppress(OSError):
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return directory
    copy = Path(tempfile.mkdtemp(prefix="trio-relay-kernels-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    with suppress(OSError):
        for source in directory.rglob("*.nb[ci]"):
            target = copy / source.relative_to(directory)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)  # without the source's mode, which is what forbids writing
    return copy
