"""PEER_PATH.md and the code say the same."""

import json
import re
from pathlib import Path

import pytest

import relay
import signaling
from signaling import connection
from signaling.messages.model import MAX_CHAT_LENGTH
from signaling.peer_path import PATTERN, PEER_CLOSE_CODES, PEER_ERROR_CODES, PeerCloseCode, PeerErrorCode
from signaling.peer_path.address import DEFAULT_LOBBY
from signaling.peer_path.connection import (
    VIOLATION_BURST,
    VIOLATIONS_PER_SECOND,
)
from signaling.peer_path.messages import (
    MAX_PEER_ID_LENGTH,
    PEER_REPLIES,
    PEER_REQUESTS,
    RELAY_PEER,
    decode_request,
    encode_reply,
)
from signaling.peer_path.questions import ANSWER_SECONDS, MAX_QUESTIONS
from signaling.session_limits import SESSION_LIMITS

PAGE = (Path(signaling.__file__).parent / "PEER_PATH.md").read_text(encoding="utf-8")
TABLES = {"request": PEER_REQUESTS, "reply": PEER_REPLIES}


def chapter(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


MESSAGES = {
    re.match(r"`(\w+)` \((\w+)\)", text).groups(): text for text in chapter("Frames").split("\n### ")[1:]
}


def test_every_message_has_one_section() -> None:
    assert sorted(MESSAGES) == sorted((name, way) for way, table in TABLES.items() for name in table)


@pytest.mark.parametrize("message", sorted(MESSAGES), ids="-".join)
def test_fields_and_example_of_a_message_are_those_of_its_model(message: tuple[str, str]) -> None:
    name, way = message
    model = TABLES[way][name]
    assert re.findall(r"^\| `(\w+)` \|", MESSAGES[message], re.MULTILINE) == list(model.model_fields)
    (example,) = re.findall(r"```json\n(.*?)```", MESSAGES[message], re.DOTALL)
    content = json.loads(example)
    if way == "request":
        assert type(decode_request(example)) is model
        assert set(content) == {"type", *model.model_fields}
    else:
        assert content.pop("type") == name
        assert json.loads(encode_reply(model(**content))) == json.loads(example)


def test_codes_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", chapter("Error codes"), re.MULTILINE)
    assert dict(rows) == {code.value: text for code, text in PEER_ERROR_CODES.items()}
    assert set(PeerErrorCode) <= set(PEER_ERROR_CODES)
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", chapter("Close codes"), re.MULTILINE)
    assert dict(rows) == {str(int(code)): text for code, text in PEER_CLOSE_CODES.items()}
    assert set(PeerCloseCode) <= set(PEER_CLOSE_CODES)


def test_codes_named_elsewhere_exist() -> None:
    assert set(re.findall(r"\b(4\d{3}|10\d\d)\b", PAGE)) == {str(int(code)) for code in PEER_CLOSE_CODES}
    reply = MESSAGES["message", "request"].split("Reply: ")[1].split("\n\n")[0]
    name, *errors = re.findall(r"`(\w+)`", reply)
    assert name in PEER_REPLIES
    assert set(errors) <= {code.value for code in PEER_ERROR_CODES}


def test_names_and_numbers_in_the_page_are_those_of_the_code() -> None:
    text = " ".join(PAGE.split())
    chat = SESSION_LIMITS["chat"]
    for value, phrase in (
        (PATTERN, "`{}`"),
        (DEFAULT_LOBBY, "without it that is `{}`"),
        (RELAY_PEER, "The relay is the peer `{}`"),
        (MAX_PEER_ID_LENGTH, "the id is 1 to {} printable"),
        (MAX_CHAT_LENGTH, "1 to {:,} characters"),
        (connection.MESSAGE_BURST, "{} messages in a burst"),
        (connection.MESSAGES_PER_SECOND, "{:g} a second on average"),
        (connection.REFUSAL_BURST, "more than {} refusals"),
        (connection.REFUSALS_PER_SECOND, "and {:g} more a second, close with 1008"),
        (VIOLATION_BURST, "more than {} of them"),
        (VIOLATIONS_PER_SECOND, "and {:g} more a second, close with 4004"),
        (chat.burst, "bot: {} in a burst"),
        (chat.per_second, "and {:g} a second,"),
        (MAX_QUESTIONS, "{} of them unanswered at a time"),
        (ANSWER_SECONDS, "waited for {:g} s"),
    ):
        assert phrase.format(value) in text, phrase
    assert len(relay.AudioSlots().slots) == 3  # "three or more"
