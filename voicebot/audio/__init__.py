"""Sound as samples: hearing a lobby and speaking in it over the WebSocket, without WebRTC.

``Connection`` is what users see of it: ``mixed``, ``participant`` and ``speakers`` return streams of frames, ``play`` says something.
"""

from voicebot.audio.barge_in import BargeIn
from voicebot.audio.frame import AudioFrame
from voicebot.audio.pcm import Samples, Sound
from voicebot.audio.playout import Playout, PlayoutEnded, PlayoutError
from voicebot.audio.speakers import Speakers
from voicebot.audio.stream import AudioStream

__all__ = [
    "AudioFrame",
    "AudioStream",
    "BargeIn",
    "Playout",
    "PlayoutEnded",
    "PlayoutError",
    "Samples",
    "Sound",
    "Speakers",
]
