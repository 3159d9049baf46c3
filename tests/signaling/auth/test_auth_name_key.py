"""Names that a person could take for one another have one key."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.auth import name_key

SAME = {
    "case": ["alice", "Alice", "ALICE", "aLiCe"],
    "spaces": [
        "ada lovelace",
        "  Ada   Lovelace ",
        "Ada\u00a0Lovelace",
        "Ada\u2003Lovelace",
        "Ada\u3000Lovelace",
    ],
    "zero width": [
        "grace",
        "gra\u200bce",
        "gra\u200dce",
        "\ufeffgrace",
        "grace\u2060",
        "gr\u00adace",
        "grace\U000e0061",
    ],
    "turned": ["grace", "\u200egrace", "gra\u200fce", "gra\u061cce"],
    "unseen marks": ["grace", "grace\ufe0f", "gra\u034fce", "grac\u3164e", "grace\u2800", "gra\U000e0101ce"],
    "full width": ["Bob", "\uff22\uff4f\uff42", "\U0001d401\U0001d428\U0001d41b", "\u24b7\u24de\u24d1"],
    "composed": ["zoé", "zoe\u0301", "ZOÉ", "ZOE\u0301"],
    "sharp s": ["straße", "STRASSE", "strasse", "straẞe"],
    "sigma": ["Σας", "ΣΑΣ", "\u03c3\u03b1\u03c3"],
    "Cyrillic": ["Paco", "\u0420\u0430\u0441\u043e", "P\u0430co", "Pac\u043e"],
    "Cyrillic capitals": ["BOBA", "\u0412\u041e\u0412\u0410", "\u0432\u043e\u0432\u0430"],
    "Greek capitals": ["TANIA", "\u03a4\u0391\u039d\u0399\u0391"],
    "Armenian": ["uno", "\u057d\u0578\u0585"],
    "bars": ["Alice", "AIice", "A1ice", "Al\u0456ce", "A\u04cfice", "Al\u0131ce"],
    "rings": ["Bob", "B0b", "B\u043eb", "B\u03bfb"],
}


@pytest.mark.parametrize("names", SAME.values(), ids=SAME)
def test_lookalikes_have_one_key(names) -> None:
    assert len({name_key(name) for name in names}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ada", "Adam"),
        ("Ada", "Ädä"),
        ("ab", "a b"),
        ("Иван", "Ivan"),
        ("Anna", "Ann"),
        ("李", "王"),
        ("10", "11"),
        ("Max", "Mix"),
    ],
)
def test_names_that_differ_have_two(one, other) -> None:
    assert name_key(one) != name_key(other)


def test_nothing_to_see_is_an_empty_key() -> None:
    assert name_key("\u200b\u200d \u3164\u2060") == ""


@given(st.text(max_size=64))
def test_a_key_is_its_own_key(name) -> None:
    key = name_key(name)
    assert name_key(key) == key


@given(st.text(max_size=64))
def test_case_width_composition_and_space_do_not_matter(name) -> None:
    key = name_key(name)
    assert name_key(name.upper().lower()) == name_key(name.lower())
    assert name_key(name.casefold()) == key
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert name_key(unicodedata.normalize(form, name)) == key
    assert name_key(f"  {name}\u2003") == key


@given(
    st.text(max_size=30),
    st.text(max_size=30),
    st.sampled_from("\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u3164\ufe0f"),
)
def test_an_unseen_character_anywhere_does_not_matter(before, after, unseen) -> None:
    assert name_key(before + unseen + after) == name_key(before + after)


@given(st.text(max_size=64))
def test_a_key_is_of_bounded_length(name) -> None:
    assert len(name_key(name)) <= 18 * 3 * len(name)


def test_every_letter_alone_is_settled() -> None:
    for code in [*range(0x20, 0x3100), *range(0xA000, 0xAC00), *range(0xF900, 0x20000)]:
        if not 0xD800 <= code < 0xE000:
            key = name_key(chr(code))
            assert name_key(key) == key, hex(code)
