"""Traces: what parts know of them (``tracer.py``), and how they reach a collector (``otlp.py``, an extra)."""
