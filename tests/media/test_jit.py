"""What becomes machine code, and when the cache on disk is believed."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import media
from media import jit
from media.audio.levels import measure_frames
from media.jit import cache_directory, cache_root, helper, kernel, python_function, sources_digest
from media.rtcp import write_pli
from media.rtp import sequence_delta

ROOT = Path(media.__file__).parents[1]


def test_python_function_is_the_interpreted_one_and_agrees():
    for compiled in (sequence_delta, write_pli):
        assert python_function(compiled).__name__ == compiled.__name__
        assert not hasattr(python_function(compiled), "py_func")
    assert python_function(sequence_delta)(3, 0xFFFF) == sequence_delta(3, 0xFFFF) == 4
    buffers = np.zeros((2, 12), np.uint8)
    assert write_pli(buffers[0], 0, 1, 2) == python_function(write_pli)(buffers[1], 0, 1, 2) == 12
    assert (buffers[0] == buffers[1]).all()


def test_kernel_refuses_a_function_outside_the_packages_whose_sources_key_the_cache():
    def stray(value):
        return value

    with pytest.raises(RuntimeError, match=r"test_jit is not among the kernel packages \('media', 'bench'\)"):
        kernel(stray)


def test_kernels_divide_and_convert_as_c_does_and_release_the_gil():
    @helper
    def divide(left, right):
        return left / right

    assert divide(1.0, 0.0) == float("inf")
    for compiled in (write_pli, divide):
        assert compiled.targetoptions["nogil"]
        assert compiled.targetoptions["error_model"] == "numpy"
        assert not compiled.targetoptions.get("fastmath")
        assert not compiled.targetoptions.get("parallel")


# The cache.


def copy_package(name: str, target: Path) -> Path:
    target.mkdir()
    spec = importlib.util.find_spec(name)
    for source in Path(spec.submodule_search_locations[0]).glob("*.py"):
        (target / source.name).write_bytes(source.read_bytes())
    return target


def test_digest_changes_when_any_source_changes_appears_or_goes(tmp_path, monkeypatch):
    copy = copy_package("media", tmp_path / "media")
    monkeypatch.setattr(media.__spec__, "submodule_search_locations", [str(copy)])
    digest = sources_digest.__wrapped__  # without the memory of this process
    original = digest("media")
    assert digest("media") == original
    sources = sorted(copy.glob("*.py"))
    assert len(sources) > 10
    seen = {original}
    for source in sources:
        content = source.read_bytes()
        source.write_bytes(content + b"\n# changed\n")
        seen.add(digest("media"))
        source.write_bytes(content)
        assert digest("media") == original
    assert len(seen) == len(sources) + 1
    (copy / "newcomer.py").write_text('"""New."""\n')
    assert digest("media") != original
    (copy / "newcomer.py").unlink()
    (copy / "keyframes.py").rename(copy / "renamed.py")
    assert digest("media") != original
    (copy / "renamed.py").unlink()
    assert digest("media") not in seen


def test_digest_of_bench_covers_media_as_well(tmp_path, monkeypatch):
    copy = copy_package("media", tmp_path / "media")
    monkeypatch.setattr(media.__spec__, "submodule_search_locations", [str(copy)])
    digest = sources_digest.__wrapped__
    before = digest("bench")
    assert before != digest("media")
    (copy / "rtp.py").write_text("changed = 1\n")
    assert digest("bench") != before


def test_cache_directory_is_named_by_the_digest_below_the_root(tmp_path, monkeypatch):
    monkeypatch.setattr(jit.numba_config, "CACHE_DIR", str(tmp_path))
    assert cache_root() == tmp_path
    assert cache_directory() == tmp_path / sources_digest("media")
    monkeypatch.setattr(jit.numba_config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root() == tmp_path / "xdg" / "trio-relay" / "kernels"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_root() == tmp_path / "home" / ".cache" / "trio-relay" / "kernels"


PROGRAM = """
import numpy as np
from media.rtcp import write_pli
write_pli(np.zeros(12, np.uint8), 0, 1, 2)
print(sum(write_pli.stats.cache_hits.values()), sum(write_pli.stats.cache_misses.values()))
"""


def run_program(cache: Path, *, temporary: Path | None = None, prefix: tuple[str, ...] = ()) -> str:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    if temporary is not None:
        environment["TMPDIR"] = str(temporary)
    return subprocess.run(
        [*prefix, sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout.strip()


def test_a_second_process_loads_what_the_first_compiled(tmp_path):
    assert run_program(tmp_path) == "0 1"
    (directory,) = tmp_path.iterdir()
    assert len(directory.name) == 16
    assert list(directory.rglob("*.nbc"))
    assert run_program(tmp_path) == "1 0"


def obedient_to_modes() -> tuple[str, ...]:
    """What to start a program with so that the modes of files bind it, as they do not bind root."""
    if os.geteuid():
        return ()
    return ("setpriv", "--inh-caps=-dac_override", "--bounding-set=-dac_override")


def test_a_cache_that_cannot_be_written_is_used_all_the_same(tmp_path):
    cache, temporary = tmp_path / "cache", tmp_path / "temporary"
    temporary.mkdir()
    assert run_program(cache) == "0 1"
    everything = [cache, *cache.rglob("*")]
    for path in everything:
        path.chmod(0o555)
    assert run_program(cache, temporary=temporary, prefix=obedient_to_modes()) == "1 0"
    assert [cache, *cache.rglob("*")] == everything
    assert list(temporary.iterdir()) == []


def test_kernels_are_compiled_where_there_is_no_place_for_a_cache(tmp_path):
    file = tmp_path / "file"
    file.write_text("not a directory")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    assert run_program(file / "cache", temporary=temporary) == "0 1"
    assert list(temporary.iterdir()) == []


def test_dsp_kernels_sum_in_any_order_and_still_tell_nan_from_numbers():
    assert measure_frames.targetoptions["fastmath"] == {"reassoc", "contract"}
    assert measure_frames.targetoptions["nogil"]
    assert not measure_frames.targetoptions.get("parallel")
