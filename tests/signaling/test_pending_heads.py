"""Places for connections that have not said anything: who has most gives way."""

from contextlib import ExitStack

from signaling.pending_heads import PendingHead, PendingHeads


class Waiting:
    """Some connections that wait, each until told to go."""

    def __init__(self, places: int) -> None:
        self.heads = PendingHeads(places)
        self.stacks: dict[PendingHead, ExitStack] = {}

    def come(self, address: str) -> PendingHead:
        stack = ExitStack()
        pending = stack.enter_context(self.heads.admit(address))
        self.stacks[pending] = stack
        return pending

    def go(self, pending: PendingHead) -> None:
        self.stacks.pop(pending).close()


async def test_the_oldest_of_the_address_that_has_most_gives_way() -> None:
    waiting = Waiting(6)
    oldest = waiting.come("203.0.113.9")
    flood = [waiting.come("203.0.113.5") for _ in range(4)]
    other = waiting.come("203.0.113.6")
    newcomers = [waiting.come("203.0.113.7")]
    newcomers.append(waiting.come("203.0.113.8"))
    assert [one.evicted for one in flood] == [True, True, False, False]
    assert all(one.scope.cancel_called == one.evicted for one in flood)
    assert not any(one.evicted for one in (oldest, other, *newcomers))
    assert len(waiting.heads) == 6
    assert waiting.heads.evicted == 2


async def test_a_flood_from_one_address_evicts_itself() -> None:
    waiting = Waiting(10)
    others = [waiting.come(f"203.0.113.{number}") for number in range(5)]
    flood = [waiting.come(f"2001:db8::{number:x}") for number in range(100)]
    assert not any(one.evicted for one in others)
    assert [one.evicted for one in flood] == [True] * 95 + [False] * 5


async def test_of_equals_the_one_that_has_been_here_longest_gives_way() -> None:
    waiting = Waiting(3)
    first, second, third = (waiting.come(f"203.0.113.{number}") for number in range(3))
    waiting.come("203.0.113.9")
    assert (first.evicted, second.evicted, third.evicted) == (True, False, False)


async def test_who_leaves_gives_the_place_back_once() -> None:
    waiting = Waiting(2)
    first, second = waiting.come("203.0.113.1"), waiting.come("203.0.113.2")
    waiting.come("203.0.113.3")
    assert first.evicted
    waiting.go(first)
    assert len(waiting.heads) == 2
    waiting.go(second)
    assert len(waiting.heads) == 1


async def test_all_can_be_let_go() -> None:
    waiting = Waiting(5)
    pending = [waiting.come(f"203.0.113.{number % 2}") for number in range(5)]
    waiting.heads.cancel_all()
    assert all(one.scope.cancel_called for one in pending)
    assert not any(one.evicted for one in pending)
