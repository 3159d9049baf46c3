"""What the relay raises. Errors of lower layers are mapped to these once, at the border where they enter."""


class RelayError(Exception):
    """Any error of the relay."""


class LocalProtocolError(RelayError):
    """The caller used the relay wrongly. Nothing has changed."""


class RemoteProtocolError(RelayError):
    """A client sent what it must not, or what the relay cannot serve. Nothing has changed.

    `code` is stable, for programs; the message is for people.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class CapacityError(RelayError):
    """The relay, or a part of it, is full."""
