"""ADMIN_EVENTS.md and the code say the same."""

import json
import re
from pathlib import Path

import pytest

import signaling
from signaling import bus, event_store
from signaling.event_feed import batch, feed
from signaling.messages import decode_client, decode_server
from signaling.messages.feed import (
    FEED_CLIENT_MESSAGES,
    FEED_SERVER_MESSAGES,
    MAX_FRAME_EVENTS,
    MAX_INTERVAL_MS,
    MAX_TYPES,
    FeedEvent,
)

PAGE = (Path(signaling.__file__).parent / "ADMIN_EVENTS.md").read_text(encoding="utf-8")


def chapter(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def fields_in(text: str) -> list[str]:
    return re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)


MESSAGES = {
    re.match(r"`(\w+)`", text)[1]: text
    for title in ("Requests and their replies", "Events")
    for text in chapter(title).split("\n### ")[1:]
}
MODELS = {**FEED_CLIENT_MESSAGES, **FEED_SERVER_MESSAGES}


def test_every_message_has_one_section() -> None:
    assert set(MESSAGES) == set(MODELS)
    assert len(MODELS) == len(FEED_CLIENT_MESSAGES) + len(FEED_SERVER_MESSAGES)


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_fields_and_example_are_those_of_the_model(name: str) -> None:
    assert fields_in(MESSAGES[name]) == list(MODELS[name].model_fields)
    (example,) = re.findall(r"```json\n(.*?)```", MESSAGES[name], re.DOTALL)
    if name in FEED_CLIENT_MESSAGES:
        message = decode_client(example, FEED_CLIENT_MESSAGES).message
    else:
        message = decode_server(example, FEED_SERVER_MESSAGES).message
    assert type(message) is MODELS[name]
    assert message.model_dump(mode="json") == json.loads(example)["data"]


def test_the_noun_has_the_fields_of_its_model() -> None:
    assert fields_in(chapter("Nouns")) == list(FeedEvent.model_fields)


def test_numbers_in_the_page_are_those_of_the_code() -> None:
    text = " ".join(PAGE.split())
    for number, phrase in (
        (bus.REPLAY_EVENTS, "({} events,"),
        (bus.REPLAY_SECONDS, "{} s) from the store"),
        (event_store.RESTART_GAP, "one of {} at each start"),
        (batch.FREQUENT_SECONDS * 1000, "until {} ms after the last frame"),
        (feed.QUEUE_EVENTS, "when {} events wait for it"),
        (feed.REQUEST_BURST, "send {} requests in a burst"),
        (feed.REQUESTS_PER_SECOND, "in a burst and {} a second"),
        (feed.REFUSAL_BURST, "more than {} refusals"),
        (feed.REFUSALS_PER_SECOND, "and {} more a second"),
        (MAX_TYPES, "list of up to {} strings"),
        (MAX_FRAME_EVENTS, "list of up to {} *event*"),
    ):
        assert phrase.format(f"{int(number):,}") in text, phrase
    assert f"0\u2013{MAX_INTERVAL_MS}" in text
