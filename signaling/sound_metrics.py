"""Metrics of sound as samples; for ``metrics.Metrics`` to add to its own."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, Metric

from signaling.voices.counters import SoundCounters


def sound_metrics(counters: SoundCounters) -> Iterable[Metric]:
    """Yield the metrics as they are now."""
    frames = CounterMetricFamily(
        "signaling_sound_frames",
        "Frames of samples by what became of them: sent to listeners, dropped for slow ones, received from speakers, "
        "late for a playout that was over",
        labels=["fate"],
    )
    for fate in ("sent", "dropped", "received", "late"):
        frames.add_metric([fate], getattr(counters, fate))
    playouts = CounterMetricFamily(
        "signaling_playouts", "Playouts that are over, by how they ended", labels=["end"]
    )
    for end, count in counters.playouts.items():
        playouts.add_metric([end], count)
    yield from (frames, playouts)
