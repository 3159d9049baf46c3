"""Webhooks: events posted to whoever the operator names, signed, retried, and kept as dead letters when nothing helps.

``endpoint.py`` is who gets what, ``signature.py`` proves where it comes from, ``worker.py`` delivers to one endpoint in
order, ``deliveries.py`` holds all of them.
"""
