"""libopus, found and made callable from kernels.

The system's library is taken (Debian: libopus0), else the copy inside PyAV's wheel, which is loaded without importing PyAV.
Symbols are made known to LLVM by name when this module is imported, as `media.native` does, so that compiled kernels can be
cached on disk whichever of the two libraries a process runs with.

The `*_ctl` functions are variadic and are called from Python only, through `libopus` (`media.audio.opus`).
"""

import ctypes
import ctypes.util
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llvmlite import binding
from numba.core import types


class OpusMissingError(ImportError):
    """There is no libopus on this machine."""


def load_libopus() -> ctypes.CDLL:
    """Load libopus.

    Raises: OpusMissingError, which says what to install.
    """
    tried = []
    for name in _candidates():
        try:
            return ctypes.CDLL(name)
        except OSError as error:
            tried.append(f"{name}: {error}")
    raise OpusMissingError(
        "libopus, which audio is decoded and encoded with, is not installed: "
        f"apt-get install libopus0, or pip install av (tried: {'; '.join(tried)})"
    )


def _candidates() -> Iterator[str]:
    # find_library asks ldconfig or a compiler, and slim systems have neither.
    yield ctypes.util.find_library("opus") or "libopus.so.0"
    spec = importlib.util.find_spec("av")
    for location in (spec and spec.submodule_search_locations) or ():
        yield from sorted(map(str, (Path(location).parent / "av.libs").glob("libopus-*.so*")))


libopus = load_libopus()
"""For calls from Python."""

for _name in ("opus_decode_float", "opus_encode_float"):
    _address = ctypes.cast(getattr(libopus, _name), ctypes.c_void_p).value
    assert _address is not None
    binding.add_symbol(_name, _address)

# (decoder, data, bytes, samples, room in samples, decode in-band FEC) -> samples or an error
opus_decode_float: Any = types.ExternalFunction(
    "opus_decode_float",
    types.int32(types.uintp, types.uintp, types.int32, types.uintp, types.int32, types.int32),
)
# (encoder, samples, count, data, room in bytes) -> bytes or an error
opus_encode_float: Any = types.ExternalFunction(
    "opus_encode_float", types.int32(types.uintp, types.uintp, types.int32, types.uintp, types.int32)
)

libopus.opus_get_version_string.restype = ctypes.c_char_p
libopus.opus_strerror.restype = ctypes.c_char_p
for _name in ("opus_encoder_init", "opus_decoder_init"):
    getattr(libopus, _name).restype = ctypes.c_int
libopus.opus_encoder_init.argtypes = (ctypes.c_void_p, ctypes.c_int32, ctypes.c_int, ctypes.c_int)
libopus.opus_decoder_init.argtypes = (ctypes.c_void_p, ctypes.c_int32, ctypes.c_int)
