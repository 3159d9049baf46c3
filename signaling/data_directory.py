"""The directory of what the server keeps, made when it is not there. Nobody else may read it: it holds people's chat."""

from pathlib import Path

MODE = 0o700


class DataDirectoryError(Exception):
    """It cannot be made; the text says why and what to do."""


def make_data_directory(directory: Path) -> Path:
    """Return its absolute path once it exists. Blocks: it is on a disk.

    Raises: DataDirectoryError.
    """
    path = directory.absolute()
    try:
        path.mkdir(mode=MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise DataDirectoryError(
            f"the data directory {path} cannot be made: {error.strerror}; choose another with --data-dir, or make it "
            "and give it to the user the relay runs as"
        ) from None
    return path
