"""What tests of a running relay share."""

import pytest

from relay import warm_up


@pytest.fixture(scope="session")
def kernels() -> None:
    """Compile what the relay runs before the clock of the first test starts to tick."""
    warm_up()
