"""These tests use what other folders have for whole servers and requests; alone, too, they find it."""

import sys
from pathlib import Path

for folder in (
    "signaling",
    "signaling/outbound",
    "signaling/bots",
    "signaling/telephony",
    "signaling/voices",
):
    path = str(Path(__file__).parents[2] / folder)
    if path not in sys.path:
        sys.path.append(path)
