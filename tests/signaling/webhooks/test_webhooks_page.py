"""docs/webhooks.md and the code say the same, and what receivers are told to do works."""

import importlib
import json
import pkgutil
import re
import sys
import tomllib
import types
from dataclasses import fields
from pathlib import Path

import pytest
from http_peer import http_peer
from pydantic import BaseModel
from test_webhooks import OTHER_SECRET, SECRET, endpoint_at, telling

import signaling
from signaling import events
from signaling.event_mapping import PRIVATE_FIELDS
from signaling.messages import ChatMessage, Participant, Track
from signaling.outbound.calls import OUTBOUND_LIMITS
from signaling.outbound.circuit_breaker import FAILURES, OPEN_SECONDS
from signaling.settings import load_settings
from signaling.webhooks.deliveries import FLUSH_SECONDS, WEBHOOK_POLICY
from signaling.webhooks.endpoint import MAX_ENDPOINTS, webhook_endpoints
from signaling.webhooks.worker import QUEUE_DELIVERIES

PAGE = (Path(signaling.__file__).parents[1] / "docs" / "webhooks.md").read_text(encoding="utf-8")
ROWS = {
    name: set(re.findall(r"`(\w+)`", names))
    for name, names in re.findall(r"^\| `([A-Z]\w+)` \| ([^|]*) \|", PAGE, re.MULTILINE)
}
EXAMPLES = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]
MODELS: dict[str, type[BaseModel]] = {"participant": Participant, "track": Track, "message": ChatMessage}


def every_event() -> dict[str, type[events.Event]]:
    """Return all kinds of events of the service, of whatever package; not those of tests."""
    for module in pkgutil.walk_packages(signaling.__path__, "signaling."):
        if module.name.endswith(".events"):
            importlib.import_module(module.name)
    found: dict[str, type[events.Event]] = {}
    waiting = [events.Event]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        module = sys.modules[kind.__module__]
        # A dataclass with slots is made twice; the module has the one that counts.
        if kind.__module__.startswith("signaling.") and getattr(module, kind.__name__) is kind:
            found[kind.__name__] = kind
    bases = {base.__name__ for kind in found.values() for base in kind.__mro__[1:]}
    return {name: kind for name, kind in found.items() if name not in bases}


def test_every_event_has_a_row_with_all_its_fields() -> None:
    known = {name: {each.name for each in fields(kind)} for name, kind in every_event().items()}
    assert known == {name: ROWS.get(name) for name in known}
    # Bots are a package of their own; as long as it has no events, these rows are a promise.
    assert all(name.startswith(("Bot", "Provider")) for name in ROWS.keys() - known.keys())


def test_every_event_but_the_servers_own_says_which_company_it_concerns() -> None:
    without = {name for name, names in ROWS.items() if "company_id" not in names}
    assert without == {"WorkerOverloaded", "WorkerRecovered"}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["type"])
def test_examples_have_the_shape_of_what_is_sent(example) -> None:
    assert list(example) == ["type", "timestamp", "seq", "correlation_id", "data"]
    assert set(example["data"]) == ROWS[example["type"]]
    for name, model in MODELS.items():
        if name in example["data"]:
            shown = example["data"][name]
            private = PRIVATE_FIELDS.get(model, frozenset())
            assert set(shown) == set(model.model_fields) - private
            model.model_validate(shown | dict.fromkeys(private, ""))


def test_each_family_has_an_example() -> None:
    chapters = PAGE.split("\n## Events\n")[1].split("\n### ")[1:]
    assert len(chapters) >= 6
    assert all("```json" in text for text in chapters)


async def test_the_snippet_takes_what_is_ours_and_refuses_the_rest(monkeypatch) -> None:
    snippet = types.ModuleType("snippet")
    exec(re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1], snippet.__dict__)
    async with http_peer() as peer, telling(endpoint_at(peer, secrets=(OTHER_SECRET, SECRET))) as service:
        service.happen("garden")
        await peer.wait_heard(1)
    (heard,) = peer.heard
    for secret in (SECRET, OTHER_SECRET):
        assert snippet.verify(secret, heard.headers, heard.body)["data"]["lobby"] == "garden"
    for secret, headers, body in (
        ("another secret altogether", heard.headers, heard.body),
        (SECRET, heard.headers, heard.body + b" "),
        (SECRET, heard.headers | {"webhook-id": "msg-x"}, heard.body),
        (SECRET, heard.headers | {"webhook-signature": "v1,\u00e9 v2,x"}, heard.body),
    ):
        with pytest.raises(ValueError, match="not signed"):
            snippet.verify(secret, headers, body)
    recorded = heard.headers | {"webhook-timestamp": str(int(heard.headers["webhook-timestamp"]) - 301)}
    with pytest.raises(ValueError, match="too old"):
        snippet.verify(SECRET, recorded, heard.body)


def test_the_table_of_attempts_is_the_policy() -> None:
    class Extreme:
        """A chance that gives the shortest pause, or the longest."""

        def __init__(self, *, longest: bool) -> None:
            self.longest = longest

        def uniform(self, a: float, b: float) -> float:
            return b if self.longest else a

    rows = dict(re.findall(r"^\| (\d+) \| ([^|]+) \|", PAGE, re.MULTILINE))
    expected = {"1": "at once"}
    for attempt in range(2, WEBHOOK_POLICY.attempts + 1):
        refused = OPEN_SECONDS if attempt > FAILURES else 0
        shortest, longest = (
            max(refused, WEBHOOK_POLICY.pause_seconds(attempt - 1, Extreme(longest=each)))  # type: ignore[arg-type]
            for each in (False, True)
        )
        expected[str(attempt)] = f"{longest:g}" if shortest == longest else f"{shortest:g} to {longest:g}"
    assert rows == expected


def test_limits_are_those_of_the_code() -> None:
    for text in (
        f"All of it ends {WEBHOOK_POLICY.deadline_seconds:g} s after",
        f"After {FAILURES} failures in a row",
        f"for {OPEN_SECONDS:g} s nothing is sent",
        f"within {OUTBOUND_LIMITS.total_seconds:g} seconds",
        f"at most {OUTBOUND_LIMITS.body_bytes // 1024} KiB",
        f"at most {MAX_ENDPOINTS}, no two",
        f"more than {QUEUE_DELIVERIES:,} deliveries wait",
        f"it first has {FLUSH_SECONDS:g} s to deliver",
    ):
        assert text in PAGE.replace("\n", " ").replace("  ", " "), text


def test_the_example_of_the_settings_is_accepted() -> None:
    text = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)[1]
    flags = {"webhooks": tomllib.loads(text)["webhooks"]}
    settings = load_settings(flags, environment_file=None, default_file=None)
    (endpoint,) = webhook_endpoints(settings.webhooks)
    assert endpoint.types == {"LobbyOpened", "LobbyClosed", "ParticipantEntered", "ParticipantGone"}
