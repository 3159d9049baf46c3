"""Which events one administrator wants to see. Pure; it remembers only who the followed session is in its lobbies."""

from collections import deque
from collections.abc import Mapping
from typing import Any

from signaling.event_mapping import company_of, lobby_of, participant_of, session_of
from signaling.messages.feed import FeedSubscribe

#: A session is one participant at a time; events of the one it was before may come late.
_REMEMBERED_PARTICIPANTS = 16


class FeedFilter:
    """See the module. All that is asked for must hold; with ``company_id`` nothing of anybody else's is shown."""

    def __init__(self, wanted: FeedSubscribe, *, company_id: str | None = None) -> None:
        self.types = frozenset(wanted.types) or None
        self.lobby = wanted.lobby
        self._session = wanted.session
        self._company_id = company_id
        self._participants: deque[str] = deque(maxlen=_REMEMBERED_PARTICIPANTS)

    @property
    def store_types(self) -> frozenset[str] | None:
        """What to ask the store for: who follows a session must hear of its entrances, wanted or not."""
        return (
            self.types if self._session is None or self.types is None else self.types | {"ParticipantEntered"}
        )

    def wants_type(self, event_type: str) -> bool:
        """Tell whether events of this kind need to be looked at; this is cheap."""
        types = self.store_types
        return types is None or event_type in types

    def matches(self, event_type: str, data: Mapping[str, Any]) -> bool:
        """Tell whether an event is to be shown."""
        return (
            self._is_of_session(data)
            and (self.types is None or event_type in self.types)
            and (self.lobby is None or self.lobby == lobby_of(data))
            and (self._company_id is None or self._company_id == company_of(data))
        )

    def _is_of_session(self, data: Mapping[str, Any]) -> bool:
        if self._session is None:
            return True
        participant = participant_of(data)
        if session_of(data) == self._session:
            if participant is not None and participant not in self._participants:
                self._participants.append(participant)
            return True
        return participant in self._participants
