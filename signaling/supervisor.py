"""The one place that catches every exception: around the life of one client's connection, or one session.

A nursery ends all its tasks when one fails. Clients share the service's nurseries, so each client's tasks run
in here: what goes wrong in them is logged once, counted, and stays theirs.
"""

from collections import Counter
from collections.abc import Awaitable, Callable

from signaling.logs import get_logger

_log = get_logger(__name__)


async def supervise(name: str, failures: Counter[str], run: Callable[[], Awaitable[object]]) -> bool:
    """Await ``run()`` and tell whether it went well: an exception ends here, cancellation passes through."""
    went_well = True
    try:
        await run()
    except* Exception as faults:  # noqa: BLE001 - the supervisor: see the module
        went_well = False
        failures[name] += 1
        # One fault alone was wrapped by `except*` itself; its own traceback is the one to read.
        fault = faults.exceptions[0] if len(faults.exceptions) == 1 else faults
        _log.error("a client's task failed", task=name, exc_info=fault)
    return went_well
