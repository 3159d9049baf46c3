"""Memory ordering: what the intrinsics emit, what they refuse, and two threads that rely on them."""

import threading

import numpy as np
import pytest
from numba.core import types
from numba.core.errors import TypingError

from media.atomics import full_fence, load_acquire, store_release
from media.jit import helper


@helper
def load(array, index):
    return load_acquire(array, index)


@helper
def store(array, index, value):
    store_release(array, index, value)


@helper
def fence():
    full_fence()


def test_load_and_store_reach_the_element_they_name():
    array = np.arange(5, dtype=np.int64)
    store(array, 3, -(2**62))
    assert array.tolist() == [0, 1, 2, -(2**62), 4]
    assert [load(array, index) for index in range(5)] == array.tolist()


def code_of(function, *signature):
    function.compile(signature)
    return function.inspect_llvm(function.signatures[0])


def test_the_machine_is_told_of_the_ordering():
    array = types.Array(types.int64, 1, "C")
    assert "load atomic i64" in (code := code_of(load, array, types.int64))
    assert "acquire" in code
    assert "store atomic i64" in (code := code_of(store, array, types.int64, types.int64))
    assert "release" in code
    assert "fence seq_cst" in code_of(fence)


@pytest.mark.parametrize("array", [np.zeros(2, np.int32), np.zeros(2, np.float64), np.zeros(2, np.uint64)])
def test_arrays_of_anything_but_int64_are_refused(array):
    with pytest.raises(TypingError):
        load(array, 0)
    with pytest.raises(TypingError):
        store(array, 0, 1)


@helper
def send(words, flags, rounds):
    for turn in range(1, rounds + 1):
        for index in range(words.size):
            words[index] = turn * 1000 + index
        store_release(flags, 0, turn)
        while load_acquire(flags, 16) != turn:
            pass


@helper
def receive(words, flags, rounds):
    wrong = 0
    for turn in range(1, rounds + 1):
        while load_acquire(flags, 0) != turn:
            pass
        for index in range(words.size):
            if words[index] != turn * 1000 + index:
                wrong += 1
        store_release(flags, 16, turn)
    return wrong


def in_two_threads(first, second):
    results = [None, None]

    def run(index, function):
        results[index] = function()

    threads = [threading.Thread(target=run, args=(index, each)) for index, each in enumerate((first, second))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return results


def test_words_written_before_a_release_are_seen_after_the_acquire():
    words = np.zeros(8, np.int64)
    # Compile before the threads: a spinning kernel would wait for a compiler that waits for the GIL.
    send(words, np.zeros(32, np.int64), 0)
    receive(words, np.zeros(32, np.int64), 0)
    flags = np.zeros(32, np.int64)
    rounds = 50
    _, wrong = in_two_threads(lambda: send(words, flags, rounds), lambda: receive(words, flags, rounds))
    assert wrong == 0


@helper
def knock(mine, theirs, seen, turns, me, rounds):
    """Each round: store my flag, fence, load theirs. Without the fence both may load the old value."""
    for turn in range(1, rounds + 1):
        store_release(mine, turn, 1)
        full_fence()
        seen[turn] = load_acquire(theirs, turn)
        store_release(turns, me * 16, turn)
        while load_acquire(turns, (1 - me) * 16) < turn:
            pass


def test_a_fence_lets_at_least_one_of_two_threads_see_the_others_store():
    rounds = 200
    flags = np.zeros((2, rounds + 1), np.int64)
    seen = np.zeros((2, rounds + 1), np.int64)
    turns = np.zeros(32, np.int64)
    knock(flags[0], flags[1], seen[0], turns, 0, 0)
    in_two_threads(
        lambda: knock(flags[0], flags[1], seen[0], turns, 0, rounds),
        lambda: knock(flags[1], flags[0], seen[1], turns, 1, rounds),
    )
    assert (seen.sum(axis=0)[1:] >= 1).all()
