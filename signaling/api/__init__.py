"""The HTTP interface under ``/api``: one module a resource, one place for who asks, for limits and for errors.

``entry.py`` sees every request first: whose it is, whether there are too many, its body. ``caller.py`` tells a route
whom it serves, ``errors.py`` turns what is raised into problem documents. Described for its users in ``docs/rest.md``.
"""

from signaling.api.application import add_api
from signaling.api.entry import Entry

__all__ = ["Entry", "add_api"]
