"""The client library of trio-relay: connect to a lobby from Python, as a bot, a test or a load generator.

    async with voicebot.connect("ws://127.0.0.1:8080/ws", lobby="garden", name="Echo") as connection:
        await connection.chat("hello")
        async for event in connection.events():
            ...

Sound comes and goes as samples, over the same connection::

    async for frame in connection.mixed(rate=16000): ...     # or `participant(id)`, or `speakers()`
    playout = await connection.play(pcm, rate=24000, interruptible=True)
    await playout.wait()

WebRTC is the caller's own (aiortc, for instance): ``Connection.offer`` carries its descriptions. To hear a lobby that way, offer as many
``recvonly`` audio sections as ``connection.lobby.audio_slots`` says and name them in ``listen``: whoever speaks is heard there, and
nobody who comes or goes needs another offer. Single tracks are taken by name with ``subscribe``.

A bot that is started when a relay's users ask for it is a ``Bot``, run by a ``Provider``: see ``voicebot/chat_bot.py``.

The messages themselves are in ``signaling.messages``.
"""

from voicebot.audio import (
    AudioFrame,
    AudioStream,
    BargeIn,
    Playout,
    PlayoutEnded,
    PlayoutError,
    Samples,
    Sound,
    Speakers,
)
from voicebot.backoff import Backoff
from voicebot.bot import Assignment, Bot, UnansweredError
from voicebot.bot_runner import BotRunner
from voicebot.chat_bot import ChatBot
from voicebot.connection import Connection, ConnectionStatistics
from voicebot.errors import (
    ConnectError,
    ConnectionLostError,
    ProtocolError,
    RequestTimeoutError,
    VoicebotError,
)
from voicebot.events import Disconnected, Event, EventsDropped, Reconnected
from voicebot.link import Timeouts
from voicebot.opening import connect
from voicebot.provider import Provider, provide
from voicebot.roster import Roster

__all__ = [
    "Assignment",
    "AudioFrame",
    "AudioStream",
    "Backoff",
    "BargeIn",
    "Bot",
    "BotRunner",
    "ChatBot",
    "ConnectError",
    "Connection",
    "ConnectionLostError",
    "ConnectionStatistics",
    "Disconnected",
    "Event",
    "EventsDropped",
    "Playout",
    "PlayoutEnded",
    "PlayoutError",
    "ProtocolError",
    "Provider",
    "Reconnected",
    "RequestTimeoutError",
    "Roster",
    "Samples",
    "Sound",
    "Speakers",
    "Timeouts",
    "UnansweredError",
    "VoicebotError",
    "connect",
    "provide",
]
