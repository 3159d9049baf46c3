"""A queue with two bounds and one policy, taken in pieces that never cut into each other."""

import random

import pytest

from signaling.outbox import PIECE_BYTES, SOUND_PIECE_BYTES, Outbox


class Owner:
    def __init__(self, **bounds: int) -> None:
        self.overflows = 0
        self.outbox = Outbox(on_overflow=self._count, **{"max_bytes": 100, "max_frames": 5, **bounds})

    def _count(self) -> None:
        self.overflows += 1


def drained(outbox: Outbox) -> bytes:
    """Write all at once what is to be written."""
    written = bytearray()
    while piece := outbox.next_piece():
        written += piece
        outbox.written(len(piece))
    return bytes(written)


def test_what_waits_comes_out_in_order_as_one_piece_and_is_counted() -> None:
    outbox = Owner().outbox
    outbox.put(b"a")
    outbox.put(b"bc")
    assert outbox.queued_bytes == 3
    piece = outbox.next_piece()
    assert piece == b"abc"
    assert outbox.queued_bytes == 3
    outbox.written(len(piece))
    assert outbox.queued_bytes == 0
    assert not outbox.next_piece()


def test_a_piece_stays_the_next_until_all_of_it_is_written() -> None:
    outbox = Owner().outbox
    outbox.put(b"abc")
    assert outbox.next_piece() == b"abc"
    outbox.put(b"def")
    outbox.written(0)
    assert outbox.next_piece() == b"abc"
    outbox.written(2)
    assert outbox.next_piece() == b"c"
    assert outbox.queued_bytes == 4
    outbox.written(1)
    assert outbox.next_piece() == b"def"


@pytest.mark.parametrize("seed", range(20))
def test_partial_writes_of_any_size_neither_lose_nor_mix_a_byte(seed: int) -> None:
    rng = random.Random(seed)
    outbox = Owner(max_bytes=10**9, max_frames=1024).outbox
    put = bytearray()
    written = bytearray()
    for _ in range(300):
        if rng.random() < 0.5:
            frame = rng.randbytes(rng.choice((2, 200, PIECE_BYTES - 1, PIECE_BYTES, 3 * PIECE_BYTES + 1)))
            put += frame
            outbox.put(frame)
        elif piece := outbox.next_piece():
            assert len(piece) <= PIECE_BYTES
            size = rng.randint(0, len(piece))
            written += piece[:size]
            outbox.written(size)
        assert outbox.queued_bytes == len(put) - len(written)
    written += drained(outbox)
    assert written == put


@pytest.mark.parametrize(("size", "fits"), [(1, 5), (30, 3), (99, 1)])
def test_overflow_empties_the_queue_and_tells_the_owner_once(size: int, fits: int) -> None:
    owner = Owner()
    for _ in range(fits):
        owner.outbox.put(b"x" * size)
    assert owner.overflows == 0
    for _ in range(3):
        owner.outbox.put(b"x" * size)
    assert owner.overflows == 1
    assert owner.outbox.queued_bytes == 0
    assert not owner.outbox.next_piece()


def test_what_is_being_written_counts_towards_the_bound() -> None:
    owner = Owner()
    owner.outbox.put(b"x" * 60)
    owner.outbox.next_piece()
    owner.outbox.put(b"x" * 60)
    assert owner.overflows == 1


def test_one_frame_larger_than_the_queue_passes_when_it_is_alone() -> None:
    owner = Owner()
    owner.outbox.put(b"x" * 1000)
    assert owner.overflows == 0
    assert len(drained(owner.outbox)) == 1000


def test_last_words_come_last_and_nothing_after_them() -> None:
    outbox = Owner().outbox
    outbox.put(b"first ")
    outbox.end(b"good", b"bye")
    outbox.put(b"too late")
    assert drained(outbox) == b"first goodbye"


def test_last_words_can_replace_what_waits_but_not_what_was_begun() -> None:
    outbox = Owner().outbox
    outbox.put(b"begun ")
    outbox.next_piece()
    outbox.written(3)
    outbox.put(b"waiting ")
    outbox.end(b"goodbye", discard=True)
    assert drained(outbox) == b"un goodbye"


class Sound:
    """So many binary messages of a size, each of the number of its place."""

    def __init__(self, count: int, size: int) -> None:
        self.messages = [bytes((place,)) * size for place in range(count)]

    def __call__(self) -> bytes:
        return self.messages.pop(0) if self.messages else b""


def test_sound_is_fetched_when_there_is_nothing_else_to_write() -> None:
    outbox = Owner().outbox
    sound = Sound(2, 3)
    outbox.fetch_sound_from(sound)
    outbox.put(b"text")
    assert outbox.next_piece() == b"text"
    assert len(sound.messages) == 2
    outbox.written(4)
    assert drained(outbox) == b"\x82\x03\0\0\0" + b"\x82\x03\1\1\1"
    sound.messages.append(b"later")
    assert not outbox.next_piece()
    outbox.fetch_sound_from(sound)
    assert drained(outbox) == b"\x82\x05later"
    assert outbox.queued_bytes == 0


def test_no_more_sound_is_fetched_than_a_piece_of_it_and_messages_go_between() -> None:
    outbox = Owner(max_bytes=10**6).outbox
    sound = Sound(100, 1000)
    outbox.fetch_sound_from(sound)
    piece = outbox.next_piece()
    assert SOUND_PIECE_BYTES <= len(piece) < SOUND_PIECE_BYTES + 1004
    assert outbox.queued_bytes == len(piece)
    outbox.put(b"text")
    outbox.written(len(piece))
    assert outbox.next_piece() == b"text"
    assert len(sound.messages) == 100 - len(piece) // 1004


def test_sound_that_is_being_written_does_not_count_towards_the_bound() -> None:
    owner = Owner()
    owner.outbox.fetch_sound_from(Sound(1, 200))
    assert len(owner.outbox.next_piece()) == 204
    for _ in range(3):
        owner.outbox.put(b"x" * 33)
    assert owner.overflows == 0
    owner.outbox.put(b"x" * 33)
    assert owner.overflows == 1


def test_after_the_end_no_sound_is_fetched() -> None:
    outbox = Owner().outbox
    sound = Sound(2, 3)
    outbox.fetch_sound_from(sound)
    outbox.end(b"goodbye")
    outbox.fetch_sound_from(sound)
    assert drained(outbox) == b"goodbye"
    assert len(sound.messages) == 2
