"""Twilio's signatures: the examples of its documentation and library, and what must not pass."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.telephony.signature import is_signed, signature_of

URL = "https://mycompany.com/myapp.php?foo=1&bar=2"


def form(number: str) -> list[tuple[str, str]]:
    return [
        ("CallSid", "CA1234567890ABCDE"),
        ("Caller", number),
        ("Digits", "1234"),
        ("From", number),
        ("To", "+18005551212"),
    ]


#: The first is the example of Twilio's page on security, the second that of its library's tests.
EXAMPLES = [
    ("+12349013030", "0/KCTR6DLpKmkAf8muzZqo1nDgQ="),
    ("+14158675309", "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
    ("+14158675310", "GvWf1cFY/Q7PnoempGyD5oXAezc="),
]


@pytest.mark.parametrize(("number", "signature"), EXAMPLES)
def test_twilios_examples_are_signed(number: str, signature: str) -> None:
    fields = form(number)
    assert signature_of("12345", URL, fields) == signature
    assert signature_of("12345", URL, fields[::-1]) == signature
    assert is_signed("12345", URL, fields, signature)


@pytest.mark.parametrize(
    "signature", ["", "x", "RSOYDt4T1cUTdK1PDd93/VVr8B8", "rsoydt4t1cutdk1pdd93/vvr8b8=", "\N{SNOWMAN}"]
)
def test_other_signatures_do_not_pass(signature: str) -> None:
    assert not is_signed("12345", URL, form("+14158675309"), signature)


def test_nothing_signed_may_change() -> None:
    fields = form("+14158675309")
    signature = signature_of("12345", URL, fields)
    assert not is_signed("12346", URL, fields, signature)
    assert not is_signed("12345", URL.replace("foo=1", "foo=2"), fields, signature)
    assert not is_signed("12345", URL.replace("https", "http"), fields, signature)
    assert not is_signed("12345", URL, fields[1:], signature)
    assert not is_signed("12345", URL, [*fields, ("lobby", "secret")], signature)


@pytest.mark.parametrize(
    ("written", "called"),
    [
        ("https://a.example/x", "https://a.example:443/x"),
        ("https://a.example:443/x", "https://a.example/x"),
        ("https://a.example:8443/x", "https://a.example/x"),
        ("wss://a.example/x", "wss://a.example:443/x"),
        ("http://[2001:db8::1]/x?y=", "http://[2001:db8::1]:80/x?y="),
    ],
)
def test_the_port_may_be_there_or_not(written: str, called: str) -> None:
    assert is_signed("12345", written, (), signature_of("12345", called))


def test_a_name_with_several_values_is_signed_with_each_once_in_order() -> None:
    fields = [("To", "b"), ("To", "a"), ("To", "b"), ("A", "z")]
    assert signature_of("12345", "https://a.example/", fields) == signature_of(
        "12345", "https://a.example/AzToaTob"
    )


@given(st.lists(st.tuples(st.text(), st.text())), st.text(max_size=30))
def test_any_form_is_judged(fields: list[tuple[str, str]], signature: str) -> None:
    try:
        right = signature_of("12345", URL, fields)
    except UnicodeEncodeError:  # halves of surrogate pairs, which no UTF-8 form has
        return
    assert is_signed("12345", URL, fields, right)
    assert is_signed("12345", URL, fields, signature) == (signature == right)
