"""Ready, degraded or down, and why: each check at both sides of its border, and the worst of them counts."""

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio
import trio.lowlevel
import trio.testing

import relay
from signaling import disk as disk_module
from signaling.disk import Disk, DiskSpace, disk_space
from signaling.drain import Drain, DrainStatistics
from signaling.loop_lag import LoopLag, LoopLagStatistics
from signaling.readiness import (
    Check,
    Readiness,
    ReadinessReport,
    Status,
    check_disk,
    check_drain,
    check_loop,
    check_store,
    check_workers,
    live,
)
from signaling.storage import StoreHealth, StoreStatistics

GIB = 1024**3

WORKER = relay.WorkerStatistics(
    udp_port=1,
    peers=0,
    rows={},
    verdicts={},
    busy_s=0.0,
    busy_share=0.0,
    control_datagrams_dropped=0,
    datagrams_dropped=0,
    shedding=0,
    shed_tracks=0,
    queue_wait_ms=0.0,
    real_time=False,
)
ROUTER = relay.RouterStatistics(
    peers=0,
    tracks=0,
    outbound_streams=0,
    max_peers=10,
    max_outbound_streams=10,
    refusal=None,
    verdicts={},
    workers=(WORKER, WORKER),
    mixers=(),
)
STORE = StoreStatistics(
    health=StoreHealth.OK,
    fault=None,
    queued=0,
    capacity=1000,
    committed=0,
    batches=0,
    dropped=0,
    retries=0,
    commit_seconds_total=0.0,
)
CALM = LoopLagStatistics(0.001, 0.002, 0.003, 0.0)
SINCE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("check", "status", "words"),
    [
        (check_drain(DrainStatistics(False, None, None, 3)), Status.READY, None),
        (check_drain(DrainStatistics(True, SINCE, None, 0)), Status.DOWN, "draining since 2026-01-02T03:04:05"),
        (check_drain(DrainStatistics(True, SINCE, "upgrade", 0)), Status.DOWN, "+00:00: upgrade"),
        (check_workers(ROUTER), Status.READY, None),
        (check_workers(replace(ROUTER, workers=())), Status.DOWN, "no media worker"),
        (check_workers(replace(ROUTER, refusal="10 peers of 10")), Status.DOWN, "no media: 10 peers of 10"),
        (
            check_workers(replace(ROUTER, workers=(WORKER, replace(WORKER, shedding=1)))),
            Status.DEGRADED,
            "worker 1 of 2",
        ),
        (check_loop(CALM), Status.READY, None),
        (check_loop(replace(CALM, max_seconds=1.99)), Status.READY, None),
        (check_loop(replace(CALM, max_seconds=2.5)), Status.DEGRADED, "stood still for 2500 ms"),
        (check_loop(replace(CALM, p50_seconds=0.099)), Status.READY, None),
        (check_loop(replace(CALM, p50_seconds=0.1)), Status.DEGRADED, "100 ms late"),
        (check_loop(replace(CALM, p50_seconds=1.0)), Status.DOWN, "1000 ms late"),
        (check_store(STORE), Status.READY, None),
        (check_store(replace(STORE, queued=499)), Status.READY, None),
        (check_store(replace(STORE, queued=500)), Status.DEGRADED, "slow: 500 of 1000 changes wait"),
        (
            check_store(replace(STORE, health=StoreHealth.WAITING, queued=7, fault="connection refused")),
            Status.DEGRADED,
            "7 changes wait: connection refused",
        ),
        (check_store(replace(STORE, health=StoreHealth.REFUSING)), Status.DEGRADED, "1000 changes is full"),
        (check_disk(DiskSpace(GIB // 2, GIB)), Status.READY, None),
        (check_disk(DiskSpace(2 * GIB, 1000 * GIB)), Status.READY, None),
        (check_disk(DiskSpace(GIB // 2, 100 * GIB)), Status.DEGRADED, "512 MiB left (0.5%)"),
        (check_disk(DiskSpace(0, 0)), Status.DEGRADED, "0 MiB left"),
        (check_disk(DiskSpace(GIB, GIB, free_inodes=9)), Status.DEGRADED, "9 files"),
        (check_disk(DiskSpace(0, 0, fault="it is gone")), Status.DEGRADED, "it is gone"),
    ],
)  # fmt: skip
def test_a_check_says_how_it_stands_and_why(check: Check, status: Status, words: str | None) -> None:
    assert check.status is status
    if words is None:
        assert check.reason is None
    else:
        assert words in (check.reason or "")
    json.dumps(check.figures)


def test_the_worst_check_counts_and_all_reasons_are_told() -> None:
    good, slow, bad = (
        Check("a", Status.READY),
        Check("b", Status.DEGRADED, "slow"),
        Check("c", Status.DOWN, "gone"),
    )
    assert ReadinessReport(()).status is Status.READY
    assert ReadinessReport((good,)).http_status == 200
    degraded = ReadinessReport((good, slow))
    assert (degraded.status, degraded.http_status) == (Status.DEGRADED, 200)
    down = ReadinessReport((good, bad, slow))
    assert (down.status, down.http_status) == (Status.DOWN, 503)
    assert down.content() == {
        "status": "down",
        "reasons": ["c: gone", "b: slow"],
        "checks": {
            "a": {"status": "ready"},
            "c": {"status": "down", "reason": "gone"},
            "b": {"status": "degraded", "reason": "slow"},
        },
    }


async def test_all_parts_are_asked(tmp_path: Path) -> None:
    drain, lag = Drain(), LoopLag()
    store = STORE
    readiness = Readiness(
        router_statistics=lambda: ROUTER,
        loop_lag=lag,
        drain=drain,
        store_statistics=lambda: store,
        disk=Disk(tmp_path),
    )
    report = await readiness.report()
    assert [check.name for check in report.checks] == ["drain", "workers", "loop", "storage", "disk"]
    assert all(check.status is Status.READY for check in report.checks if check.name != "disk")
    store = replace(STORE, health=StoreHealth.WAITING)
    assert (await readiness.report()).status is Status.DEGRADED
    drain.begin("upgrade")
    assert (await readiness.report()).http_status == 503
    drain.end()
    assert (await readiness.report()).http_status == 200
    assert live() == {"status": "live"}


async def test_the_relay_s_own_figures_are_understood() -> None:
    with trio.fail_after(300):
        async with relay.open_relay(relay.RelayConfig(host="127.0.0.1", udp_port=0, workers=1)) as router:
            check = check_workers(router.statistics())
    assert check.status is Status.READY
    assert check.figures == {"workers": 1, "overloaded": 0, "peers": 0}


# Draining.


async def test_draining_refuses_newcomers_until_it_ends() -> None:
    drain = Drain()
    assert drain.refusal() is None
    assert not drain.end()
    assert drain.begin("upgrade at noon")
    assert not drain.begin("another reason")
    assert drain.refusal() == "draining: upgrade at noon"
    statistics = drain.statistics()
    assert (statistics.draining, statistics.reason, statistics.refused) == (True, "upgrade at noon", 1)
    assert drain.end()
    assert drain.refusal() is None
    assert drain.begin()
    assert drain.refusal() == "draining: this server takes nobody new"
    assert drain.statistics().refused == 2


async def test_who_waits_for_draining_hears_of_both_changes() -> None:
    drain = Drain()
    heard: list[bool] = []

    async def listen(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        for _ in range(2):
            await drain.wait_changed()
            heard.append(drain.active)

    async with trio.open_nursery() as nursery:
        await nursery.start(listen)
        drain.begin()
        await trio.testing.wait_all_tasks_blocked()
        drain.end()
    assert heard == [True, False]


# The delay of the loop. Real time: a blocked thread is what it is about.


async def test_lag_tells_of_a_blocked_loop_even_while_it_is_overdue() -> None:
    lag = LoopLag(interval_seconds=0.001)
    assert lag.statistics() == LoopLagStatistics(0.0, 0.0, 0.0, 0.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lag.run)
        await trio.testing.wait_all_tasks_blocked()
        time.sleep(0.1)  # noqa: ASYNC251 - this is the fault that is looked for
        assert lag.statistics().max_seconds >= 0.09
        with trio.fail_after(10):
            while lag.statistics().total_seconds < 0.09:
                await trio.lowlevel.checkpoint()
        assert lag.statistics().max_seconds >= 0.09
        nursery.cancel_scope.cancel()


async def test_lag_forgets_what_is_older_than_its_window_and_keeps_its_total(autojump_clock) -> None:
    lag = LoopLag(interval_seconds=0.05, window_seconds=10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lag.run)
        await trio.testing.wait_all_tasks_blocked()
        autojump_clock.jump(3)  # as if all tasks had stood still
        await trio.sleep(1)
        statistics = lag.statistics()
        assert 2.9 < statistics.max_seconds <= 3
        assert statistics.p50_seconds < 0.01
        await trio.sleep(11)
        assert lag.statistics().max_seconds < 0.01
        assert 2.9 < lag.statistics().total_seconds < 3.1
        assert len(lag._delays) == 200
        nursery.cancel_scope.cancel()


# The disk.


async def test_the_space_of_a_directory_that_is_not_there_yet_is_that_above_it(tmp_path: Path) -> None:
    space = disk_space(tmp_path / "not" / "yet")
    above = disk_space(tmp_path)
    assert space.fault is None
    assert space.size_bytes == above.size_bytes > 0
    assert disk_space(Path("relative-and-missing")).size_bytes > 0


async def test_the_disk_is_asked_once_in_a_while(tmp_path: Path, monkeypatch) -> None:
    asked: list[Path] = []

    def ask(path: Path) -> DiskSpace:
        asked.append(path)
        return DiskSpace(len(asked), 100)

    monkeypatch.setattr(disk_module, "disk_space", ask)
    disk = Disk(tmp_path, fresh_seconds=60)
    assert [(await disk.space()).free_bytes for _ in range(3)] == [1, 1, 1]
    assert [(await Disk(tmp_path, fresh_seconds=0).space()).free_bytes for _ in range(2)] == [2, 3]


async def test_a_disk_that_hangs_delays_nobody_and_one_thread_only_hangs_with_it(
    tmp_path: Path, monkeypatch
) -> None:
    hanging = 0

    def hang(_: Path) -> DiskSpace:
        nonlocal hanging
        hanging += 1
        time.sleep(0.3)
        return DiskSpace(1, 1)

    monkeypatch.setattr(disk_module, "disk_space", hang)
    disk = Disk(tmp_path, fresh_seconds=0, patience_seconds=0.01)
    for _ in range(5):
        check = check_disk(await disk.space())
        assert check.status is Status.DEGRADED
        assert "does not answer" in (check.reason or "")
    assert hanging == 1
