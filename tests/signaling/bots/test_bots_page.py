"""BOTS.md and the code say the same."""

import json
import re
from pathlib import Path

import pytest
import trio

import signaling
import voicebot
from signaling.bots import endpoint
from signaling.bots.config_schema import _KEYWORDS, MAX_CONFIG_BYTES, MAX_SCHEMA_BYTES
from signaling.bots.deadlines import BotLimits, Deadlines
from signaling.bots.events import STATE_EVENTS
from signaling.bots.lifecycle import BotState, Ending
from signaling.messages import decode_client, decode_server
from signaling.messages.bots import (
    MAX_ANSWER_LENGTH,
    MAX_CAPABILITIES,
    MAX_PROVIDER_CAPACITY,
    PROVIDER_CLOSE_CODES,
    PROVIDER_ERROR_CODES,
    PROVIDER_MESSAGES,
    TO_PROVIDER_MESSAGES,
)

PAGE = (Path(signaling.__file__).parent / "BOTS.md").read_text(encoding="utf-8")


def chapter(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


MESSAGES = {
    re.match(r"`(\w+)`", text)[1]: text
    for title in ("Requests and their replies", "What the server says")
    for text in chapter(title).split("\n### ")[1:]
}
MODELS = {**PROVIDER_MESSAGES, **TO_PROVIDER_MESSAGES}


def test_every_message_has_one_section() -> None:
    assert set(MESSAGES) == set(MODELS)
    assert len(MODELS) == len(PROVIDER_MESSAGES) + len(TO_PROVIDER_MESSAGES)


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_fields_and_example_are_those_of_the_model(name: str) -> None:
    fields = re.findall(r"^\| `(\w+)` \|", MESSAGES[name], re.MULTILINE)
    assert fields == list(MODELS[name].model_fields)
    (example,) = re.findall(r"```json\n(.*?)```", MESSAGES[name], re.DOTALL)
    if name in PROVIDER_MESSAGES:
        message = decode_client(example, PROVIDER_MESSAGES).message
    else:
        message = decode_server(example, TO_PROVIDER_MESSAGES).message
    assert type(message) is MODELS[name]
    assert message.model_dump(mode="json") == json.loads(example)["data"]


def test_codes_are_those_of_the_code() -> None:
    errors = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", chapter("Error codes"), re.MULTILINE))
    assert errors == {code.value: meaning for code, meaning in PROVIDER_ERROR_CODES.items()}
    closes = dict(re.findall(r"^\| (\d+) \| (.*) \|$", chapter("Close codes"), re.MULTILINE))
    assert closes == {str(int(code)): meaning for code, meaning in PROVIDER_CLOSE_CODES.items()}


def test_states_endings_and_events_are_those_of_the_code() -> None:
    life = chapter("The life of a bot")
    assert re.findall(r"^\| `(\w+)` \|", life, re.MULTILINE) == [state.value for state in BotState]
    for kind in STATE_EVENTS.values():
        assert f"`{kind.__name__}`" in life
    for ending in Ending:
        assert f"`{ending.value}`" in life


def test_keywords_of_schemas_are_those_of_the_code() -> None:
    text = chapter("Limits")
    limits = {each for each in _KEYWORDS if each.startswith(("min", "max", "exclusive"))}
    for keyword in _KEYWORDS.keys() - limits:
        assert f"`{keyword}`" in text, keyword


def test_the_bot_in_the_page_is_one() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", chapter("In Python"), re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, "BOTS.md", "exec"), names)
    bot = names["Echo"]
    assert isinstance(bot, type)
    assert issubclass(bot, voicebot.Bot)
    asking = bot(voicebot.Assignment("b-1", "garden", "l-1", "", "Echo", {})).answer("hello", "p-1")
    assert trio.run(lambda: asking) == "hello"


def test_numbers_in_the_page_are_those_of_the_code() -> None:
    text = " ".join(PAGE.split())
    deadlines, limits = Deadlines(), BotLimits()
    for number, phrase in (
        (deadlines.request_s, "another provider | {} s;"),
        (deadlines.reassign_s, "; {} s when its provider failed"),
        (deadlines.offer_s, "a provider was asked | {} s |"),
        (deadlines.join_s, "said yes | {} s |"),
        (deadlines.leave_s, "how it ended | {} s |"),
        (deadlines.cool_down_s, "passed over for {} s,"),
        (deadlines.max_cool_down_s, "failure, {} s at most"),
        (limits.offers, "no more than {} offers"),
        (limits.reassignments + 1, "failed {} times in a row"),
        (deadlines.settled_s, "each time within {} s"),
        (deadlines.alone_s, "nobody but bots has been for {} s"),
        (deadlines.restart_s, "have {} s to come back"),
        (endpoint.REGISTER_SECONDS, "`register` within {} s"),
        (deadlines.answer_s, "`no_answer` within {} s"),
        (deadlines.heartbeat_s, "comes every {} s"),
        (deadlines.late_s, "not heard of for {} s"),
        (deadlines.away_s, "*away* for {} s"),
        (endpoint.MAX_MESSAGE_BYTES, "at most {} bytes"),
        (endpoint.MESSAGE_BURST, "send {} messages in a burst"),
        (endpoint.MESSAGES_PER_SECOND, "burst and {} a second"),
        (endpoint.REFUSAL_BURST, "more than {} errors"),
        (endpoint.REFUSALS_PER_SECOND, "and {} more a second"),
        (limits.providers, "There may be {} providers"),
        (limits.providers_per_company, "{} of each company"),
        (limits.bots, "; {} bots,"),
        (limits.bots_per_lobby, "{} of them in one lobby"),
        (limits.questions, "at most {} questions"),
        (MAX_SCHEMA_BYTES, "have at most {} bytes each"),
        (MAX_CAPABILITIES, "list of up to {} words"),
        (MAX_PROVIDER_CAPACITY, "list of up to {} strings"),
        (MAX_ANSWER_LENGTH, "0\u2013{} |"),
    ):
        assert phrase.format(f"{int(number):,}") in text, phrase
    assert MAX_CONFIG_BYTES == MAX_SCHEMA_BYTES
    assert f"integer, 1\u2013{MAX_PROVIDER_CAPACITY}" in text
