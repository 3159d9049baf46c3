"""TwiML is XML, whatever stands in it."""

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.telephony.twiml import connect_stream


def parse(text: str) -> ET.Element:
    return ET.fromstring(text.encode())


def test_a_call_is_connected_to_a_stream() -> None:
    text = connect_stream("wss://a.example/telephony/twilio", {"lobby": "Support", "name": "Ada \"<&>'\n"})
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n<Response><Connect><Stream url="wss://')
    stream = parse(text).find("Connect/Stream")
    assert stream is not None
    assert stream.attrib == {"url": "wss://a.example/telephony/twilio"}
    assert [each.attrib for each in stream.findall("Parameter")] == [
        {"name": "lobby", "value": "Support"},
        {"name": "name", "value": "Ada \"<&>'\n"},
    ]


#: XML 1.0 reads a lone carriage return in a text as a line feed, but not in an attribute that writes it as a reference.
CHARACTERS = st.characters(codec="utf-8", exclude_categories=("Cs",), exclude_characters="\ufffe\uffff")


@given(st.dictionaries(st.text(CHARACTERS, max_size=20), st.text(CHARACTERS, max_size=100), max_size=5))
def test_any_parameters_come_back_without_what_xml_cannot_say(parameters: dict[str, str]) -> None:
    stream = parse(connect_stream("wss://a.example/?a=1&b=2", parameters)).find("Connect/Stream")
    assert stream is not None
    assert stream.attrib["url"] == "wss://a.example/?a=1&b=2"
    got = [(each.attrib["name"], each.attrib["value"]) for each in stream]
    assert got == [(plain(name), plain(value)) for name, value in parameters.items()]


def plain(text: str) -> str:
    return "".join(each for each in text if each >= " " or each in "\t\n\r")


def test_a_parameter_that_twilio_would_cut_is_refused() -> None:
    connect_stream("wss://a.example", {"a": "x" * 499})
    with pytest.raises(ValueError, match="longer than 500"):
        connect_stream("wss://a.example", {"a": "x" * 500})
