"""Where the program starts: the console script ``relay``, and ``python -m signaling``."""

import sys

from signaling.cli import make_app


def main() -> None:
    """Run the command line."""
    make_app(sys.argv[1:])(prog_name="relay")


if __name__ == "__main__":
    main()
