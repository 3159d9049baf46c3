"""The offers against aiortc's parser and the relay's own, and what is asked of an answer."""

import pytest
from aiortc import sdp as aiortc_sdp

from bench.errors import BenchError
from bench.offer import LocalTransport, read_answer, write_publishing_offer, write_subscribing_offer
from bench.payload import PayloadKind
from relay.certificate import Certificate
from relay.dtls import DtlsRole
from relay.ice import IceCredentials
from relay.offer import parse_offer

LOCAL = LocalTransport(
    IceCredentials("abcd1234", "0123456789abcdef01234567"), Certificate.generate().fingerprint()
)

ANSWER = """v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
a=ice-lite
m=audio 40000 UDP/TLS/RTP/SAVPF 111
c=IN IP4 127.0.0.1
a=mid:0
a=ice-ufrag:abcd
a=ice-pwd:0123456789012345678901
a=fingerprint:sha-256 {fingerprint}
a=setup:passive
a=candidate:1 1 tcp 1 127.0.0.1 9 typ host
a=candidate:1 1 udp 2130706431 127.0.0.1 40000 typ host
a=candidate:2 1 UDP 2130706175 ::1 40001 typ host
""".replace("{fingerprint}", LOCAL.fingerprint)


@pytest.mark.parametrize("kind", PayloadKind)
def test_a_publishing_offer_is_read_by_aiortc_and_by_the_relay(kind):
    text = write_publishing_offer(LOCAL, kind, 12345)
    (media,) = aiortc_sdp.SessionDescription.parse(text).media
    assert (media.kind, media.direction, media.ssrc[0].ssrc) == (kind.media, "sendonly", 12345)
    (section,) = parse_offer(text).sections
    assert section.bundled
    assert section.ssrcs == (12345,)


@pytest.mark.parametrize("count", [1, 20])
def test_a_subscribing_offer_has_a_section_for_every_track(count):
    text = write_subscribing_offer(LOCAL, PayloadKind.AUDIO, count)
    sections = aiortc_sdp.SessionDescription.parse(text).media
    assert [media.direction for media in sections] == ["recvonly"] * count
    assert parse_offer(text).bundle == tuple(str(index) for index in range(count))


def test_an_answer_tells_where_and_how_to_connect():
    remote = read_answer(ANSWER)
    assert remote.candidates == (("127.0.0.1", 40000), ("::1", 40001))
    assert remote.role is DtlsRole.CLIENT
    assert remote.ice.ufrag == "abcd"
    assert [one.value for one in remote.fingerprints] == [LOCAL.fingerprint]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("m=audio 40000", "m=audio 0", "refused 1 of the sections"),
        ("a=setup:passive", "a=setup:actpass", "expected active or passive"),
        ("a=setup:passive\n", "", "no a=setup"),
        ("a=candidate", "a=nothing", "no a=candidate"),
    ],
)
def test_an_answer_that_cannot_be_used_is_an_error_that_says_why(old, new, told):
    with pytest.raises(BenchError, match=told):
        read_answer(ANSWER.replace(old, new))
