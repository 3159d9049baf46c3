"""Sound as samples over real sockets, with a mixer of the tests: what bots do, and what they must not."""

import json

import numpy as np
import trio
from http_requests import fetch
from offers import Section, make_offer
from raw_client import RawWebSocket, raw_websocket
from running_server import running_server
from trio_websocket import ConnectionClosed
from voice_client import Mixes
from wire_client import Client, connected, in_lobby
from wsproto.events import BytesMessage, Ping, Pong, TextMessage

from signaling.messages import (
    Answer,
    AudioFrameWire,
    AudioListen,
    AudioListening,
    ChatSend,
    ChatSent,
    ErrorCode,
    ErrorReply,
    Offer,
    ParticipantJoined,
    PlayClear,
    PlayCleared,
    PlayOpen,
    PlayOpened,
    PlayProgress,
    PrivateAudio,
    PublishRequest,
    Subscribe,
    Subscribed,
    SubscribedTrack,
    SubscribeRequest,
    decode_audio_frame_untrusted,
    encode_audio_frame,
)
from signaling.voices.stream import MAX_FRAMES


async def next_frame(client: Client) -> AudioFrameWire:
    return decode_audio_frame_untrusted(await client.next_sound())


async def listen(client: Client, rate: int = 16000) -> int:
    return (await client.expect(AudioListen(what="mixed", rate=rate), AudioListening)).stream


async def play_open(client: Client, rate: int = 16000) -> int:
    return (await client.expect(PlayOpen(rate=rate), PlayOpened)).stream


async def progress(client: Client, state: str) -> PlayProgress:
    while True:
        told = await client.until(PlayProgress)
        if told.state == state:
            return told


async def test_a_microphone_is_heard_by_a_bot_and_a_bot_is_heard() -> None:
    mixes = Mixes()
    async with (
        running_server(open_mix=mixes) as server,
        in_lobby(server.url, name="Ada") as ada,
        in_lobby(server.url, name="Bot", is_bot=True) as bot,
    ):
        wish = PublishRequest(mid="0", source="microphone")
        await ada.expect(Offer(sdp=make_offer(Section("0"), identity="ada"), publish=(wish,)), Answer)
        stream = await listen(bot)
        mix = mixes.only
        (track,) = mix.tracks
        mix.tick({track: 123})
        frame = await next_frame(bot)
        assert (frame.stream, frame.samples, frame.voiced) == (stream, 320, True)
        assert set(np.frombuffer(frame.pcm, "<i2").tolist()) == {123}
        playout = await play_open(bot, 24000)
        samples = np.arange(24000, dtype="<i2")
        for at, end in ((0, 7777), (7777, 7778), (7778, 24000)):
            await bot.send_bytes(encode_audio_frame(playout, samples[at:end].tobytes(), end=end == 24000))
        await bot.expect(ChatSend(text="all is sent"), ChatSent)
        for _ in range(50):
            mix.tick()
        done = await progress(bot, "done")
        assert (done.stream, done.played_ms) == (playout, 1000)
        assert mix.mouths[0].heard == samples.tolist()
        metrics = (await fetch(server.url, "/metrics")).body.decode()
        assert 'signaling_sound_frames_total{fate="received"} 3.0' in metrics
        assert 'signaling_playouts_total{end="done"} 1.0' in metrics


async def test_clear_over_the_wire_says_what_was_heard() -> None:
    mixes = Mixes()
    async with running_server(open_mix=mixes) as server, in_lobby(server.url, name="Bot") as bot:
        playout = await play_open(bot)
        await bot.send_bytes(encode_audio_frame(playout, bytes(32000)))
        await bot.expect(ChatSend(text="all is sent"), ChatSent)
        for _ in range(7):
            mixes.only.tick()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mixes.only.run)
            cleared = await bot.expect(PlayClear(), PlayCleared)
            nursery.cancel_scope.cancel()
        assert cleared.played_ms == {playout: len(mixes.only.mouths[0].heard) / 16}
        assert 140 <= cleared.played_ms[playout] < 1000


async def test_a_bot_that_does_not_read_misses_sound_and_no_message_and_delays_nobody() -> None:
    mixes = Mixes()
    async with (
        running_server(open_mix=mixes, send_queue_bytes=65_536) as server,
        in_lobby(server.url, name="Ada") as ada,
        raw_websocket(server.url, receive_buffer_bytes=4096) as slow,
    ):
        await listen(ada)
        await slow.send_message("join", lobby="garden", name="Slow")
        await slow.send_message("audio_listen", what="mixed", rate=48000, frame_ms=100)
        await ada.event(ParticipantJoined)
        mix, sound = mixes.only, server.service.lobbies.sound
        with trio.fail_after(30):
            while len(mix.ears) < 2:  # noqa: ASYNC110 - the mixer of the tests tells nobody
                await trio.sleep(0.001)
            ticks = 0
            while not sound.dropped:  # as much as it takes to fill what the system buffers
                for _ in range(20):
                    mix.tick()
                    ticks += 1
                for _ in range(20):
                    await ada.next_sound()
        assert (await ada.expect(ChatSend(text="undisturbed"), ChatSent)).seq == 1
        for _ in range(5 * MAX_FRAMES):
            mix.tick()
        frames, texts = await read_until_chat(slow)
        assert server.service.counters.websockets_closed["try_later"] == 0
        assert "chat" in texts
        assert sum(each.gap for each in frames) >= 1
        size = 4800
        expected = 0
        for each in frames:
            assert each.samples == size
            assert each.gap == (each.timestamp != expected)
            expected = each.timestamp + size


async def read_until_chat(slow: RawWebSocket) -> tuple[list[AudioFrameWire], list[str]]:
    """Read until the line of chat has come, and then what comes for a frame that says that some are missing."""
    frames: list[AudioFrameWire] = []
    texts: list[str] = []
    whole = bytearray()
    while "chat" not in texts or not any(each.gap for each in frames):
        event = await slow.next_event()
        if isinstance(event, BytesMessage):
            whole += event.data
            if event.message_finished:
                frames.append(decode_audio_frame_untrusted(bytes(whole)))
                whole.clear()
        elif isinstance(event, TextMessage):
            assert event.message_finished
            texts.append(json.loads(event.data)["type"])
        elif isinstance(event, Ping):
            await slow.send(Pong(payload=event.payload))
    return frames, texts


async def test_a_bot_that_floods_or_sends_rubbish_is_closed_and_told_why() -> None:
    mixes = Mixes()
    async with (
        running_server(open_mix=mixes) as server,
        in_lobby(server.url, name="Ada") as ada,
        in_lobby(server.url, name="Rubbish") as rubbish,
        in_lobby(server.url, name="Flood") as flood,
    ):
        for _ in range(10):
            await rubbish.send_bytes(b"\x01odd")
        code, reason, read = await rubbish.closed()
        assert code == 1008
        assert "no audio frames" in reason
        assert (
            sum(isinstance(each, ErrorReply) and each.code == ErrorCode.INVALID_AUDIO for each in read) == 10
        )
        playout = await play_open(flood)
        frame = encode_audio_frame(playout, bytes(2))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_for_ever, flood, frame)
            code, _, read = await flood.closed()
            nursery.cancel_scope.cancel()
        assert code == 1008
        assert any(isinstance(each, ErrorReply) and each.code == ErrorCode.RATE_LIMITED for each in read)
        assert await ada.expect(ChatSend(text="undisturbed"), ChatSent)


async def send_for_ever(client: Client, message: bytes) -> None:
    try:
        while True:
            await client.send_bytes(message)
    except ConnectionClosed:
        return


async def test_a_bot_that_comes_back_hears_and_speaks_on() -> None:
    mixes = Mixes()
    async with running_server(open_mix=mixes) as server:
        async with connected(server.url) as bot:
            await bot.join(name="Bot")
            stream, playout = await listen(bot), await play_open(bot)
            await bot.send_bytes(encode_audio_frame(playout, bytes(6400)))
            mixes.only.tick()
            assert (await next_frame(bot)).timestamp == 0
            await bot.drop()
        with trio.fail_after(20):
            while any(each.attached for each in server.service.sessions):  # noqa: ASYNC110 - it tells nobody
                await trio.sleep(0.001)
        mixes.only.tick()
        async with connected(server.url) as back:
            resumed = await back.resume_after(bot)
            assert resumed.audio_streams == (stream, playout)
            mixes.only.tick()
            frame = await next_frame(back)
            assert (frame.stream, frame.timestamp, frame.gap) == (stream, 640, True)
            await back.send_bytes(encode_audio_frame(playout, bytes(640), end=True))
            await back.expect(ChatSend(text="all is sent"), ChatSent)
            for _ in range(10):
                mixes.only.tick()
            assert (await progress(back, "done")).played_ms == 220


async def test_who_is_whispered_to_is_told_also_when_it_comes_back() -> None:
    async with running_server(open_mix=Mixes()) as server, in_lobby(server.url, name="Bot") as bot:
        async with connected(server.url) as ada:
            ada_id = (await ada.join(name="Ada")).participant_id
            bot_id = bot.joined.participant_id
            await bot.expect(PlayOpen(rate=16000, to=ada_id), PlayOpened)
            assert (await ada.until(PrivateAudio)).participant_ids == (bot_id,)
            await ada.drop()
        async with connected(server.url) as back:
            assert (await back.resume_after(ada)).private_audio == (bot_id,)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.service.lobbies.open["garden"].mix.require().run)
                await bot.expect(PlayClear(), PlayCleared)
                nursery.cancel_scope.cancel()
            assert (await back.until(PrivateAudio)).participant_ids == ()


async def test_a_section_may_carry_the_mix() -> None:
    mixes = Mixes()
    async with running_server(open_mix=mixes) as server, in_lobby(server.url, name="Ada") as ada:
        sections = [Section(mid, direction="recvonly") for mid in ("a", "b")]
        wishes = (SubscribeRequest(mid="a", mix=True), SubscribeRequest(mid="b", slot=0))
        answer = await ada.expect(Offer(sdp=make_offer(*sections, identity="ada"), subscribe=wishes), Answer)
        assert answer.refused == ()
        assert answer.subscribed == (SubscribedTrack(mid="a", mix=True), SubscribedTrack(mid="b", slot=0))
        assert await ada.expect(Subscribe(mid="b", mix=True), Subscribed) == Subscribed(mid="b", mix=True)
        assert [each.attached for each in mixes.only.sources] == [1, 1]


async def test_a_server_that_stops_lets_go_of_streams_and_playouts() -> None:
    mixes = Mixes()
    async with trio.open_nursery() as nursery:
        async with running_server(open_mix=mixes) as server:
            bot = await nursery.start(stay_to_the_end, server.url)
            await listen(bot)
            await bot.send_bytes(encode_audio_frame(await play_open(bot), bytes(640)))
            await bot.expect(ChatSend(text="all is sent"), ChatSent)
        assert (await bot.closed())[0] == 1001
        nursery.cancel_scope.cancel()
    assert mixes.only.closed
    assert (mixes.only.open_ears, mixes.only.open_mouths) == ([], [])
    assert not server.service.counters.failures


async def stay_to_the_end(url: str, task_status: trio.TaskStatus[Client]) -> None:
    async with in_lobby(url, name="Bot") as bot:
        task_status.started(bot)
        await trio.sleep_forever()
