"""One task writes and one keeps alive, for all; none waits long for the others."""

import trio
import trio.testing

from signaling.courier import ROUNDS, TURN, Courier


class Recorder:
    def __init__(self, courier: Courier, *, leave_after: int | None = None) -> None:
        self.courier = courier
        self.flushed_at: list[float] = []
        self.checked_at: list[float] = []
        self.leave_after = leave_after

    def flush(self) -> None:
        self.flushed_at.append(trio.current_time())

    def check(self) -> None:
        self.checked_at.append(trio.current_time())
        if len(self.checked_at) == self.leave_after:
            self.courier.dismiss(self)


async def test_every_request_is_one_flush_and_others_run_in_between(autojump_clock) -> None:
    courier = Courier(keepalive_seconds=4)
    clients = [Recorder(courier) for _ in range(5 * TURN)]
    turns_of_others = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(courier.run)
        await trio.testing.wait_all_tasks_blocked()
        for client in clients:
            courier.request_flush(client)
        while not all(client.flushed_at for client in clients):
            await trio.lowlevel.checkpoint()
            turns_of_others += 1
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert all(len(client.flushed_at) == 1 for client in clients)
    assert turns_of_others >= 4


async def test_everybody_is_checked_once_per_interval_however_many_and_whenever_they_came(
    autojump_clock,
) -> None:
    courier = Courier(keepalive_seconds=4)
    clients: list[Recorder] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(courier.run)
        for number in range(1000):
            clients.append(Recorder(courier))
            courier.enroll(clients[-1])
            if number % 3 == 0:
                await trio.sleep(0.001)
        enrolled_by = trio.current_time()
        await trio.sleep(40)
        nursery.cancel_scope.cancel()
    tolerance = 2 * 4 / ROUNDS
    for client in clients:
        assert 9 <= len(client.checked_at) <= 11
        assert client.checked_at[0] <= enrolled_by + 4 + tolerance
        gaps = [
            after - before for before, after in zip(client.checked_at, client.checked_at[1:], strict=False)
        ]
        assert min(gaps) > 3.999
        assert max(gaps) <= 4 + tolerance


async def test_who_is_dismissed_is_not_checked_any_more_even_by_its_own_check(autojump_clock) -> None:
    courier = Courier(keepalive_seconds=1)
    brief, long = Recorder(courier, leave_after=2), Recorder(courier)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(courier.run)
        courier.enroll(brief)
        courier.enroll(long)
        await trio.sleep(5.5)
        courier.dismiss(long)
        courier.dismiss(long)
        await trio.sleep(5)
        nursery.cancel_scope.cancel()
    assert len(brief.checked_at) == 2
    assert len(long.checked_at) == 5
