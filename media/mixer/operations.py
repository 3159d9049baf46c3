"""What the control plane can tell a mixer: as `media.operations` does for a worker."""

from enum import IntEnum


class MixerOperation(IntEnum):
    """What a command does. The comment names its `values`, in order.

    Operations of one table stand together, its CLOSE last. A port is opened with the input or output that uses it.
    """

    STOP = 0
    OPEN_MIX = 1  # first sequence number
    SET_LINK = 2  # worker, inbound or NONE, generation
    CLOSE_MIX = 3  # it has no inputs and outputs any more
    OPEN_RTP_INPUT = 4  # mix
    OPEN_PCM_INPUT = 5  # mix, port, rate, live, private
    PUBLISH_INPUT = 6  # worker, inbound, generation; NONE for nobody wants it
    CLOSE_INPUT = 7
    OPEN_RTP_OUTPUT = 8  # mix, worker, outbound, its generation, inbound, its generation
    OPEN_PCM_OUTPUT = 9  # mix, port, rate, source or NONE, 1 to begin with the last tick's frame
    SET_OWN = (
        10  # the MAX_OWN_INPUTS inputs to leave out, and MAX_WHISPERS private ones to hear; NONE for none
    )
    CLOSE_OUTPUT = 11
