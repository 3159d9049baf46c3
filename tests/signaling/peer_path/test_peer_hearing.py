"""Which voices few sections carry."""

from hypothesis import given
from hypothesis import strategies as st

from signaling.peer_path.hearing import Voices, choose

TRACKS = st.sampled_from([f"t{number}" for number in range(6)])


def voices(*tracks: str, speaking: str = "") -> Voices:
    return Voices({track: track.upper() for track in tracks}, tuple(speaking.split()))


def test_an_empty_section_takes_who_speaks_before_who_is_silent() -> None:
    assert choose([None], voices("a", "b"), "ME") == ["a"]
    assert choose([None], voices("a", "b", speaking="b"), "ME") == ["b"]
    assert choose([None, None, None], voices("a", "b", speaking="b"), "ME") == ["b", "a", None]


def test_nobody_hears_themselves() -> None:
    assert choose([None], voices("a", "b", speaking="a"), "A") == ["b"]
    assert choose(["b"], voices("a", "b", speaking="a"), "A") == ["b"]
    assert choose([None], voices("a"), "A") == [None]


def test_who_begins_to_speak_takes_the_place_of_who_is_silent_only() -> None:
    assert choose(["a"], voices("a", "b", speaking="b"), "ME") == ["b"]
    assert choose(["a"], voices("a", "b", speaking="a b"), "ME") == ["a"]
    assert choose(["a", "b"], voices("a", "b", "c", speaking="a c"), "ME") == ["a", "c"]


def test_a_track_that_has_ended_gives_its_section_back() -> None:
    assert choose(["a"], voices("b"), "ME") == ["b"]
    assert choose(["a"], voices(), "ME") == [None]


@given(st.lists(st.none() | TRACKS, max_size=3), st.sets(TRACKS), st.lists(TRACKS, unique=True), TRACKS)
def test_each_voice_has_one_section_and_no_speaker_waits_while_another_is_silent(
    carried: list[str | None], here: set[str], speaking: list[str], own: str
) -> None:
    carried = [each if each not in carried[:place] else None for place, each in enumerate(carried)]
    now = voices(*sorted(here), speaking=" ".join(each for each in speaking if each in here))
    chosen = choose(carried, now, own.upper())
    heard = [each for each in chosen if each is not None]
    assert len(chosen) == len(carried)
    assert len(set(heard)) == len(heard)
    assert set(heard) <= here - {own}
    if set(now.speaking) - {own} - set(heard):
        assert set(heard) <= set(now.speaking)
        assert None not in chosen
    if None in chosen:
        assert here - {own} == set(heard)
    assert choose(chosen, now, own.upper()) == chosen
    for before, after in zip(carried, chosen, strict=True):
        if before in now.speaking and before != own:
            assert after == before
