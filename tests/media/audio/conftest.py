"""These tests use what the folder above has."""

import sys
from pathlib import Path

path = str(Path(__file__).parents[1])
if path not in sys.path:
    sys.path.append(path)
