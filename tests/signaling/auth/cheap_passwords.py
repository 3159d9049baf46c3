"""Password hashes that cost next to nothing, for tests."""

from signaling.auth import PasswordParameters, Passwords

CHEAP = PasswordParameters(memory_kib=8, iterations=1)


def cheap_passwords(**options: int) -> Passwords:
    return Passwords(CHEAP, **options)
