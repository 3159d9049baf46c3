"""Bots: who runs them, how one is asked for, and their lives from the request to the end (``signaling/BOTS.md``)."""
