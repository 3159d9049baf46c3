"""A lobby for the tests of bots: no server, no sockets, no threads, and time that passes as fast as it can.

async def test_it_greets(autojump_clock):
    async with FakeLobby() as lobby:
        await lobby.start(GreetingBot)
        ann = lobby.add_participant("Ann")
        await ann.speak(tone(440, 1.0), rate=16000)
        await lobby.wait_silence()
        assert lobby.heard("Bot")[0].played_ms == 1500
"""

from voicebot.testing.fake_lobby import FakeLobby, Person, RunningBot
from voicebot.testing.fake_voices import Heard
from voicebot.testing.sounds import silence, tone
from voicebot.testing.threads import threads_take_no_time

__all__ = ["FakeLobby", "Heard", "Person", "RunningBot", "silence", "threads_take_no_time", "tone"]
