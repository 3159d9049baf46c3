"""The mix through the whole relay: SRTP over real sockets in, PCM and SRTP out."""

from contextlib import AsyncExitStack
from itertools import pairwise

import numpy as np
import pytest
import trio
from client_sdp import audio, read_answer
from media_peer import LOOPBACK, TWO_WORKERS, open_peer, open_publisher
from voices import Talker, amplitudes, heard, measure_unbroken, talk_and_listen, tone
from waiting import eventually, rows_in_use

from relay import LocalProtocolError, open_relay

FREQUENCIES = (400, 700, 1000, 1300, 1600)
pytestmark = pytest.mark.usefixtures("kernels")

LOUD, ABSENT = 0.12, 0.006
SECONDS = 60


async def collect(ear, seconds):
    """Frames an ear gets in this time."""
    frames = []
    with trio.move_on_after(seconds):
        while True:
            frames += await ear.receive()
    return frames


def sound_of(frames):
    return np.concatenate([frame.samples for frame in frames])


async def test_mix_gives_each_talker_all_but_itself_when_five_talk():
    with trio.fail_after(SECONDS):
        async with (
            open_relay(TWO_WORKERS) as router,
            trio.open_nursery() as nursery,
            AsyncExitStack() as stack,
        ):
            mix = router.open_mix()
            tracks, people = {}, []
            for index, frequency in enumerate(FREQUENCIES):
                peer = await stack.enter_async_context(open_peer(router))
                out, back = talk_and_listen(ssrc=index + 1)
                own = tracks.setdefault(frequency, [])
                result = peer.relay_peer.accept_offer(
                    peer.offer_text(out, back),
                    publish={"0": "microphone"},
                    subscribe={"1": mix.listen(lambda own=own: own)},
                )
                take_answer(peer, result, out, back)
                own.append(result.published["0"])
                mix.add(result.published["0"])
                people.append((frequency, peer))
            listener = await stack.enter_async_context(open_peer(router))
            back = audio("1", "recvonly")
            result = listener.relay_peer.accept_offer(
                listener.offer_text(back), subscribe={"1": mix.listen(lambda: ())}
            )
            take_answer(listener, result, back)
            for _, peer in (*people, (None, listener)):
                await peer.connect()
            for frequency, peer in people:
                nursery.start_soon(Talker(peer, frequency).run)
            await trio.sleep(1)

            async def listen():
                for _, peer in (*people, (None, listener)):
                    peer.rtp.clear()
                before = router.statistics().mixers[0].tallies
                await trio.sleep(1.3)
                after = router.statistics().mixers[0].tallies
                ticks = after["ticks"] - before["ticks"]
                assert after["frames_encoded"] - before["frames_encoded"] == pytest.approx(6 * ticks, abs=6)
                return [(frequency, peer.rtp[:60]) for frequency, peer in (*people, (None, listener))]

            for frequency, packets in await measure_unbroken(router, listen):
                numbers = [packet.sequence_number for packet in packets]
                assert [number - numbers[0] & 0xFFFF for number in numbers] == list(range(60))
                stamps = [packet.timestamp for packet in packets]
                assert {b - a & 0xFFFFFFFF for a, b in pairwise(stamps)} == {960}
                found = amplitudes(heard(packets)[9600:], FREQUENCIES)
                for each, amplitude in found.items():
                    if each == frequency:
                        assert amplitude < ABSENT, (frequency, found)
                    else:
                        assert amplitude > LOUD, (frequency, found)
            nursery.cancel_scope.cancel()


def take_answer(peer, result, *sections):
    peer.sections = {section.mid: section for section in sections}
    peer._answer = read_answer(result.sdp)


async def test_mix_encodes_once_when_many_listen_and_stops_when_nobody_talks():
    with trio.fail_after(SECONDS):
        async with open_relay(LOOPBACK) as router, AsyncExitStack() as stack:
            mix = router.open_mix()
            listeners = []
            for _ in range(5):
                peer = await stack.enter_async_context(open_peer(router))
                back = audio("1", "recvonly")
                result = peer.relay_peer.accept_offer(
                    peer.offer_text(back), subscribe={"1": mix.listen(lambda: ())}
                )
                take_answer(peer, result, back)
                await peer.connect()
                listeners.append(peer)
            mouth = mix.open_mouth(rate=16_000, to="nobody in particular")
            mouth.close()
            async with open_publisher(router, audio("0", "sendonly", ssrc=9)) as (ada, (track,)):
                mix.add(track)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(Talker(ada, 500).run)
                    await listeners[0].wait_until(lambda: len(listeners[0].rtp) >= 50)
                    nursery.cancel_scope.cancel()
                tallies = router.statistics().mixers[0].tallies
                packets = sum(len(peer.rtp) for peer in listeners)
                assert packets > 4 * tallies["frames_encoded"]
                context = router.mixers[0].memory.context
                sleeps = int(context["sleeps"][0])
                await eventually(lambda: int(context["sleeps"][0]) > sleeps)
                # Two seconds of silence are sent, and then nothing.
                before = router.statistics().mixers[0].tallies
                encoded = before["frames_encoded"] - tallies["frames_encoded"]
                assert encoded == pytest.approx(before["ticks"] - tallies["ticks"], abs=2)
                assert encoded >= 100
                sleeps = int(context["sleeps"][0])
                await trio.sleep(0.5)
                assert router.statistics().mixers[0].tallies["ticks"] == before["ticks"]
                assert int(context["sleeps"][0]) <= sleeps + 1


async def test_listener_hears_no_seam_when_it_begins_and_ends_to_talk():
    with trio.fail_after(SECONDS):
        async with open_relay(LOOPBACK) as router, open_peer(router) as ada, trio.open_nursery() as nursery:
            mix = router.open_mix()
            mouth = mix.open_mouth(rate=48_000)
            own = []
            out, back = talk_and_listen()
            result = ada.relay_peer.accept_offer(
                ada.offer_text(out, back), publish={"0": "mic"}, subscribe={"1": mix.listen(lambda: own)}
            )
            take_answer(ada, result, out, back)
            own.append(result.published["0"])
            mix.add(own[0])
            await ada.connect()
            mouth.queue(tone(600, 4.0))
            talker = Talker(ada, None)
            nursery.start_soon(talker.run)
            await trio.sleep(1)
            talker.frequency = 900
            await trio.sleep(1)
            talker.frequency = None
            await trio.sleep(1.5)
            nursery.cancel_scope.cancel()
        packets = ada.rtp
        numbers = [packet.sequence_number - packets[0].sequence_number & 0xFFFF for packet in packets]
        assert numbers == list(range(len(packets)))
        assert len({packet.ssrc for packet in packets}) == 1
        sound = heard(packets)[4_800:]
        found = amplitudes(sound, (600, 900))
        assert found[600] > LOUD
        assert found[900] < 0.002  # itself
        # A pure tone: nothing in it changes faster than the tone does.
        steepest = 2 * np.pi * 600 / 48_000 * 0.2
        assert np.abs(np.diff(sound)).max() < 1.6 * steepest


async def test_ear_hears_bots_and_people_when_they_talk():
    with trio.fail_after(SECONDS):
        async with (
            open_relay(LOOPBACK) as router,
            open_publisher(router, audio("0", "sendonly", ssrc=9)) as (ada, (track,)),
            trio.open_nursery() as nursery,
        ):
            mix = router.open_mix()
            mix.add(track)
            mouth = mix.open_mouth(rate=24_000)
            talker = Talker(ada, None)
            nursery.start_soon(talker.run)

            async def listen():
                # After a pause: a tone that goes on for seconds is no voice but a hum.
                talker.frequency = None
                await trio.sleep(0.5)
                talker.frequency = 500
                ears = {
                    "all": mix.open_ear(rate=16_000),
                    "others": mix.open_ear(rate=16_000, without=lambda: (mouth,)),
                    "ada": mix.open_ear(rate=8_000, track=track),
                    "mouth": mix.open_ear(rate=48_000, track=mouth),
                }
                frames = {}

                async def hear(name):
                    frames[name] = await collect(ears[name], 1.5)

                mouth.queue(tone(800, 2, rate=24_000))
                async with trio.open_nursery() as listening:
                    for name in ears:
                        listening.start_soon(hear, name)
                await mouth.clear()
                for ear in ears.values():
                    assert ear.dropped == 0
                    ear.close()
                return [(ears[name].rate, frames[name], name) for name in ears]

            measured = await measure_unbroken(router, listen)
            nursery.cancel_scope.cancel()
    expected = {"all": (500, 800), "others": (500,), "ada": (500,), "mouth": (800,)}
    for rate, frames, name in measured:
        sound = sound_of(frames)[rate // 2 : rate]
        found = amplitudes(sound, (500, 800), rate=rate)
        for frequency, amplitude in found.items():
            wanted = 0.2 if frequency in expected[name] else 0
            assert amplitude == pytest.approx(wanted, abs=0.02), (name, found)
        stamps = [frame.timestamp for frame in frames]
        assert {b - a for a, b in pairwise(stamps)} == {rate // 50}
        assert not any(frame.gap for frame in frames)
        assert {frame.samples.size for frame in frames} == {rate // 50}
        assert frames[30].voiced


async def test_ear_begins_with_what_was_just_heard_when_the_mix_is_awake():
    with trio.fail_after(SECONDS):
        async with open_relay(LOOPBACK) as router:
            mix = router.open_mix()
            mouth = mix.open_mouth(rate=16_000)
            early = mix.open_ear(rate=16_000)
            mouth.queue(tone(500, 10, rate=16_000))
            assert (await early.receive())[0].timestamp > 0
            assert await mouth.wait_played(8_000)
            ears = (
                mix.open_ear(rate=16_000),
                mix.open_ear(rate=16_000, track=mouth),
                mix.open_ear(rate=16_000, without=lambda: (mouth,)),
            )
            all_heard, voice, without = [(await ear.receive())[0] for ear in ears]
            for frame in (all_heard, voice):
                assert frame.timestamp == 0
                assert np.abs(frame.samples).max() > 3_000
            # What it must not hear was in the mix of a moment ago.
            assert without.timestamp > 0
            assert np.abs(without.samples).max() < 100


async def test_clear_silences_within_a_tick_and_tells_what_was_played():
    with trio.fail_after(SECONDS):
        async with open_relay(LOOPBACK) as router, trio.open_nursery() as nursery:
            mix = router.open_mix()
            mouth = mix.open_mouth(rate=16_000)
            ear = mix.open_ear(rate=16_000)
            frames = []

            async def listen():
                frames.extend(await collect(ear, 2))

            nursery.start_soon(listen)
            for _ in range(3):
                position = mouth.played
                mouth.queue(tone(440, 30, rate=16_000))
                await trio.sleep(0.25)
                played = await mouth.clear() - position
                assert 0.1 < played / 16_000 < 0.4
                assert mouth.queued == mouth.played
                await trio.sleep(0.3)
        sound = sound_of(frames)
        loud = np.abs(sound.reshape(-1, 320)).max(axis=1) > 100
        runs = np.diff(np.flatnonzero(np.diff(np.concatenate(([0], loud, [0]))))).tolist()[::2]
        assert len(runs) == 3
        total = sum(runs) * 320
        # Each run may have a part of a frame more at both ends: the fade, and what the filters ring.
        assert total - mouth.played <= 3 * 2 * 320
        assert mouth.played <= total


async def test_wait_played_tells_what_was_cleared():
    with trio.fail_after(SECONDS):
        async with open_relay(LOOPBACK) as router:
            mix = router.open_mix()
            mouth = mix.open_mouth(rate=8_000)
            assert await mouth.wait_played(mouth.queue(tone(440, 0.2, rate=8_000)))
            position = mouth.queue(tone(440, 0.11, rate=8_000))
            mouth.finish()
            assert await mouth.wait_played(position)
            position = mouth.queue(tone(440, 5, rate=8_000))
            outcome = []

            async def wait():
                outcome.append(await mouth.wait_played(position))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await eventually(lambda: mouth.played > position - 40_000)
                await mouth.clear()
            assert outcome == [False]


async def test_mouth_goes_on_after_the_end_of_what_was_no_whole_frame():
    with trio.fail_after(SECONDS):
        async with open_relay(LOOPBACK) as router:
            mouth = router.open_mix().open_mouth(rate=8_000)
            first = mouth.queue(tone(440, 0.705, rate=8_000))  # more than the mixer's ring holds
            mouth.finish()
            second = mouth.queue(tone(440, 0.013, rate=8_000))
            assert await mouth.wait_played(first)
            assert mouth.played < second
            mouth.finish()
            assert await mouth.wait_played(second)


async def test_muted_mouth_is_silent_for_all_who_hear_it():
    with trio.fail_after(SECONDS):
        async with open_relay(LOOPBACK) as router:
            mix = router.open_mix()
            mouth, ear = mix.open_mouth(rate=16_000), mix.open_ear(rate=16_000)
            mouth.track.set_muted(True)
            mouth.queue(tone(500, 0.4, rate=16_000))
            position = mouth.queue(tone(500, 0.4, rate=16_000))
            assert await mouth.wait_played(position // 2)
            mouth.track.set_muted(False)
            assert await mouth.wait_played(position)
            frames = await collect(ear, 0.1)
            sound = sound_of(frames)
        # The ear has the last 32 frames, of which the first are from before.
        assert np.abs(sound[:1_600]).max() == 0
        assert np.abs(sound[-1_600:]).max() > 3_000


async def test_whisper_reaches_only_its_listener():
    with trio.fail_after(SECONDS):
        async with open_relay(LOOPBACK) as router, trio.open_nursery() as nursery:
            mix = router.open_mix()
            mouth = mix.open_mouth(rate=16_000)
            whisper = mix.open_mouth(rate=16_000, to="bob")
            assert whisper.track is None
            ears = {name: mix.open_ear(rate=16_000, listener=name) for name in ("ada", "bob")}
            mouth.queue(tone(500, 2, rate=16_000))
            whisper.queue(tone(900, 2, rate=16_000))
            frames = {}

            async def listen(name):
                frames[name] = await collect(ears[name], 1)

            async with trio.open_nursery() as listening:
                for name in ears:
                    listening.start_soon(listen, name)
            nursery.cancel_scope.cancel()
        for name, loud in {"ada": 0, "bob": 0.2}.items():
            found = amplitudes(sound_of(frames[name])[3_200:], (500, 900), rate=16_000)
            assert found[500] == pytest.approx(0.2, abs=0.01)
            assert found[900] == pytest.approx(loud, abs=0.01)


async def test_mouth_is_a_track_for_those_who_do_not_take_the_mix():
    with trio.fail_after(SECONDS):
        async with open_relay(TWO_WORKERS) as router, open_peer(router) as bob:
            mix = router.open_mix()
            mouth = mix.open_mouth(rate=16_000)
            mix.add(mouth.track)  # a second time would double it
            bob.subscribe((audio("0", "recvonly"), mouth.track))
            await bob.connect()
            mouth.queue(tone(700, 3, rate=16_000))
            packets = await bob.take_rtp(60)
            assert amplitudes(heard(packets)[9_600:], (700,))[700] == pytest.approx(0.2, abs=0.03)
            mouth.close()
            assert mouth.track.closed


def workers_rows(router):
    """Without the peers: one of them comes and goes."""
    return [rows | {"peer": 0} for rows in rows_in_use(router)]


async def test_mix_leaves_nothing_behind_when_it_is_closed():
    with trio.fail_after(SECONDS):
        async with (
            open_relay(LOOPBACK) as router,
            open_publisher(router, audio("0", "sendonly", ssrc=9)) as (_, (track,)),
            open_peer(router) as bob,
        ):
            before = workers_rows(router)
            mix = router.open_mix()
            mix.add(track)
            ear, mouth = mix.open_ear(rate=8_000), mix.open_mouth(rate=8_000)
            listening = mix.listen(lambda: ())
            back = audio("1", "recvonly")
            take_answer(
                bob, bob.relay_peer.accept_offer(bob.offer_text(back), subscribe={"1": listening}), back
            )
            mix.close()
            assert listening.closed
            with pytest.raises(LocalProtocolError):
                mouth.queue(tone(440, 1, rate=8_000))
            with pytest.raises(LocalProtocolError):
                await ear.receive()
            await eventually(lambda: not any(router.mixers[0].rows_in_use().values()))
            bob.relay_peer.close("done")
            await eventually(lambda: workers_rows(router) == before)
