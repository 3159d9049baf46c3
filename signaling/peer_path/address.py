"""Who connects to the peer path, read from the request's address. The API key goes no further than here."""

from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from signaling.auth import Companies
from signaling.endpoints import RefusedWebSocketError, RequestInfo
from signaling.messages.model import LobbyName, Name
from signaling.peer_path.codes import PeerCloseCode
from signaling.peer_path.messages import MAX_PEER_ID_LENGTH, RELAY_PEER

PEER_PARAMETER = "peer_id"
KEY_PARAMETER = "company_api_key"
LOBBY_FIELD = "lobby"
#: Where peers meet that name no lobby.
DEFAULT_LOBBY = "main"

#: What stands in a text for bytes that are not UTF-8: two different ids would look the same.
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_PEER_ID: TypeAdapter[str] = TypeAdapter(Name)
_LOBBY: TypeAdapter[str] = TypeAdapter(LobbyName)


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """A peer of a company, and the lobby it wants to be in."""

    company_id: str
    peer_id: str
    lobby: str = DEFAULT_LOBBY


def read_address(request: RequestInfo, companies: Companies) -> PeerAddress:
    """Return who connects.

    Raises: RefusedWebSocketError; its text repeats nothing of the request.
    """
    company = companies.authenticate(request.parameters[KEY_PARAMETER])
    if company is None:
        raise RefusedWebSocketError(
            PeerCloseCode.WRONG_KEY, "this API key is not valid here: ask for the right one"
        )
    peer_id = _valid(_PEER_ID, request.parameters[PEER_PARAMETER], "peer id", but=RELAY_PEER)
    if companies.authenticate(peer_id) is not None:
        # Peer ids are shown to others, and in logs.
        raise RefusedWebSocketError(
            PeerCloseCode.PEER_ID, "the address has an API key where the peer id belongs"
        )
    return PeerAddress(
        company_id=company.company_id,
        peer_id=peer_id,
        lobby=_valid(_LOBBY, request.query.get(LOBBY_FIELD, DEFAULT_LOBBY), "lobby's name"),
    )


def _valid(kind: TypeAdapter[str], text_untrusted: str, what: str, *, but: str = "") -> str:
    try:
        text = kind.validate_python(text_untrusted)
    except ValidationError:
        text = ""
    if not text or text != text_untrusted or _REPLACEMENT in text or text.casefold() == but:
        rule = f"1 to {MAX_PEER_ID_LENGTH} printable characters of UTF-8, no spaces around them"
        rule += f", and not {but!r}" if but else ""
        raise RefusedWebSocketError(PeerCloseCode.PEER_ID, f"the {what} in the address must be {rule}")
    return text
