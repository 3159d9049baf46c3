"""Which store opened the database last. One that was cut off for a while must not go on where another has written since.

The lock of a database ends with its connection, or its process; this does not.
"""

import secrets

from sqlalchemy import Connection, delete, insert, select

from signaling.storage.database import DatabaseFaultError
from signaling.storage.tables import OWNER


def take_ownership(connection: Connection) -> str:
    """Note that the database is ours from now on; return the token to prove it by."""
    token = secrets.token_hex(16)
    connection.execute(delete(OWNER))
    connection.execute(insert(OWNER).values(one=1, token=token))
    return token


def check_owner(connection: Connection, token: str, shown: str) -> None:
    """Raise DatabaseFaultError when the database is no longer ours."""
    if connection.scalar(select(OWNER.c.token)) != token:
        raise DatabaseFaultError(
            f"another server has used the database {shown} since this one lost it: restart this one, and let only "
            "one at a time use it"
        )
