"""Our DTLS against aiortc's, down to an SRTP packet that each can read of the other."""

import asyncio

import pytest
from aiortc.rtcdtlstransport import RTCCertificate, RTCDtlsFingerprint, RTCDtlsParameters, RTCDtlsTransport
from pylibsrtp import Policy, Session

from relay.certificate import Certificate
from relay.dtls import DtlsClosed, DtlsConnected, DtlsRole, DtlsTransport, Fingerprint, SrtpProfile

OURS = Certificate.generate()
RTP = bytes.fromhex("8000000100000001deadbeef") + b"payload"
LIBSRTP_PROFILES = {
    SrtpProfile.AEAD_AES_128_GCM: Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    SrtpProfile.AES128_CM_SHA1_80: Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
}


class Wire:
    """What aiortc takes for its ICE transport: it hands datagrams to our association and back."""

    role = "controlling"
    state = "completed"

    def __init__(self, ours):
        self.ours = ours
        self.to_aiortc = asyncio.Queue()
        self.media = []

    def flush(self):
        for datagram in self.ours.datagrams_to_send():
            self.to_aiortc.put_nowait(datagram)

    async def _recv(self):
        return await self.to_aiortc.get()

    async def _send(self, data):
        if data[0] >= 128:
            self.media.append(data)
        else:
            self.ours.receive_datagram(data, 0)
            self.flush()


def session(key, profile, direction):
    return Session(Policy(key=key, ssrc_type=direction, srtp_profile=LIBSRTP_PROFILES[profile]))


async def talk(role, profile):
    certificate = RTCCertificate.generateCertificate()
    [sha_256] = [one for one in certificate.getFingerprints() if one.algorithm == "sha-256"]
    ours = DtlsTransport(OURS, role, [Fingerprint(sha_256.algorithm, sha_256.value)], (profile,))
    wire = Wire(ours)
    theirs = RTCDtlsTransport(wire, [certificate])
    theirs._set_role("server" if role is DtlsRole.CLIENT else "client")
    ours.start(0)
    wire.flush()
    await theirs.start(RTCDtlsParameters([RTCDtlsFingerprint("sha-256", OURS.fingerprint())]))
    event = ours.next_event()
    assert isinstance(event, DtlsConnected)
    assert event.profile is profile

    await theirs._send_rtp(RTP)
    [protected] = wire.media
    assert session(event.remote_key, profile, Policy.SSRC_ANY_INBOUND).unprotect(protected) == RTP
    protected = session(event.local_key, profile, Policy.SSRC_ANY_OUTBOUND).protect(RTP)
    assert theirs._rx_srtp.unprotect(protected) == RTP

    await theirs.stop()
    assert ours.next_event() == DtlsClosed()


@pytest.mark.parametrize("role", DtlsRole)
@pytest.mark.parametrize("profile", SrtpProfile)
def test_aiortc_and_we_agree_on_the_keys(role, profile):
    asyncio.run(asyncio.wait_for(talk(role, profile), timeout=20))
