"""What the old voice-chat server left behind, and how it comes into the store: ``relay import sessions.json``."""

from signaling.legacy.passwords import is_legacy, verify_legacy

__all__ = ["is_legacy", "verify_legacy"]
