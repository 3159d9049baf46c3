"""What a peer hears: whatever its offer has room for.

With a section for each of the lobby's audio slots it hears the loudest, as everybody does. An older client, which sends
and receives in one section, may stand in the wrong one: of two slots that two speakers hold, its one section may be its
own. So with fewer sections than slots, each carries the voice of one participant, and goes over to another who begins to
speak while its own is silent. No new offer is needed for that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import relay
from signaling.lobby import SLOT_SOURCES, Lobby
from signaling.participant import Participant
from signaling.session import Membership, Session


@dataclass(frozen=True, slots=True)
class Voices:
    """Who can be heard in a lobby at one moment. Made once for all who want to know."""

    #: track id -> whose it is, those who came first at the beginning.
    owners: Mapping[str, str]
    #: Tracks of those who speak.
    speaking: tuple[str, ...]


def voices_in(lobby: Lobby) -> Voices:
    """Return who can be heard."""
    owners: dict[str, str] = {}
    speaking: list[str] = []
    for participant in lobby.participants.values():
        for track_id in _voices_of(participant):
            owners[track_id] = participant.participant_id
            if participant.speaking and not participant.tracks[track_id].track.muted:
                speaking.append(track_id)
    return Voices(owners, tuple(speaking))


def choose(carried: Sequence[str | None], voices: Voices, listener: str) -> list[str | None]:
    """Return what each section shall carry: what it does, unless that has ended, or is silent while another speaks.

    ``listener`` is the participant who shall not hear itself. Cost: a step for each section and each who speaks.
    """
    chosen = [None if voices.owners.get(each or "", listener) == listener else each for each in carried]
    for wanted in chain(voices.speaking, voices.owners):
        if None not in chosen:
            break
        if wanted not in chosen and voices.owners[wanted] != listener:
            chosen[chosen.index(None)] = wanted
    for wanted in voices.speaking:
        silent = [place for place, each in enumerate(chosen) if each not in voices.speaking]
        if not silent:
            break
        if wanted not in chosen and voices.owners[wanted] != listener:
            chosen[silent[0]] = wanted
    return chosen


class Hearing:
    """The sections of one peer that receive audio, when they are fewer than the lobby's slots. Empty until it offers."""

    def __init__(self) -> None:
        #: mid -> the track it carries.
        self.carried: dict[str, str | None] = {}

    def follow(self, session: Session, membership: Membership, voices: Voices) -> None:
        """Let the sections carry what they should now."""
        mids = tuple(self.carried)
        listener = membership.participant.participant_id
        for mid, wanted in zip(mids, choose([*self.carried.values()], voices, listener), strict=True):
            if wanted == self.carried[mid]:
                continue
            self.carried[mid] = wanted
            track = None if wanted is None else membership.lobby.find_track(wanted)
            if track is not None and not _attach(session, mid, track):
                self.carried[mid] = None


def _attach(session: Session, mid: str, track: relay.Track) -> bool:
    """Tell whether the section carries the track now. It may be one that was refused, or the relay be full."""
    try:
        session.media.attach(mid, track)
    except (KeyError, relay.LocalProtocolError, relay.CapacityError):
        return False
    return True


def _voices_of(participant: Participant) -> list[str]:
    return [
        track_id
        for track_id, published in participant.tracks.items()
        if published.track.kind == "audio" and published.source in SLOT_SOURCES
    ]
