"""The interpreter is not in the packet path."""

import time

import numpy as np
import trio
from aiortc_remote import open_aiortc_host
from participants import join_call
from pictures import Picture

from signaling.server import RunningServer, run_server
from signaling.settings import Settings

PICTURE = Picture(left=(200, 40, 40), right=(40, 40, 200))
BLOCKED_S = 7.0
"""aiortc checks its consent every four to six seconds: at least once in this time."""
PACKETS_PER_SECOND = 50


async def test_media_flows_and_consent_is_given_while_the_trio_thread_is_blocked(lobby: str) -> None:
    settings = Settings(host="127.0.0.1", port=0, udp_port=0, workers=1)
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            running: RunningServer = await nursery.start(run_server, settings)
            url = running.url.replace("http", "ws", 1) + "/ws"
            async with (
                open_aiortc_host() as host,
                join_call(url, lobby, host, name="Ada") as ada,
                join_call(url, lobby, host, name="Grace") as grace,
            ):
                await ada.publish_tone(440)
                await ada.publish_picture(PICTURE)
                await ada.negotiate()
                await grace.publish_tone(620)
                sound, film = await grace.wait_track("audio"), await grace.wait_track("video")
                await grace.receive(sound)
                await grace.receive(film)
                await grace.negotiate()
                graces_sound = await ada.wait_track("audio")
                await ada.receive(graces_sound)
                await ada.negotiate()
                await grace.see(film, PICTURE)
                await grace.hear(sound, 440)
                await ada.hear(graces_sound, 620)

                router = running.service.router
                answered_before = router.statistics().verdicts["stun_answered"]
                began_s = time.monotonic()
                time.sleep(BLOCKED_S)  # noqa: ASYNC251 - blocking the Trio thread is what is tested
                ended_s = time.monotonic()

                # One at least of each caller, and its worker alone can have answered it.
                assert router.statistics().verdicts["stun_answered"] - answered_before >= 2

                for caller, track in ((grace, sound), (ada, graces_sound)):
                    arrivals_s = await caller.peer.arrivals(
                        section=caller.received[track.track_id].section, since_s=began_s, until_s=ended_s
                    )
                    expected = BLOCKED_S * PACKETS_PER_SECOND
                    assert 0.9 * expected <= len(arrivals_s) <= 1.1 * expected
                    # A gap of half of it and the count together: a burst at the end would be no flow.
                    assert np.diff([began_s, *arrivals_s, ended_s]).max() < BLOCKED_S / 2
                film_arrivals_s = await grace.peer.arrivals(
                    section=grace.received[film.track_id].section, since_s=began_s, until_s=ended_s
                )
                assert len(film_arrivals_s) >= 0.9 * BLOCKED_S * 15
                await grace.hear(sound, 440)
            nursery.cancel_scope.cancel()
