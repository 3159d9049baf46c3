"""An answer that takes whatever it is offered, and the recorded offers to try it on."""

from pathlib import Path

from relay.answer import (
    AnswerSection,
    AnswerTransport,
    Carried,
    HostCandidate,
    Inactive,
    Receive,
    Refuse,
    Send,
    SendReceive,
    build_answer,
    choose_setup,
    find_refusal,
)
from relay.ice import IceCredentials
from relay.offered import Offer, OfferedSection
from relay.payloads import negotiate_codecs, negotiate_extensions

SAMPLES = {
    path.stem: path.read_bytes().decode() for path in (Path(__file__).parent / "sdp_samples").glob("*.sdp")
}
FINGERPRINT = ":".join(f"{octet:02X}" for octet in range(32))
TRANSPORT = AnswerTransport(
    ice=IceCredentials("relayufrag", "relaypasswordofenoughlength"),
    fingerprint=FINGERPRINT,
    setup="passive",
    candidates=(HostCandidate("127.0.0.1", 40_000), HostCandidate("::1", 40_000)),
    session_id=4_611_686_018_427_387_904,
    session_version=1,
)
FIRST_SSRC = 0x1000


def carry(section: OfferedSection) -> Carried:
    codecs, extensions = negotiate_codecs(section), negotiate_extensions(section)
    ssrc = FIRST_SSRC + 2 * section.index
    if section.direction == "inactive":
        return Inactive(codecs=codecs, extensions=extensions)
    if section.direction == "sendonly":
        return Receive(codecs=codecs, extensions=extensions)
    sending = Send if section.direction == "recvonly" else SendReceive
    return sending(
        codecs=codecs,
        extensions=extensions,
        ssrc=ssrc,
        rtx_ssrc=ssrc + 1 if section.kind == "video" else None,
        cname="relay",
        stream_id="stream",
        track_id=f"track-{section.mid}",
    )


def answer_sections(offer: Offer) -> list[AnswerSection]:
    return [find_refusal(section) or carry(section) for section in offer.sections]


def answer_willingly(offer: Offer, *, refuse: tuple[str, ...] = (), version: int = 1) -> str:
    """Carry all that can be carried, but refuse the mids in `refuse`."""
    sections = answer_sections(offer)
    for index, section in enumerate(offer.sections):
        if section.mid in refuse:
            sections[index] = Refuse("not_wanted", "the test says no")
    setup = choose_setup(offer.transport) if offer.transport is not None else "passive"
    return build_answer(
        offer,
        sections,
        AnswerTransport(
            ice=TRANSPORT.ice,
            fingerprint=TRANSPORT.fingerprint,
            setup=setup,
            candidates=TRANSPORT.candidates,
            session_id=TRANSPORT.session_id,
            session_version=version,
        ),
    )
