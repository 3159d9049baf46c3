"""How far a provider's playout is behind, told by its marks."""

from signaling.telephony.playout_watch import BEHIND_SECONDS, MARK_SECONDS, PlayoutWatch


def test_a_mark_goes_every_second() -> None:
    watch = PlayoutWatch()
    sent = [watch.next_mark(tick * 0.02) for tick in range(151)]
    assert [name for name in sent if name] == ["relay-1", "relay-2", "relay-3", "relay-4"]


def test_marks_in_time_clear_nothing() -> None:
    watch = PlayoutWatch()
    for second in range(100):
        name = watch.next_mark(second * MARK_SECONDS)
        assert name is not None
        assert not watch.must_clear(second + 0.4)
        watch.came_back(name)


def test_a_playout_that_is_behind_is_cleared_once_until_its_marks_are_back() -> None:
    watch = PlayoutWatch()
    watch.came_back(watch.next_mark(0.0) or "")
    second, third = watch.next_mark(1.0), watch.next_mark(2.0)
    assert not watch.must_clear(1.0 + BEHIND_SECONDS)
    assert watch.must_clear(1.01 + BEHIND_SECONDS)
    assert not watch.must_clear(9.0)
    watch.came_back(second or "")
    assert not watch.must_clear(9.0)
    watch.came_back(third or "")
    watch.next_mark(10.0)
    assert not watch.must_clear(11.9)
    assert watch.must_clear(12.1)


def test_a_provider_that_sends_no_marks_back_is_never_cleared() -> None:
    watch = PlayoutWatch()
    for second in range(1000):
        watch.next_mark(float(second))
        assert not watch.must_clear(second + 0.5)


def test_marks_of_somebody_else_are_nothing() -> None:
    watch = PlayoutWatch()
    watch.next_mark(0.0)
    for name in ("", "relay-", "other", "relay-x", "relay-99999999999999999999", "relay-²"):
        watch.came_back(name)
    assert not watch.must_clear(100.0)
    watch.came_back("relay-1")
    watch.next_mark(200.0)
    assert watch.must_clear(300.0)
