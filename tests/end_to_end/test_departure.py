"""People who vanish without a word."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import trio
from aiortc_remote import RemoteHost
from participants import join_call
from relay_service import run_relay_service

from signaling.messages import ParticipantLeft

LONE = Path(__file__).parent / "lone_participant.py"


#: The default is 30; what is shown here takes as long as it is told to.
RESUME_SECONDS = 5


async def test_killed_participant_vanishes_when_the_time_to_come_back_is_over(
    tmp_path: Path, lobby: str, host: RemoteHost
) -> None:
    with run_relay_service(tmp_path, "--resume-seconds", str(RESUME_SECONDS)) as service, trio.fail_after(60):
        async with join_call(service.url, lobby, host, name="Ada") as ada:
            victim = await trio.lowlevel.open_process(
                [sys.executable, LONE, service.url, lobby],
                stdout=subprocess.PIPE,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
            try:
                assert victim.stdout is not None
                assert await victim.stdout.receive_some() == b"connected\n"
                sound = await ada.wait_track("audio")
                await ada.receive(sound)
                await ada.negotiate()
                await ada.hear(sound, 440)
            finally:
                os.killpg(victim.pid, signal.SIGKILL)
                with trio.CancelScope(shield=True):
                    await victim.wait()
                    await victim.stdout.aclose()
            killed = trio.current_time()
            left = await ada.wait_event(ParticipantLeft)
            assert left.reason == "disconnected"
            assert trio.current_time() - killed >= RESUME_SECONDS - 1
            assert len(ada.connection.lobby.participants) == 1
