"""Mixer threads: what their tables hold, what commands change them, and the loop that mixes every 20 ms."""
