"""All lobbies: opened when somebody enters one that is not there, closed when the last one leaves."""

from collections.abc import Callable, Mapping

from signaling import events
from signaling.bus import Bus
from signaling.lobby import Lobby
from signaling.participant import Participant


class Lobbies:
    """See the module."""

    def __init__(self, bus: Bus, *, on_audio: Callable[[Lobby], None]) -> None:
        self._bus = bus
        self._on_audio = on_audio
        self._lobbies: dict[str, Lobby] = {}

    @property
    def open(self) -> Mapping[str, Lobby]:
        """Lobbies by name."""
        return self._lobbies

    @property
    def participant_count(self) -> int:
        """How many participants there are in all lobbies."""
        return sum(len(lobby.participants) for lobby in self._lobbies.values())

    def enter(self, name: str, participant: Participant) -> Lobby:
        """Let a participant into the lobby of this name."""
        lobby = self._lobbies.get(name)
        if lobby is None:
            lobby = self._lobbies[name] = Lobby(name, self._bus, on_audio=self._on_audio)
            self._bus.publish(events.LobbyOpened(name))
        lobby.enter(participant)
        return lobby

    def leave(self, lobby: Lobby, participant: Participant, reason: str) -> None:
        """Take a participant out of its lobby."""
        lobby.remove(participant, reason)
        if not lobby.participants:
            del self._lobbies[lobby.name]
            self._bus.publish(events.LobbyClosed(lobby.name))
