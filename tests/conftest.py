"""Which tests share a process when there are several (pytest-xdist)."""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

TOGETHER = (("tests/bench/", "tests/end_to_end/", "tests/relay/test_mixing.py"), ("tests/browser/",))
"""Tests that go by the clock and load the whole machine: of a kind only one runs at a time."""


class Schedule(LoadScopeScheduling):  # type: ignore[misc] # xdist has no types
    """Each kind stays in one process; the rest is spread file by file."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return next((kind[0] for kind in TOGETHER if path.startswith(kind)), path)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Schedule:
    return Schedule(config, log)
