"""What a session may do in its lobby. Without a join token: everything."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal, Self

from signaling.auth.errors import PermissionDeniedError

Permission = Literal["can_publish", "can_subscribe", "can_chat"]

#: permission -> what it is needed for, as an error says it.
PERMISSIONS: dict[Permission, str] = {
    "can_publish": "publish audio or video",
    "can_subscribe": "receive audio or video",
    "can_chat": "write in the chat",
}


@dataclass(frozen=True, slots=True)
class Grants:
    """See the module. What a join token says, once its signature is known to be right."""

    #: Name of the one lobby that may be entered; None: any of the company.
    lobby: str | None = None
    #: Who the issuer says this is; nothing is derived from it but what people read.
    identity: str | None = None
    can_publish: bool = True
    can_subscribe: bool = True
    can_chat: bool = True
    is_bot: bool = False
    #: Company whose lobbies are meant; empty: none.
    company_id: str = ""
    #: Until when a lobby may be entered with it, leeway for clocks included; None: for ever. It ends no session that
    #: is in one.
    expires_at: datetime | None = None
    #: The one display name that may be used; None: any.
    name: str | None = None

    @classmethod
    def everything(cls) -> Self:
        """Return what somebody without a token may do where no token is asked for."""
        return cls()

    @property
    def restricted(self) -> bool:
        """Whether anything is less than everything, for a client of this company."""
        return self != Grants(company_id=self.company_id)

    def require(self, permission: Permission) -> None:
        """Return if it is granted.

        Raises: PermissionDeniedError.
        """
        if not getattr(self, permission):
            raise PermissionDeniedError(
                f"this session's join token does not allow it to {PERMISSIONS[permission]}: "
                f"that needs one with {permission}"
            )

    def require_lobby(self, name: str, now: datetime) -> None:
        """Return if the lobby of this name may be entered now.

        Raises: PermissionDeniedError.
        """
        if self.lobby is not None and name != self.lobby:
            raise PermissionDeniedError("the join token is for another lobby than this one", field="lobby")
        if self.expires_at is not None and now >= self.expires_at:
            raise PermissionDeniedError(
                "the join token has expired since: connect with a new one", field="lobby"
            )

    def require_name(self, name: str) -> None:
        """Return if this display name may be used.

        Raises: PermissionDeniedError.
        """
        if self.name is not None and name != self.name:
            raise PermissionDeniedError(
                f"the join token is for the name {self.name!r} and no other", field="name"
            )

    def to_json(self) -> dict[str, Any]:
        """Return what ``from_json`` reads; only what differs from the default."""
        shown: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                shown[field.name] = value.isoformat() if isinstance(value, datetime) else value
        return shown

    @classmethod
    def from_json(cls, stored: Mapping[str, Any] | None) -> Self:
        """Return the grants that ``to_json`` wrote; None stands for everything.

        Raises: ValueError for anything else: what is not understood must not grant anything.
        """
        values = dict(stored or {})
        expected = {field.name: type(field.default) for field in fields(cls)}
        for name, value in values.items():
            if name not in expected:
                raise ValueError(f"grants: {name!r} is not known to this version")
            wanted = bool if expected[name] is bool else str
            if not isinstance(value, wanted):
                raise ValueError(f"grants: {name} is {type(value).__name__}, expected {wanted.__name__}")  # noqa: TRY004 - bad data, not a bad call
        if "expires_at" in values:
            expires_at = datetime.fromisoformat(values["expires_at"])
            if expires_at.tzinfo is None:
                raise ValueError("grants: expires_at has no time zone")
            values["expires_at"] = expires_at
        return cls(**values)
