"""Known tones: as a microphone's file, as a microphone of the browser's own making, and found again in what is heard."""

import wave
from pathlib import Path

import numpy as np

RATE_HZ = 48_000
FILE_TONE_HZ = 880
"""What the browser's fake microphone plays."""
TOLERANCE_HZ = 12.0
"""Two bins of the analysis in EARS."""

OSCILLATOR_MICROPHONE = """
(() => {
  const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (constraints) => {
    const stream = await real(constraints);
    for (const track of stream.getAudioTracks()) {
      track.stop();
      stream.removeTrack(track);
      const context = new AudioContext();
      const oscillator = new OscillatorNode(context, { frequency: FREQUENCY });
      const loudness = new GainNode(context, { gain: 0.5 });
      const destination = new MediaStreamAudioDestinationNode(context);
      oscillator.connect(loudness).connect(destination);
      oscillator.start();
      stream.addTrack(destination.stream.getAudioTracks()[0]);
    }
    return stream;
  };
})();
"""

EARS = """
globalThis.ears = (() => {
  const context = new AudioContext();
  const heard = new Map();
  function analyse(track) {
    let analyser = heard.get(track);
    if (!analyser) {
      analyser = new AnalyserNode(context, { fftSize: 8192, smoothingTimeConstant: 0 });
      context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
      heard.set(track, analyser);
    }
    const decibels = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(decibels);
    return { analyser, decibels };
  }
  return {
    decibelsAt(track, hertz) {
      const { analyser, decibels } = analyse(track);
      return Math.max(decibels[Math.round((hertz * analyser.fftSize) / context.sampleRate)], -200);
    },
    listen(track) {
      const { analyser, decibels } = analyse(track);
      const loudest = decibels.reduce((best, value, bin) => (value > decibels[best] ? bin : best), 0);
      return { hertz: (loudest * context.sampleRate) / analyser.fftSize, decibels: Math.max(decibels[loudest], -200) };
    },
  };
})();
"""


def oscillator_microphone(frequency_hz: float) -> str:
    """A script that makes every microphone of a page a pure tone."""
    return OSCILLATOR_MICROPHONE.replace("FREQUENCY", str(frequency_hz))


def write_tone(path: Path, frequency_hz: int, seconds: int = 2) -> None:
    """Write a tone that loops without a click: whole periods in whole seconds."""
    time_s = np.arange(RATE_HZ * seconds) / RATE_HZ
    samples = (0.5 * 32_767 * np.sin(2 * np.pi * frequency_hz * time_s)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(samples.tobytes())
