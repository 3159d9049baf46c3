"""One scenario from start to end under Trio: signals stop it in order, and errors come out as one that can be told."""

import signal

import trio
from rich.console import Console

import voicebot
from bench.errors import BenchError
from bench.progress import ProgressBars
from bench.scenario import ScenarioResult, ScenarioRun
from relay.errors import RelayError


class Interrupted(Exception):  # noqa: N818 - not an error
    """SIGINT or SIGTERM ended the command; everything it had started is gone."""


def run_scenario(run: ScenarioRun, console: Console) -> ScenarioResult:
    """Run the scenario until its end or a signal. Raises: BenchError, Interrupted."""
    result: ScenarioResult | None = None
    error: BaseException | None = None
    try:
        result = trio.run(_run_until_signal, run, console)
    except* (BenchError, voicebot.VoicebotError, RelayError) as group:
        error = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if error is not None:
        raise BenchError(str(error)) from error
    if result is None:
        raise Interrupted
    return result


async def _run_until_signal(run: ScenarioRun, console: Console) -> ScenarioResult | None:
    """Return None when a signal came first."""
    result = None
    async with trio.open_nursery() as nursery:
        await nursery.start(_cancel_on_signal, nursery.cancel_scope)
        with ProgressBars(console) as progress:
            result = await run(progress)
        nursery.cancel_scope.cancel()
    return result


async def _cancel_on_signal(
    scope: trio.CancelScope, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            scope.cancel()
