"""Phone calls in lobbies (Twilio, Exotel), and bots written for Twilio in lobbies; see docs/telephony.md."""

from signaling.telephony.line import (
    AudioLine,
    LineClosed,
    LineOverflowError,
    LineRefusedError,
    OpenLine,
)

__all__ = ["AudioLine", "LineClosed", "LineOverflowError", "LineRefusedError", "OpenLine"]
