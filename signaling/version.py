"""Which version this is: the installed distribution's, the only place that states it being pyproject.toml."""

from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as distribution_version

SERVER_NAME = "trio-relay"


@cache
def server_version() -> str:
    """Return the version of the installed distribution, or ``0+checkout`` when it runs uninstalled."""
    try:
        return distribution_version(SERVER_NAME)
    except PackageNotFoundError:
        return "0+checkout"
