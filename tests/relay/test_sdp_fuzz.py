"""Any text gives an Offer or RemoteProtocolError, and any Offer can be answered."""

from collections.abc import Callable

from hypothesis import example, given, settings
from hypothesis import strategies as st
from willing_answer import SAMPLES, answer_sections, answer_willingly

from relay.answer import Carried
from relay.errors import RemoteProtocolError
from relay.offer import OFFER_ERRORS, parse_offer
from relay.offered import Offer
from relay.payloads import PayloadMaps

Mutation = Callable[[list[str]], list[str]]

LINES = sorted({line for sample in SAMPLES.values() for line in sample.splitlines()})
INTERESTING = (
    "",
    " ",
    ":",
    "/",
    "0",
    "-1",
    "65536",
    "4294967296",
    "9" * 5_000,
    "*",
    "\x00",
    "\x0b",
    "\u2028",
    "m=",
    "a=",
    "é",
    "\u0661",
)


def drop(place: int) -> Mutation:
    return lambda lines: lines[: place % len(lines)] + lines[place % len(lines) + 1 :]


def duplicate(place: int, target: int) -> Mutation:
    def mutate(lines: list[str]) -> list[str]:
        at = target % len(lines)
        return [*lines[:at], lines[place % len(lines)], *lines[at:]]

    return mutate


def insert(line: str, place: int) -> Mutation:
    return lambda lines: [*lines[: place % len(lines)], line, *lines[place % len(lines) :]]


def garble(place: int, start: int, length: int, text: str) -> Mutation:
    def mutate(lines: list[str]) -> list[str]:
        line = lines[place % len(lines)]
        at = start % (len(line) + 1)
        return [
            *lines[: place % len(lines)],
            line[:at] + text + line[at + length :],
            *lines[place % len(lines) + 1 :],
        ]

    return mutate


def rename(old: int, new: int) -> Mutation:
    """Let one small number mean another everywhere: payload types, ids, mids and SSRCs clash."""
    return lambda lines: [line.replace(f":{old} ", f":{new} ") for line in lines]


places = st.integers(0, 10_000)
texts = (
    st.sampled_from(INTERESTING)
    | st.text(max_size=10)
    | st.from_regex(r"[0-9 :/a-z=.\-]{1,8}", fullmatch=True)
)
mutations = st.one_of(
    st.builds(drop, places),
    st.builds(duplicate, places, places),
    st.builds(insert, st.sampled_from(LINES), places),
    st.builds(garble, places, places, st.integers(0, 12), texts),
    st.builds(rename, st.integers(0, 130), st.integers(0, 130)),
)


@st.composite
def mutated_offers(draw: st.DrawFn) -> str:
    lines = SAMPLES[draw(st.sampled_from(sorted(SAMPLES)))].splitlines()
    for mutation in draw(st.lists(mutations, max_size=8)):
        lines = mutation(lines) or [""]
    return draw(st.sampled_from(["\r\n", "\n"])).join(lines) + "\r\n"


def check(text: str) -> None:
    """Read `text`, and answer it where it is an offer."""
    try:
        offer = parse_offer(text)
    except RemoteProtocolError as error:
        code, message = error.code, str(error)
    else:
        check_answer(offer)
        return
    assert code in OFFER_ERRORS
    assert message


def check_answer(offer: Offer) -> None:
    PayloadMaps.of(section for section in answer_sections(offer) if isinstance(section, Carried))
    lines = answer_willingly(offer).split("\r\n")
    assert not any(line.splitlines() != [line] for line in lines[:-1])
    kinds = [line.split()[0] for line in lines if line.startswith("m=")]
    assert kinds == [f"m={section.kind}" for section in offer.sections]
    mids = [line for line in lines if line.startswith("a=mid:")]
    assert mids == [f"a=mid:{section.mid}" for section in offer.sections if section.mid]


@settings(max_examples=1_000, deadline=None)
@given(mutated_offers())
def test_a_mutated_offer_is_read_or_refused_with_a_code(text: str) -> None:
    check(text)


@settings(deadline=None)
@given(st.text() | st.lists(st.sampled_from(LINES), max_size=40).map("\n".join))
@example("v=0")
@example("v=0\nm=audio 0 RTP/AVP 0")
@example("v=0\nm=")
@example("v=0\na=group:BUNDLE\nm=audio 9 RTP/AVP 0")
def test_any_text_is_read_or_refused_with_a_code(text: str) -> None:
    check(text)


@settings(deadline=None)
@given(st.lists(st.sampled_from(LINES), max_size=30), st.lists(st.sampled_from(LINES), max_size=30))
def test_lines_of_many_offers_in_one_section_are_read_or_refused_with_a_code(
    first: list[str], second: list[str]
) -> None:
    media = [line for line in (*first, *second) if not line.startswith("m=")]
    head = SAMPLES["ffmpeg_whip"].split("m=")[0]
    transport = [
        line for line in SAMPLES["ffmpeg_whip"].splitlines() if "ice" in line or "fingerprint" in line
    ]
    section = ["m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 99 111", "a=mid:0", "a=rtcp-mux", *transport, *media]
    check(head + "\n".join(section))
