"""Fixtures of the bench tests."""

import socket

import pytest


@pytest.fixture
def unused_port():
    """A TCP port of the loopback that refuses connections while the test runs: bound, but not listening."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]
