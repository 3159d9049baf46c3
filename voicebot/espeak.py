"""Text to speech by ``espeak-ng``, where it is installed: plain, quick, and without a model to load."""

import subprocess

import trio

from voicebot.errors import VoicebotError

PROGRAM = "espeak-ng"
#: RIFF, format and the header of the data; what follows is PCM. The sizes in it are made up when it goes to a pipe.
_HEADER_BYTES = 44


class EspeakError(VoicebotError):
    """The text could not be spoken; the text of this says why, and what to do."""


async def speak(text: str, *, voice: str = "en", program: str = PROGRAM) -> tuple[bytes, int]:
    """Return a text as PCM, signed 16 bit little-endian, and its rate.

    ``voice`` is a name that ``espeak-ng --voices`` lists, such as ``de`` or ``en-gb``.

    Raises: EspeakError.
    """
    # The text goes in as standard input: as an argument it could be an option.
    command = [program, "--stdin", "--stdout", "-v", voice]
    try:
        done = await trio.run_process(
            command, stdin=text.encode(), capture_stdout=True, capture_stderr=True, check=False
        )
    except FileNotFoundError:
        raise EspeakError(
            f"{program} is not installed: install it (apt install espeak-ng), or give a file"
        ) from None
    except OSError as error:
        raise EspeakError(f"{program} cannot be run: {error.strerror or error}") from error
    return _pcm(done, program)


def _pcm(done: "subprocess.CompletedProcess[bytes]", program: str) -> tuple[bytes, int]:
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip() or f"it ended with {done.returncode}"
        raise EspeakError(f"{program} could not speak: {said}")
    sound = done.stdout
    if len(sound) <= _HEADER_BYTES or sound[:4] != b"RIFF" or sound[8:12] != b"WAVE":
        raise EspeakError(f"{program} said nothing: expected a WAV file, received {len(sound)} bytes")
    pcm = sound[_HEADER_BYTES:]
    return pcm[: len(pcm) // 2 * 2], int.from_bytes(sound[24:28], "little")
