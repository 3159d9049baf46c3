"""What `relay bench mix` loads a mixer with: how many lobbies of how many, and who talks."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """Lobbies that are all alike. `sending`: whether those who do not talk send quiet packets, or nothing at all."""

    lobbies: int
    participants: int  # of each
    talkers: int  # of each
    sending: bool = True

    @property
    def all_participants(self) -> int:
        """Of all lobbies."""
        return self.lobbies * self.participants

    @property
    def all_talkers(self) -> int:
        """Of all lobbies."""
        return self.lobbies * self.talkers

    @property
    def streams_per_tick(self) -> int:
        """Packets of 20 ms that a mixer makes: one for each talker, one for all others of a lobby."""
        if self.talkers == 0:
            return 0
        return self.lobbies * (self.talkers + (self.participants > self.talkers))
