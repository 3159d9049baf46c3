"""Sound as samples and sound over WebRTC, in one lobby: bots and aiortc peers hear each other."""

import math
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import repeat
from typing import Any

import pytest
import trio
from aiortc_remote import RemoteHost
from participants import Caller, join_call
from relay_service import RelayService
from sound_records import Record
from tones import AMPLITUDE

import voicebot
from signaling.messages import AudioListen, ErrorReply, PlayOpen, PlayOpened, encode_audio_frame
from voicebot.stream import WatchedStream, WebSocketUrl
from voicebot.testing import tone

RATE = 16_000
#: What aiortc peers send, against full scale: a sine, 3 dB less in each of the two channels that aiortc makes of it.
TONE_DB = 20 * math.log10(AMPLITUDE / math.sqrt(2) / math.sqrt(2) / 32768)
PATIENCE_SECONDS = 60


def endless_tone(hz: int, times_louder: float = 1.0) -> Iterator[bytes]:
    """A tone to be played until cleared, at 24 kHz; as loud as those of aiortc peers, or so many times."""
    return repeat(tone(hz, 1.0, rate=24_000, amplitude=times_louder * AMPLITUDE / 32768))


@asynccontextmanager
async def open_bot(url: str, lobby: str, name: str) -> AsyncIterator[voicebot.Connection]:
    async with voicebot.connect(url, lobby=lobby, name=name, is_bot=True) as bot:
        yield bot


async def speak(caller: Caller, hz: int) -> str:
    """Publish a tone; return the id of its track."""
    await caller.publish_tone(hz)
    await caller.negotiate()
    await caller.wait_connected()
    ((_, track_id),) = caller.published.items()
    return track_id


async def listen_to_mix(caller: Caller) -> int:
    """Receive the mix of everybody else, and nothing else; return its section."""
    section: int = await caller.peer.receive(kind="audio")
    offer = await caller.peer.offer()
    answer = await caller.connection.offer(offer["sdp"], mix=offer["mids"][section])
    await caller.peer.accept(sdp=answer.sdp)
    return section


def id_of(connection: voicebot.Connection) -> str:
    assert connection.participant_id is not None
    return connection.participant_id


async def next_event(connection: voicebot.Connection, wanted: type) -> Any:
    async for event in connection.events():
        if isinstance(event, wanted):
            return event
    raise AssertionError


async def test_tone_of_a_participant_arrives_at_a_bot_in_every_way(
    service: RelayService, lobby: str, host: RemoteHost
) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        async with (
            join_call(service.url, lobby, host) as ada,
            open_bot(service.url, lobby, "Echo") as bot,
        ):
            await speak(ada, 440)
            ada_id = id_of(ada.connection)
            async with bot.mixed(rate=RATE) as mixed, bot.speakers(rate=RATE) as speakers:
                # The bot itself is as loud all the while, and must not hear itself.
                playout = await bot.play(endless_tone(1000))
                assert await playout.wait_started()
                streams = [mixed, bot.participant(ada_id, rate=RATE), await anext(speakers)]
                assert [stream.participant for stream in streams] == [None, ada_id, ada_id]
                records = [Record(stream) for stream in streams]
                async with trio.open_nursery() as nursery:
                    for heard in records:
                        nursery.start_soon(heard.gather_tone, 440)
            for heard in records:
                assert heard.level_db == pytest.approx(TONE_DB, abs=1)
                assert heard.purity(440) > 0.99
                assert all(frame.level == pytest.approx(-TONE_DB, abs=1.5) for frame in heard.frames)
                assert heard.missing == []
            assert not playout.done


async def test_tone_of_a_bot_arrives_by_audio_slots_and_by_the_mix(
    service: RelayService, lobby: str, host: RemoteHost
) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        async with (
            join_call(service.url, lobby, host, name="Ada") as ada,
            join_call(service.url, lobby, host, name="Grace") as grace,
            open_bot(service.url, lobby, "Reader") as bot,
        ):
            await ada.listen()
            await ada.negotiate()
            mixed = await listen_to_mix(grace)
            playout = await bot.play(tone(700, 20.0, rate=24_000), rate=24_000)
            await ada.hear_voice(700)
            hz, purity = await grace.peer.wait_tone(section=mixed, hz=700, tolerance_hz=2.0)
            assert hz == pytest.approx(700, abs=1)
            assert purity > 0.98
            assert 0 < await bot.clear() < 20_000
            assert playout.interrupted
            # What came by WebRTC alone is in the mix as well.
            await ada.publish_tone(1000)
            await ada.negotiate()
            await grace.peer.wait_tone(section=mixed, hz=1000, tolerance_hz=2.0)


async def test_whisper_is_heard_by_whom_it_is_for_alone(
    service: RelayService, lobby: str, host: RemoteHost
) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        async with AsyncExitStack() as stack:
            ada = await stack.enter_async_context(join_call(service.url, lobby, host, name="Ada"))
            grace = await stack.enter_async_context(join_call(service.url, lobby, host, name="Grace"))
            prompter, confidant, stranger = [
                await stack.enter_async_context(open_bot(service.url, lobby, name))
                for name in ("Prompter", "Confidant", "Stranger")
            ]
            await speak(ada, 440)
            mixed = await listen_to_mix(grace)
            told, overheard = Record(confidant.mixed(rate=RATE)), Record(stranger.mixed(rate=RATE))
            await overheard.gather_tone(440)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(overheard.run)
                await prompter.play(endless_tone(1000, 3), to=grace.connection.participant_id)
                await prompter.play(endless_tone(1500, 3), to=confidant.participant_id)
                # They hear Ada as well; the whisper is what is loudest.
                await grace.peer.wait_tone(section=mixed, hz=1000, tolerance_hz=2.0)
                await told.gather_tone(1500, least_purity=0.8)
                await told.gather(0.5)
                nursery.cancel_scope.cancel()
            assert 0.85 < told.purity(1500) < 0.95  # nine to one
            assert overheard.purity(440) > 0.99
            assert (overheard.missing, overheard.stream.dropped) == ([], 0)
            # Nothing of it is published, so there is nothing of it in the audio slots.
            assert prompter.lobby.me is not None
            assert prompter.lobby.me.tracks == ()


async def test_two_who_whisper_to_the_same_are_both_heard(service: RelayService, lobby: str) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        async with (
            open_bot(service.url, lobby, "Prompter") as prompter,
            open_bot(service.url, lobby, "Souffleur") as souffleur,
            open_bot(service.url, lobby, "Actor") as actor,
            actor.mixed(rate=RATE) as stream,
        ):
            await prompter.play(endless_tone(1000), to=id_of(actor))
            await souffleur.play(endless_tone(1500), to=id_of(actor))
            told = await Record(stream).gather(0.5)
            while min(told.purity(1000), told.purity(1500)) < 0.45:
                told = await Record(stream).gather(0.5)
            assert told.purity(1000) + told.purity(1500) > 0.98


async def test_cleared_milliseconds_are_those_that_another_bot_heard(
    service: RelayService, lobby: str
) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        async with (
            open_bot(service.url, lobby, "Reader") as reader,
            open_bot(service.url, lobby, "Recorder") as recorder,
            recorder.mixed(rate=RATE) as stream,
        ):
            for least_ms in (1, 300, 1234):
                heard = Record(stream)
                playout = await reader.play(endless_tone(600))
                behind = await reader.play(endless_tone(900))
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(heard.run)
                    while playout.played_ms < least_ms:
                        await heard.wait_more()
                    cleared_ms = await reader.clear()
                    await heard.wait_silence(25)
                    nursery.cancel_scope.cancel()
                assert heard.audible_ms == pytest.approx(cleared_ms, abs=20)
                assert playout.played_ms == cleared_ms
                assert (await playout.wait(), await behind.wait()) == (False, False)
                assert behind.played_ms == 0
                assert heard.missing == []


async def test_bot_that_misbehaves_is_told_why_and_others_hear_no_gap(
    service: RelayService, lobby: str, host: RemoteHost
) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        async with (
            join_call(service.url, lobby, host) as ada,
            open_bot(service.url, lobby, "Witness") as witness,
        ):
            await speak(ada, 440)
            heard = Record(witness.mixed(rate=RATE))
            await heard.gather_tone(440)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(heard.run)
                await send_nonsense(service.url, lobby)
                await ask_for_wrong_rates(service.url, lobby)
                await play_too_much(service.url, lobby)
                await flood(service.url, lobby)
                await heard.wait_more(25)
                nursery.cancel_scope.cancel()
            assert heard.missing == []
            assert heard.stream.dropped == 0
            assert heard.purity(440) > 0.99


#: Frames of a playout that is open, and what its sender is told; ``S`` is where its number is.
NONSENSE = {
    b"": "expected a header of 16 bytes",
    b"garbage": "expected a header of 16 bytes",
    struct.pack("<BB2sBxHQ", 1, 0, b"SS", 0, 2, 0) + b"odd": "expected an even number",
    struct.pack("<BB2sBxHQ", 1, 0, b"SS", 0, 160, 0) + bytes(2): "expected as many as follow, 1",
    struct.pack("<BB2sBxHQ", 9, 0, b"SS", 0, 0, 0): "version 9 is not known",
    struct.pack("<BBHBxHQ", 1, 0, 9999, 0, 0, 0): "there is no stream 9999",
    struct.pack("<BB2sBxHQ", 1, 0, b"SS", 0, 24_001, 0) + bytes(48_002): "expected at most 24000 in a frame",
}


async def send_nonsense(url: str, lobby: str) -> None:
    async with open_bot(url, lobby, "Mallory") as mallory:
        opened = await mallory.request(PlayOpen(rate=24_000))
        assert isinstance(opened, PlayOpened)
        for frame, why in NONSENSE.items():
            await mallory.send_audio(frame.replace(b"SS", struct.pack("<H", opened.stream)))
            refusal = await next_event(mallory, ErrorReply)
            assert refusal.code == "invalid_audio"
            assert why in refusal.error
        # It may go on; but ten in a row are enough.
        playout = await mallory.play(bytes(3200), rate=16_000)
        await mallory.send_audio(encode_audio_frame(opened.stream, b"", end=True))
        assert await playout.wait()
        for _ in range(10):
            await mallory.send_audio(b"garbage")
        lost = await next_event(mallory, voicebot.Disconnected)
        assert (lost.code, lost.reason) == (1008, "too many binary frames that are no audio frames")


async def ask_for_wrong_rates(url: str, lobby: str) -> None:
    async with open_bot(url, lobby, "Mallory") as mallory:
        for rate in (0, -1, 11_025, 44_100, 2**40, 16_000.5, "fast", None):
            for message in (
                PlayOpen.model_construct(rate=rate, to=None),
                AudioListen.model_construct(what="mixed", participant_id=None, rate=rate, frame_ms=20),
            ):
                with pytest.raises(voicebot.ProtocolError, match="48000"):
                    await mallory.request(message)


async def play_too_much(url: str, lobby: str) -> None:
    """Give it 61 s of sound at once, which no client of ours does."""
    async with open_bot(url, lobby, "Mallory") as mallory:
        opened = await mallory.request(PlayOpen(rate=8_000))
        assert isinstance(opened, PlayOpened)
        second = encode_audio_frame(opened.stream, bytes(16_000))
        for _ in range(63):
            await mallory.send_audio(second)
        refusal = await next_event(mallory, ErrorReply)
        assert refusal.code == "play_overflow"
        assert "expected at most 60 s" in refusal.error
        await mallory.clear()


async def flood(url: str, lobby: str) -> None:
    """Send until the relay has enough of it."""
    async with voicebot.connect(url, lobby=lobby, name="Mallory", is_bot=True, reconnect=False) as mallory:
        opened = await mallory.request(PlayOpen(rate=48_000))
        assert isinstance(opened, PlayOpened)
        sample = encode_audio_frame(opened.stream, bytes(2))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_until_lost, mallory, sample)
            refusal = await next_event(mallory, ErrorReply)
            assert refusal.code == "rate_limited"
            assert "200 binary frames a second: send longer ones" in refusal.error
            lost = await next_event(mallory, voicebot.Disconnected)
            assert lost.code == 1008


async def send_until_lost(bot: voicebot.Connection, frame: bytes) -> None:
    with suppress(voicebot.ConnectionLostError):
        while True:
            await bot.send_audio(frame)


class StallingStream(WatchedStream):
    """A connection whose client does not read while it does not flow."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        super().__init__(stream)
        self.flowing = trio.Event()
        self.flowing.set()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        received = await super().receive_some(max_bytes)
        await self.flowing.wait()
        return received


@asynccontextmanager
async def open_stalling_bot(
    url: str, lobby: str
) -> AsyncIterator[tuple[voicebot.Connection, StallingStream]]:
    address = WebSocketUrl.parse(url)
    client = trio.socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)  # the kernel is not to read in its place
    await client.connect((address.host, address.port))
    stream = StallingStream(trio.SocketStream(client))

    async def open_stream() -> trio.abc.Stream:
        return stream

    async with voicebot.connect(
        url, lobby=lobby, name="Slow", is_bot=True, reconnect=False, open_stream=open_stream
    ) as bot:
        yield bot, stream


async def test_bot_that_does_not_read_hurts_only_itself(
    service: RelayService, lobby: str, host: RemoteHost
) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        async with (
            join_call(service.url, lobby, host) as ada,
            open_bot(service.url, lobby, "Witness") as witness,
            open_stalling_bot(service.url, lobby) as (slow, line),
        ):
            await speak(ada, 440)
            heard = Record(witness.mixed(rate=RATE))
            await heard.gather_tone(440)
            streams = [Record(slow.mixed(rate=48_000)) for _ in range(8)]
            async with trio.open_nursery() as nursery:
                for each in (heard, *streams):
                    nursery.start_soon(each.run)
                for each in streams:
                    await each.wait_more()
                line.flowing = trio.Event()
                await heard.wait_more(200)
                line.flowing.set()
                while not all(each.missing for each in streams):
                    await heard.wait_more()
                nursery.cancel_scope.cancel()
            assert heard.missing == []
            # It has lost what is oldest, and hears on.
            assert all(len(each.missing) == 1 for each in streams)
            assert slow.connected


async def test_who_speaks_interrupts_a_bot(service: RelayService, lobby: str, host: RemoteHost) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        async with (
            join_call(service.url, lobby, host) as ada,
            open_bot(service.url, lobby, "Reader") as reader,
            open_bot(service.url, lobby, "Recorder") as recorder,
        ):
            track_id = await speak(ada, 220)
            await ada.connection.mute(track_id)
            heard = Record(recorder.participant(id_of(reader), rate=RATE))
            async with trio.open_nursery() as nursery:
                playout = await reader.play(
                    endless_tone(1000), interruptible=voicebot.BargeIn(min_ms=300, duck_db=-12)
                )
                nursery.start_soon(heard.run)
                assert await playout.wait_started()
                await heard.wait_more(25)
                await ada.connection.mute(track_id, muted=False)
                assert not await playout.wait()
                await heard.wait_silence(25)
                nursery.cancel_scope.cancel()
            assert playout.interrupted_by == id_of(ada.connection)
            assert heard.audible_ms == pytest.approx(playout.played_ms, abs=40)
