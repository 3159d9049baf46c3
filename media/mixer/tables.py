"""The structured arrays of a mixer: one dtype per table, a line per field.

A *mix* is what is heard in one lobby. *Inputs* go into it: a track's RTP through a tap, or PCM through a port. *Outputs*
come out of it: RTP for a participant, or PCM through a port. As in a worker, all of it is written by the mixer's
kernel alone, and rows are given out by the control plane (`media.tables`). Samples are float32 at 48 kHz in frames of
20 ms inside, int16 at the port's own rate in ports.
"""

from enum import IntEnum
from typing import Final

import numpy as np

from media.audio.samples import FRAME_SAMPLES

TICK_NS: Final = 20_000_000
MAX_WORKERS: Final = 128  # and mixers
MAX_OWN_INPUTS: Final = 4  # tracks of one participant that its own mix leaves out
MAX_WHISPERS: Final = 4  # voices that speak to one participant alone
PCM_SLOTS: Final = 32  # frames a port holds each way: 640 ms
PACKET_BYTES: Final = 400  # the longest Opus frame of 20 ms that is made

RTP: Final = 0
PCM: Final = 1

MIX = np.dtype(
    [
        ("generation", "i8"),  # 0 free
        ("first_input", "i4"),
        ("first_output", "i4"),
        ("awake_ticks", "i8"),  # left until it sleeps: what is sent goes on for so long after the last sound
        ("stirred_ticks", "i8"),  # left in which its inputs are looked at, because something came in
        ("sequence", "i8"),  # RTP, of the packets of this tick, whoever gets which
        ("starts", "u1"),  # the next packet is the first after silence: RTP marker
        ("encodes", "u1"),  # the shared encoder has heard all of the mix up to the last tick
        ("shared_outputs", "i8"),  # RTP outputs that take the shared stream
        # The shared stream on each worker that has listeners: a mirror without a tap.
        ("link_inbound", "i4", (MAX_WORKERS,)),
        ("link_generation", "i8", (MAX_WORKERS,)),
    ],
    align=True,
)
"""What is heard in one lobby. Its encoder and limiter are for those who say nothing: all hear the same."""

INPUT = np.dtype(
    [
        ("generation", "i8"),
        ("mix", "i4"),
        ("next_of_mix", "i4"),
        ("kind", "u1"),  # RTP or PCM
        ("private", "u1"),  # not in the mix: heard by the outputs that name it
        # What it gave this tick.
        ("sounds", "u1"),  # it is in the mix: `gain_from` or `gain_to` is above 0
        ("voiced", "u1"),
        ("gap", "u1"),  # what came before was lost and concealed
        ("open", "u1"),  # loud enough, or was a moment ago
        ("hold_ticks", "i8"),  # left until it closes
        ("level_dbov", "i8"),
        ("gain_from", "f4"),
        ("gain_to", "f4"),
        ("listeners", "i8"),  # PCM outputs that hear it alone
        # RTP.
        ("stream", "i8"),  # generation of the publisher's stream, 0 none yet
        ("pauses", "i8"),  # of its track, as last heard
        ("quiet_packets", "i8"),  # in a row, by their RFC 6464 level
        ("parked", "u1"),  # so many that they are not even decoded
        ("idle_ticks", "i8"),  # in a row in which there was nothing to play
        # PCM.
        ("port", "i4"),
        ("rate", "i8"),
        ("waits", "u1"),  # live: for more than one frame to be there, after there was none
        ("live", "u1"),
        ("gain", "f4"),  # what the port's gain word was at the last tick
        # PCM that is also a track: the stream it feeds at its worker; worker NONE: it is none.
        ("worker", "i4"),
        ("inbound", "i4"),
        ("inbound_generation", "i8"),
        ("sequence", "i8"),
        ("tail_ticks", "i8"),  # left in which silence is sent
    ],
    align=True,
)
"""One voice. Jitter buffer, decoder, resampler, encoder and voice activity of it are in the same row of their arrays."""

OUTPUT = np.dtype(
    [
        ("generation", "i8"),
        ("mix", "i4"),
        ("next_of_mix", "i4"),
        ("kind", "u1"),
        ("personal", "u1"),  # its mix is its own at present: one of its inputs sounds, or a private one does
        ("fresh", "u1"),  # it has heard nothing yet
        ("own", "i4", (MAX_OWN_INPUTS,)),  # inputs its mix leaves out; NONE
        ("whispers", "i4", (MAX_WHISPERS,)),  # private inputs it hears; NONE
        # RTP: the subscriber's stream, and the stream that feeds it while its mix is its own.
        ("worker", "i4"),
        ("outbound", "i4"),
        ("outbound_generation", "i8"),
        ("inbound", "i4"),
        ("inbound_generation", "i8"),
        # PCM.
        ("port", "i4"),
        ("source", "i4"),  # the one input it hears; NONE: the mix
        ("rate", "i8"),
        ("opened_tick", "i8"),
        ("missed", "u1"),  # the port was full: the next frame says so
    ],
    align=True,
)
"""One listener. Encoder, limiter and resampler of its own mix are in the same row of their arrays."""

PCM_FRAME = np.dtype(
    [
        ("timestamp", "i8"),  # samples at the port's rate since it was opened
        ("samples", "i4"),
        ("level_dbov", "i2"),
        ("voiced", "u1"),
        ("gap", "u1"),
        ("data", "i2", (FRAME_SAMPLES,)),
    ],
    align=True,
)
"""20 ms of PCM in a port."""

PORT_WORDS: Final = 32
PORT_CLEARED: Final = 0  # by Trio: frames up to this count of the ring are not to be played
PORT_GAIN: Final = 1  # by Trio: thousandths
PORT_SEEN: Final = 16  # by the mixer: the last PORT_CLEARED it acted on
PORT_PLAYED: Final = 17  # frames played
PORT_DROPPED: Final = 18  # frames there was no room for
PORT_STARVED: Final = 19  # times the frames came to an end

LATENESS_BUCKETS: Final = 24
"""Of ticks by how late they began: bucket n holds those below 2**n microseconds."""


class Tally(IntEnum):
    """Index into a mixer's tallies, each a metric."""

    TICKS = 0
    TICKS_SKIPPED = 1  # the thread was so late that they were left out
    FRAMES_DECODED = 2
    FRAMES_CONCEALED = 3  # made up, for a lost packet
    FRAMES_RECOVERED = 4  # from the copy in the next packet (in-band FEC)
    FRAMES_ENCODED = 5
    SAMPLES_LIMITED = 6  # of a mix, above the ceiling before the limiter
    PACKETS_IN = 7
    PACKETS_PARKED = 8  # of quiet inputs, not decoded
    PACKETS_REFUSED = 9  # late, twice the same, malformed, or of another codec than Opus
    PACKETS_OUT = 10
    PCM_FRAMES_IN = 11
    PCM_FRAMES_OUT = 12
    PCM_FRAMES_DROPPED = 13  # towards somebody who does not take them
    CODEC_FAILED = 14
    COMMAND_REJECTED = 15  # a bug of ours


MIXER_CONTEXT = np.dtype(
    [
        # Fixed for the life of the mixer.
        ("worker", "i8"),  # its index among those with rings between them
        ("workers", "i8"),
        ("wake_fd", "i8"),
        ("event_fd", "i8"),
        ("mix_capacity", "i8"),
        ("input_capacity", "i8"),
        ("output_capacity", "i8"),
        ("port_capacity", "i8"),
        ("encoder_size", "i8"),  # bytes of a state
        ("decoder_size", "i8"),
        ("encoder_stride", "i8"),  # from one to the next
        ("decoder_stride", "i8"),
        # Addresses of the arrays.
        ("mixes", "i8"),
        ("inputs", "i8"),
        ("outputs", "i8"),
        ("jitters", "i8"),  # JITTER [input_capacity]
        ("voices", "i8"),  # VOICE [input_capacity]
        ("decoders", "i8"),
        ("input_encoders", "i8"),
        ("input_resamplers", "i8"),
        ("input_frames", "i8"),  # float32 [input_capacity][960]: what each gave this tick
        ("mix_encoders", "i8"),
        ("mix_limiters", "i8"),  # LIMITER [mix_capacity]
        ("mix_frames", "i8"),  # float32 [mix_capacity][960]: each mix behind its limiter, as of its last tick
        ("output_encoders", "i8"),
        ("output_limiters", "i8"),
        ("output_resamplers", "i8"),
        ("voice_template", "i8"),
        ("limiter_template", "i8"),
        ("encoder_template", "i8"),
        ("decoder_template", "i8"),
        ("resampler_templates", "i8"),  # RESAMPLER [2][RATES]: to 48 kHz, and from it
        ("frames", "i8"),  # PCM_FRAME [port_capacity][PCM_SLOTS]
        ("frame_cursors", "i8"),
        ("port_words", "i8"),  # int64 [port_capacity][PORT_WORDS]
        ("counters", "i8"),
        ("tallies", "i8"),
        ("lateness", "i8"),  # int64 [LATENESS_BUCKETS]
        ("commands", "i8"),
        ("command_cursors", "i8"),
        ("command_mask", "i8"),
        ("taps", "i8"),
        ("tap_cursors", "i8"),
        ("tap_mask", "i8"),
        ("sleep_flags", "i8"),
        ("wake_fds", "i8"),
        ("poll", "i8"),
        ("clock", "i8"),
        ("wake_count", "i8"),
        ("total", "i8"),  # float32 [960]: the mix at hand, before the limiter
        ("apart", "i8"),  # likewise, for one output
        ("limited", "i8"),
        ("payload", "i8"),  # uint8 [PACKET_BYTES]
        # Written by the mixer.
        ("now_ns", "i8"),
        ("wall_offset_ns", "i8"),
        ("next_tick_ns", "i8"),
        ("tick", "i8"),  # ticks since it began, also those it slept through
        ("mix_limit", "i8"),  # one past the highest row in use
        ("events_pending", "i8"),
        ("acknowledgement_pending", "i8"),
        ("stirring", "i8"),  # 1 while some mix is awake or stirred
        ("ticking", "i8"),  # it was so at the last tick too: being late now is lateness
        ("trickle_ns", "i8"),  # when packets that stir nothing last came
        ("trickle", "i8"),  # how many there were, when some were
        ("stopping", "i8"),
        ("sleeps", "i8"),
        ("busy_ns", "i8"),
        ("awake_since_ns", "i8"),
        ("latest_ns", "i8"),  # how late a tick was at most
        # Priority (media.priority).
        ("real_time_wanted", "i8"),
        ("real_time", "i8"),
        ("priority_since_ns", "i8"),
        ("priority_cpu_ns", "i8"),
        ("calm_windows", "i8"),
    ],
    align=True,
)
"""All a mixer kernel needs, behind one pointer. Fields that `media.taps` and `media.priority` use are called as in CONTEXT."""
