"""People who vanish without a word."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import trio
from aiortc_remote import RemoteHost
from participants import join_call
from relay_service import RelayService

from signaling.messages import ParticipantLeft

LONE = Path(__file__).parent / "lone_participant.py"


async def test_killed_participant_vanishes_within_thirty_seconds(
    service: RelayService, lobby: str, host: RemoteHost
) -> None:
    with trio.fail_after(60):
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
            assert trio.current_time() - killed < 30
            assert len(ada.connection.lobby.participants) == 1
