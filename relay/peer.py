"""A peer: one client's transport, the tracks it publishes and the streams it is sent.

The client offers and the relay answers. Everything an offer asks for is checked before anything changes; then the
sections are brought to what the offer says, and the answer describes what is.
"""

import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Final, cast

import trio

from media.operations import Operation
from media.tables import CNAME_BYTES
from relay.answer import AnswerSection, AnswerTransport, HostCandidate, build_answer
from relay.certificate import Certificate
from relay.errors import CapacityError, LocalProtocolError, RemoteProtocolError
from relay.negotiation import (
    NegotiationResult,
    Section,
    SectionPlan,
    answer_section,
    payload_maps,
    plan_section,
)
from relay.offer import parse_offer
from relay.offered import Offer, OfferedSection
from relay.payloads import negotiate_codecs
from relay.source import Kind, Source
from relay.subscription import SsrcPrefixes, Subscription
from relay.track import Track
from relay.transport import Transport
from relay.worker import Worker

EVENT_BUFFER: Final = 8
"""A peer has two events in its life; the buffer cannot overflow."""


class PeerState(Enum):
    """Where a peer's transport stands."""

    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    CLOSED = "closed"


@dataclass(frozen=True)
class PeerConnected:
    """ICE and DTLS are done; media flows."""


@dataclass(frozen=True)
class PeerClosed:
    """The peer is gone; the last event."""

    reason: str


PeerEvent = PeerConnected | PeerClosed


class Peer:
    """One client of the relay. Made by `Router.add_peer`."""

    def __init__(
        self,
        *,
        label: str,
        worker: Worker,
        certificate: Certificate,
        candidates: tuple[HostCandidate, ...],
        announce: Callable[["Peer", str], None],
        forget: Callable[["Peer"], None],
    ) -> None:
        self.id = secrets.token_hex(CNAME_BYTES // 2)
        self.label = label
        self.worker = worker
        self.state = PeerState.NEW
        self.created_ns = time.monotonic_ns()
        self.ufrags: list[str] = []
        """Every local ufrag the router knows this peer by; one more with each ICE restart."""
        self.row = worker.open_row(Operation.OPEN_PEER, Operation.CLOSE_PEER, (secrets.randbits(32),))
        self._certificate = certificate
        self._candidates = candidates
        self._forget = forget
        self._sections: dict[str, Section] = {}
        self._kinds_by_payload_type: dict[int, str] = {}
        self._repair_payload_types: frozenset[int] = frozenset()
        self._ssrc_prefixes = SsrcPrefixes()
        self._session_id = secrets.randbits(62)
        self._answers = 0
        self._events_in, self.events = trio.open_memory_channel[PeerEvent](EVENT_BUFFER)
        self.transport = Transport(
            worker=worker,
            row=self.row,
            certificate=certificate,
            announce=lambda ufrag: announce(self, ufrag),
            connected=self._on_connected,
            ended=self.close,
        )

    @property
    def tracks(self) -> Mapping[str, Track]:
        """Published tracks by id."""
        return {
            section.track.id: section.track
            for section in self._sections.values()
            if section.track is not None
        }

    @property
    def subscriptions(self) -> Mapping[str, Source | None]:
        """What each subscribing section carries, by mid; None while it is parked."""
        return {
            mid: section.subscription.source
            for mid, section in self._sections.items()
            if section.subscription is not None
        }

    def accept_offer(
        self,
        sdp: str,
        *,
        publish: Mapping[str, str] | None = None,
        subscribe: Mapping[str, Source] | None = None,
    ) -> NegotiationResult:
        """Answer an offer.

        `publish`: mid -> label of tracks that begin with this offer. `subscribe`: mid -> track or audio slot to be sent
        there. Both
        need to name only what is new: what ran before goes on while its section offers it. A section that only
        receives and is subscribed to nothing is answered as a parked one, for `attach` to use.

        Raises: RemoteProtocolError when the offer cannot be answered at all, CapacityError when a table is full; in
        both cases nothing has changed. What concerns one section only is in the result's `refused`.
        """
        if self.state is PeerState.CLOSED:
            raise LocalProtocolError(f"peer {self.id} is closed")
        publish = publish or {}
        subscribe = subscribe or {}
        offer = parse_offer(sdp)
        mids = {section.mid for section in offer.sections}
        for mid in (*publish, *subscribe):
            if mid not in mids:
                raise RemoteProtocolError("unknown_mid", f"the offer has no section with mid {mid!r}")
        if offer.transport is not None:
            self.transport.check(offer.transport)
        plans = [
            plan_section(section, self._section_before(section), publish, subscribe)
            for section in offer.sections
        ]
        self._require_rows(plans)
        if self._ssrc_prefixes.left < 2 * len(plans):  # a stream, and one for its repairs
            raise CapacityError("this connection has used up its stream numbers; make a new one")
        if offer.transport is not None:
            self.transport.accept(offer.transport, time.monotonic_ns())
            if self.state is PeerState.NEW:
                self.state = PeerState.CONNECTING
        return self._carry_out(offer, plans)

    def attach(self, mid: str, source: Source) -> None:
        """Send another track or audio slot in a section that was negotiated for receiving; no new offer is needed.

        Raises: LocalProtocolError when the peer has no such section, or it is of another kind, or the source has ended;
        CapacityError when a table is full. The section then carries what it did before.
        """
        subscription = self._subscription(mid)
        if source.kind != self._sections[mid].kind:
            raise LocalProtocolError(f"section {mid!r} carries {self._sections[mid].kind}, not {source.kind}")
        subscription.set_source(source)

    def detach(self, mid: str) -> None:
        """Stop what a section carries; the section stays for later use. Raises LocalProtocolError as `attach`."""
        self._subscription(mid).set_source(None)

    def close(self, reason: str) -> None:
        """End the peer with all its tracks and streams. Idempotent; its memory is freed by and by."""
        if self.state is PeerState.CLOSED:
            return
        self.state = PeerState.CLOSED
        for section in self._sections.values():
            self._end_subscription(section)
            self._end_track(section)
        self._sections.clear()
        self.transport.close()
        self._forget(self)
        self._tell(PeerClosed(reason))
        self._events_in.close()

    def bind_discovered_stream(self, ssrc: int, payload_type: int, mid: str) -> None:
        """Give an SSRC that no offer named to the track it belongs to: by its MID, else if only one track fits."""
        if mid:
            section = self._sections.get(mid)
            candidates = [section.track] if section is not None and section.track is not None else []
        else:
            kind = self._kinds_by_payload_type.get(payload_type)
            candidates = [track for track in self.tracks.values() if track.kind == kind and not track.ssrcs]
        if len(candidates) != 1:
            return
        (track,) = candidates
        with suppress(CapacityError):  # a stream too many is not heard; its packets go on being counted
            if payload_type not in self._repair_payload_types:
                track.bind_stream(ssrc, repairable=track.kind == "video")
            elif len(track.ssrcs) == 1:
                track.bind_repair(ssrc, *track.ssrcs)

    def _on_connected(self) -> None:
        self.state = PeerState.CONNECTED
        self._tell(PeerConnected())

    def _tell(self, event: PeerEvent) -> None:
        with suppress(trio.BrokenResourceError):  # nobody listens any more: no concern of the other peers
            self._events_in.send_nowait(event)

    def _require_rows(self, plans: list[SectionPlan]) -> None:
        """Check that there is room for all that the plans open, so that carrying them out cannot fail halfway."""
        needed: defaultdict[Worker, Counter[Operation]] = defaultdict(Counter)
        own = needed[self.worker]
        for plan in plans:
            before = self._section_before(plan.offered)
            if plan.publishes:
                own[Operation.CLOSE_TRACK] += before is None or before.track is None
                own[Operation.CLOSE_INBOUND] += len(plan.offered.ssrcs) + len(plan.offered.rtx_ssrcs)
            if plan.subscribes:
                own[Operation.CLOSE_OUTBOUND] += before is None or before.subscription is None
        for feed in {plan.source.feed for plan in plans if plan.source is not None}:
            for worker, rows in feed.rows_to_attach(self.worker).items():
                needed[worker].update(rows)
        for worker, total in needed.items():
            worker.require(total)

    def _carry_out(self, offer: Offer, plans: list[SectionPlan]) -> NegotiationResult:
        self._set_maps(plans)
        unpublished: list[Track] = []
        answers: list[AnswerSection] = []
        mids = {plan.offered.mid for plan in plans if plan.refuse is None}
        for mid in [mid for mid in self._sections if mid not in mids]:
            unpublished += self._end_section(mid)
        for plan in plans:
            if plan.refuse is not None:
                answers.append(plan.refuse)
                continue
            if plan.offered.mid in self._sections and self._section_before(plan.offered) is None:
                unpublished += self._end_section(plan.offered.mid)
            section = self._sections.setdefault(plan.offered.mid, Section(cast("Kind", plan.offered.kind)))
            if plan.publishes:
                self._receive(section, plan)
            else:
                unpublished += self._end_track(section)
            if plan.subscribes:
                self._send(section, plan)
            else:
                self._end_subscription(section)
            answers.append(answer_section(section, plan.offered))
        self._answers += 1
        transport = AnswerTransport(
            ice=self.transport.local,
            fingerprint=self._certificate.fingerprint(),
            setup=self.transport.setup or "passive",
            candidates=self._candidates,
            session_id=self._session_id,
            session_version=self._answers,
        )
        return NegotiationResult(
            sdp=build_answer(offer, answers, transport),
            published={mid: one.track for mid, one in self._sections.items() if one.track is not None},
            unpublished=tuple(unpublished),
            subscribed={mid: one for mid, one in self.subscriptions.items() if one is not None},
            refused={plan.offered.mid: plan.refusal for plan in plans if plan.refusal is not None},
        )

    def _set_maps(self, plans: list[SectionPlan]) -> None:
        carried = [plan.offered for plan in plans if plan.refuse is None]
        self._kinds_by_payload_type = {
            codec.payload_type: offered.kind for offered in carried for codec in offered.codecs
        }
        self._repair_payload_types = frozenset(
            codec.rtx_payload_type
            for offered in carried
            for codec in offered.codecs
            if codec.rtx_payload_type is not None
        )
        self.worker.post(Operation.SET_MAPS, self.row.index, (), payload_maps(carried))

    def _receive(self, section: Section, plan: SectionPlan) -> None:
        if section.track is None:
            section.track = Track(
                track_id=secrets.token_hex(8),
                kind=section.kind,
                label=plan.label or "",
                peer=self,
                worker=self.worker,
            )
        elif plan.label is not None:
            section.track.label = plan.label
        offered = plan.offered
        if offered.ssrcs:
            section.track.release_streams_except(offered.ssrcs, offered.rtx_ssrcs)
        nack = any(codec.nack for codec in offered.codecs)
        for ssrc in offered.ssrcs:
            section.track.bind_stream(ssrc, repairable=nack and section.kind == "video")
        for rtx_ssrc, ssrc in offered.rtx_ssrcs.items():
            section.track.bind_repair(rtx_ssrc, ssrc)

    def _send(self, section: Section, plan: SectionPlan) -> None:
        if section.subscription is None:
            repaired = any(codec.rtx_payload_type is not None for codec in negotiate_codecs(plan.offered))
            section.subscription = Subscription(
                worker=self.worker,
                peer=self.row,
                peer_id=self.id,
                prefixes=self._ssrc_prefixes,
                mid=plan.offered.mid,
                kind=section.kind,
                repaired=repaired,
                source=plan.source,
            )
        if plan.source is not None and not plan.source.closed:  # unless this very offer has ended it
            section.subscription.set_source(plan.source)

    def _section_before(self, offered: OfferedSection) -> Section | None:
        """What a section carried before this offer; nothing when it comes back as another kind of media."""
        section = self._sections.get(offered.mid)
        return section if section is not None and section.kind == offered.kind else None

    def _subscription(self, mid: str) -> Subscription:
        section = self._sections.get(mid)
        if section is None or section.subscription is None:
            raise LocalProtocolError(f"peer {self.id} has no subscribing section {mid!r}")
        return section.subscription

    def _end_section(self, mid: str) -> list[Track]:
        section = self._sections.pop(mid)
        self._end_subscription(section)
        return self._end_track(section)

    def _end_subscription(self, section: Section) -> None:
        subscription, section.subscription = section.subscription, None
        if subscription is not None:
            subscription.close()

    def _end_track(self, section: Section) -> list[Track]:
        track, section.track = section.track, None
        if track is None:
            return []
        track.close()
        return [track]
