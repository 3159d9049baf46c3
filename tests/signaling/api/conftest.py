"""These tests use what the folders of bots, operations and peers have."""

import sys
from pathlib import Path

for folder in ("signaling", "signaling/bots", "signaling/operations", "signaling/peer_path"):
    path = str(Path(__file__).parents[2] / folder)
    if path not in sys.path:
        sys.path.append(path)
