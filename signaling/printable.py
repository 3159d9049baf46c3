"""Text of strangers, made safe for a terminal and for files that are read by the line. Pure and total."""

import re

# C0 and C1 controls with DEL, line and paragraph separators, marks that turn the direction of writing or hide, halves of
# surrogate pairs. The joiners (U+200C, U+200D) stay: Persian and emoji need them.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
_UNSAFE_BUT_LINE_BREAKS = re.compile(_UNSAFE.pattern.replace("\x00-\x1f", "\x00-\x09\x0b-\x1f"))
_INDENT = "    "


def one_line(text: str) -> str:
    """Return the text on one line: what would move the cursor, or hide, is written as Python writes it."""
    return _UNSAFE.sub(_escaped, text)


def indented(text: str) -> str:
    """Return a text of many lines so that none of them can be taken for a line of its own."""
    safe = _UNSAFE_BUT_LINE_BREAKS.sub(_escaped, text)
    return "\n".join(_INDENT + line for line in safe.split("\n"))


def _escaped(found: "re.Match[str]") -> str:
    return found[0].encode("unicode_escape", "surrogatepass").decode("ascii")
