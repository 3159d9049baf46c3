"""When two display names count as the same: when a person could take one for the other.

``name_key`` maps a name to what is compared: compatibility forms unified (NFKC), case folded, characters that are not
seen removed, one space between words, and letters of other scripts replaced by the Latin ones they look like. It is
the idea of the skeletons of Unicode TS 39, with the commonest pairs instead of the whole table: accents count, and so
does "rn" for "m". Keys are for comparing, not for showing.
"""

import unicodedata

#: Not seen and yet not in category Cf (Unicode's Default_Ignorable_Code_Point): the combining grapheme joiner, Hangul
#: fillers, Khmer and Mongolian inherent marks, variation selectors, and the blank of Braille.
_UNSEEN = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2065\u2800\u3164\uffa0"
    + "".join(map(chr, [*range(0xFE00, 0xFE10), *range(0xFFF0, 0xFFF9), *range(0xE0000, 0xE1000)]))
)

#: Folded letter -> the folded Latin letter it looks like in either case. The digits 1 and 0 pass for l and o, and so
#: does i, whose capital is an l without serifs.
_LOOKALIKES = str.maketrans(
    "01i\u0131\u0261\u0269"  # Latin: dotless i, script g, iota
    "авезкмнорстухіјѕԁԛԝһӏьү"  # Cyrillic
    "αβεζηικμνορτυχϲϳ"  # Greek
    "օսոցհ",  # Armenian  # noqa: RUF001
    "olllglabe3kmhopctyxljsdqwhlbyabezhlkmnoptyxcjounqh",
)

#: Each round can only join or remove; three were the most that 400,000 random letters with marks took.
_ROUNDS = 8


def name_key(name: str) -> str:
    """Return what a name is compared by: names with the same key are the same name, and a key is its own key.

    It is empty when nothing of the name can be seen.
    """
    key = name
    for _ in range(_ROUNDS):
        former = key
        key = "".join(character for character in key if _is_seen(character))
        key = unicodedata.normalize("NFKC", key).casefold().translate(_LOOKALIKES)
        key = unicodedata.normalize("NFKC", key)
        key = " ".join(key.split())
        if key == former:
            break
    return key


def _is_seen(character: str) -> bool:
    return unicodedata.category(character) != "Cf" and character not in _UNSEEN
