"""Whose requests the handlers carry out: what they, and the preparations before them, need of a connection."""

from typing import Protocol

from signaling.admission import Gate
from signaling.messages import ErrorCode
from signaling.removals import Removal
from signaling.request_error import RequestError
from signaling.session import Membership, Session


class Requester(Protocol):
    """The connection a request came from."""

    @property
    def session(self) -> Session:
        """Whose requests these are."""

    @property
    def gate(self) -> Gate:
        """Who says whether a lobby may be entered."""

    @property
    def client_address(self) -> str:
        """Where the requests come from."""

    def find(self, token_untrusted: str) -> Session | None:
        """Return the living session of this token."""

    def resume(self, token_untrusted: str) -> Session | None:
        """Become the session of this token, if there is one and nothing else was asked before."""

    def removal(self, token_untrusted: str) -> Removal | None:
        """Return why the session of this token was ended by somebody else, if it was lately."""


def membership_of(requester: Requester) -> Membership:
    """Return the lobby the requester is in.

    Raises: RequestError.
    """
    membership = requester.session.membership
    if membership is None:
        raise RequestError(ErrorCode.NOT_IN_LOBBY, "join a lobby first")
    return membership
