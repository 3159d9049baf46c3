"""One service for all calls; every test has a lobby of its own."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest
import trio
from aiortc_remote import RemoteHost, open_aiortc_host
from relay_service import RelayService, run_relay_service


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayService]:
    with run_relay_service(tmp_path_factory.mktemp("relay")) as running:
        yield running


@pytest.fixture
def lobby() -> str:
    return f"test-{uuid4().hex[:12]}"


@pytest.fixture
async def host() -> AsyncIterator[RemoteHost]:
    """A process of aiortc peers on 127.0.0.1."""
    with trio.fail_after(120):
        async with open_aiortc_host() as opened:
            yield opened
