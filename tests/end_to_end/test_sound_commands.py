"""`relay bot`, as a user starts it, with the real service."""

import subprocess
import sys

import pytest
from relay_service import RelayService


@pytest.mark.parametrize(
    ("credential", "fault"), [(None, "it wants a credential"), ("not-it", "this credential is none of its")]
)
def test_provider_that_is_turned_away_is_told_what_to_do(
    service: RelayService, credential: str | None, fault: str
) -> None:
    command = [sys.executable, "-m", "signaling", "bot", "echo", "--url", service.url]
    if credential is not None:
        command += ["--credential", credential]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("bot: ")
    assert f" at /ws/bots: {fault}. Set RELAY_BOT_CREDENTIAL to the RELAY_ADMIN_TOKEN" in done.stderr
