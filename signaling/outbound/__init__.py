"""Calls to other services: one way to make them (``calls.py``), one circuit breaker, one policy of trying again.

``target.py`` and ``network.py`` say where a call may go, ``errors.py`` what became of it and whether to try again.
"""
