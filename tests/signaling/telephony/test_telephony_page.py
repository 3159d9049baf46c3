"""docs/telephony.md and the code say the same."""

import re
from pathlib import Path

import signaling
from signaling.messages import CloseCode
from signaling.settings import Settings
from signaling.telephony import exotel, exotel_entry, routes, stream_ticket, twilio_entry
from signaling.telephony.bot_dialer import RETRIES
from signaling.telephony.bot_socket import LIMITS
from signaling.telephony.bots import CONFIG_SCHEMA, NAME
from signaling.telephony.calls import CALL_LIMITS
from signaling.telephony.line_speech import MAX_WAITING_SECONDS
from signaling.telephony.mirror import MIRROR_LIMITS
from signaling.telephony.playout_watch import BEHIND_SECONDS

PAGE = (Path(signaling.__file__).parents[1] / "docs" / "telephony.md").read_text(encoding="utf-8")
TEXT = " ".join(PAGE.split())


def test_the_page_names_every_setting_of_telephony() -> None:
    own = [name for name in Settings.model_fields if name.startswith(("telephony", "twilio", "exotel"))]
    assert len(own) == 7
    for name in own:
        assert re.search(rf"\b{name}\b", PAGE), name
    named = set(re.findall(r"`((?:telephony|twilio|exotel|max)_[a-z_]+)`", PAGE))
    assert named <= set(Settings.model_fields)


def test_the_page_tells_the_paths_and_what_a_twilio_bot_takes() -> None:
    for path in (twilio_entry.PATH, exotel_entry.PATH):
        assert f"relay.example.org{path}" in PAGE
    assert f'"provider": "{NAME}"' in PAGE
    for name in CONFIG_SCHEMA["properties"]:
        assert f"- `{name}`" in PAGE


def test_the_page_tells_the_limits() -> None:
    for text in (
        f"no `start` within {CALL_LIMITS.start_seconds:g} s",
        f"more than {CALL_LIMITS.messages_per_second:g} messages a second",
        f"{routes.TWILIO_MESSAGE_BYTES // 1024} KiB (Twilio) or {routes.EXOTEL_MESSAGE_BYTES // 1024} KiB (Exotel)",
        f"at least {exotel.MIN_CHUNK_BYTES} bytes",
        f"An attempt to connect may take {LIMITS.connect_seconds:g} s",
        f"within {RETRIES.deadline_seconds:g} s",
        f"does not read for {LIMITS.send_seconds:g} s",
    ):
        assert text in TEXT, text
    assert (stream_ticket.VALID_SECONDS, "good for two minutes" in TEXT) == (120, True)
    assert (BEHIND_SECONDS, "not back after two seconds" in TEXT) == (2, True)
    assert (RETRIES.attempts, "is tried three times" in TEXT) == (3, True)
    assert CALL_LIMITS.fault_burst == MIRROR_LIMITS.fault_burst == 20
    assert "twenty are put up with" in TEXT
    assert f"{MAX_WAITING_SECONDS} s may wait to be played" in TEXT


def test_the_page_tells_the_close_codes() -> None:
    codes = {int(each) for each in re.findall(r"^\| (\d{4}) \|", PAGE, re.MULTILINE)}
    assert codes == {
        CloseCode.NORMAL,
        CloseCode.GOING_AWAY,
        CloseCode.POLICY,
        CloseCode.TOO_LARGE,
        CloseCode.INTERNAL,
        CloseCode.TRY_LATER,
        CloseCode.KEEPALIVE_TIMEOUT,
    }
