"""Requests made up from the description, right and wrong ones, against a real server: nothing is to be found."""

import sys
from pathlib import Path

import trio
from api_client import ADMIN_TOKEN, open_api

from signaling.auth import Rate

#: Each operation gets so many right and so many wrong requests.
EXAMPLES = 3


async def test_requests_made_up_from_the_description_find_nothing(tmp_path: Path) -> None:
    async with open_api(api_requests_per_minute=1_000_000, log_level="error") as api:
        # Schemathesis also tries without credentials and with wrong ones, more often than a person may.
        api.server.service.access.admin._attempts = Rate(burst=100_000, per_second=100_000)
        command = [
            sys.executable, "-m", "schemathesis.cli", "run", f"{api.server.url}/api/openapi.json",
            "--header", f"Authorization: Bearer {ADMIN_TOKEN}",
            "--checks", "all",
            "--max-examples", str(EXAMPLES),
            "--mode", "all",
            "--generation-deterministic",
            "--suppress-health-check", "all",
            "--phases", "examples,coverage,fuzzing",
            "--no-color",
            # What it does to the server itself would change what it is told of everything else.
            "--exclude-path", "/api/admin/drain",
            "--exclude-path", "/api/admin/limits",
            "--exclude-path", "/api/admin/log-levels",
        ]  # fmt: skip
        done = await trio.run_process(
            command, check=False, cwd=tmp_path, capture_stdout=True, capture_stderr=True
        )
        assert done.returncode == 0, (done.stdout + done.stderr).decode()[-6000:]
        assert not api.server.service.counters.failures
