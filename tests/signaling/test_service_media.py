"""Offers, tracks and subscriptions against the real relay: who is told what, and what every refusal is called."""

from typing import TypeVar

import pytest
import trio
from http_requests import fetch
from offers import Section, make_offer
from running_server import running_server
from wire_client import Client, in_lobby

import relay
from signaling.bus import Subscription
from signaling.events import Event, WorkerOverloaded, WorkerRecovered
from signaling.messages import (
    Answer,
    ErrorCode,
    Leave,
    Left,
    MediaState,
    Mute,
    Offer,
    Ok,
    ParticipantLeft,
    PublishRequest,
    Subscribe,
    Subscribed,
    SubscribeRequest,
    TrackPublished,
    TrackUnpublished,
    TrackUpdated,
    Unsubscribe,
    Unsubscribed,
)

Kind = TypeVar("Kind", bound=Event)

MICROPHONE = PublishRequest(mid="0", source="microphone")
CAMERA = PublishRequest(mid="1", source="camera")


def publish_offer(identity: str = "one") -> Offer:
    sdp = make_offer(Section("0"), Section("1", "video"), identity=identity)
    return Offer(sdp=sdp, publish=(MICROPHONE, CAMERA))


async def publish(client: Client, identity: str = "one") -> dict[str, str]:
    """Publish microphone and camera; return their track ids by mid."""
    answer = await client.expect(publish_offer(identity), Answer)
    return {one.mid: one.track_id for one in answer.published}


async def test_offer_publishes_tracks_and_the_lobby_hears_of_them() -> None:
    async with (
        running_server() as server,
        in_lobby(server.url, name="Ada") as ada,
        in_lobby(server.url, name="Grace") as grace,
    ):
        tracks = await publish(ada)
        assert set(tracks) == {"0", "1"}
        for client in (ada, grace):
            first, second = [await client.until(TrackPublished) for _ in range(2)]
            assert {first.track.track_id, second.track.track_id} == set(tracks.values())
            assert {(one.track.kind, one.track.source) for one in (first, second)} == {
                ("audio", "microphone"),
                ("video", "camera"),
            }
            assert first.participant_id == ada.joined.participant_id
        async with in_lobby(server.url, name="Late") as late:
            seen = late.joined.participants[0]
            assert {track.track_id for track in seen.tracks} == set(tracks.values())
        assert server.service.router.statistics().tracks == 2


async def test_answer_is_sdp_with_the_relays_candidates() -> None:
    async with running_server() as server, in_lobby(server.url) as ada:
        answer = await ada.expect(publish_offer(), Answer)
        assert answer.sdp.startswith("v=0\r\n")
        assert f" 127.0.0.1 {server.udp_ports[0]} typ host" in answer.sdp
        assert "a=ice-lite" in answer.sdp
        assert (await ada.event(MediaState)).state in {"new", "connecting"}


async def test_subscribing_in_an_offer_then_switching_without_one() -> None:
    async with (
        running_server() as server,
        in_lobby(server.url, name="Ada") as ada,
        in_lobby(server.url, name="Eve") as eve,
        in_lobby(server.url, name="Grace") as grace,
    ):
        ours, theirs = await publish(ada, "ada"), await publish(eve, "eve")
        sdp = make_offer(
            Section("0", "audio", "recvonly"), Section("1", "video", "recvonly"), identity="grace"
        )
        wish = SubscribeRequest(mid="0", track_id=ours["0"])
        answer = await grace.expect(Offer(sdp=sdp, subscribe=(wish,)), Answer)
        assert [(one.mid, one.track_id) for one in answer.subscribed] == [("0", ours["0"])]
        assert not answer.refused
        # The second section was negotiated with nothing in it.
        await grace.expect(Subscribe(track_id=theirs["1"], mid="1"), Subscribed)
        await grace.expect(Subscribe(track_id=theirs["0"], mid="0"), Subscribed)
        (session,) = [peer for peer in server.service.router.peers.values() if not peer.tracks]
        assert {mid: track.id for mid, track in session.subscriptions.items()} == {
            "0": theirs["0"],
            "1": theirs["1"],
        }
        assert (await grace.expect(Unsubscribe(mid="0"), Unsubscribed)).mid == "0"
        assert session.subscriptions["0"] is None


async def test_subscribe_refusals_name_what_was_wrong() -> None:
    async with (
        running_server() as server,
        in_lobby(server.url, name="Ada") as ada,
        in_lobby(server.url, name="Grace") as grace,
        in_lobby(server.url, "elsewhere", "Eve") as eve,
    ):
        ours, foreign = await publish(ada, "ada"), await publish(eve, "eve")
        assert (await grace.refused(Subscribe(track_id=ours["0"], mid="0"))).code == ErrorCode.UNKNOWN_MID
        assert (await grace.refused(Unsubscribe(mid="0"))).code == ErrorCode.UNKNOWN_MID
        sdp = make_offer(Section("0", "audio", "recvonly"), identity="grace")
        await grace.expect(Offer(sdp=sdp), Answer)
        refused = await grace.refused(Subscribe(track_id=ours["1"], mid="0"))
        assert (refused.code, refused.field) == (ErrorCode.KIND_MISMATCH, "mid")
        assert (await grace.refused(Subscribe(track_id=ours["0"], mid="7"))).code == ErrorCode.UNKNOWN_MID
        refused = await grace.refused(Subscribe(track_id="none", mid="0"))
        assert (refused.code, refused.field) == (ErrorCode.UNKNOWN_TRACK, "track_id")
        # A track of another lobby might as well not exist.
        assert (
            await grace.refused(Subscribe(track_id=foreign["0"], mid="0"))
        ).code == ErrorCode.UNKNOWN_TRACK


async def test_offer_with_a_vanished_track_takes_the_other_sections() -> None:
    async with running_server() as server, in_lobby(server.url, name="Ada") as ada:
        tracks = await publish(ada, "ada")
        async with in_lobby(server.url, name="Grace") as grace:
            sdp = make_offer(
                Section("a", "audio", "recvonly"), Section("b", "video", "recvonly"), identity="grace"
            )
            wishes = (
                SubscribeRequest(mid="a", track_id=tracks["0"]),
                SubscribeRequest(mid="b", track_id="gone"),
            )
            answer = await grace.expect(Offer(sdp=sdp, subscribe=wishes), Answer)
            assert [one.mid for one in answer.subscribed] == ["a"]
            assert [(one.mid, one.code) for one in answer.refused] == [("b", ErrorCode.UNKNOWN_TRACK)]
            await grace.expect(Subscribe(track_id=tracks["1"], mid="b"), Subscribed)


@pytest.mark.parametrize(
    ("offer", "code"),
    [
        (Offer(sdp="hello"), "invalid_sdp"),
        (Offer(sdp="v=0\r\n" * 3000), "invalid_sdp"),
        (Offer(sdp="v" * 300_000), "sdp_too_large"),
        (Offer(sdp=make_offer(Section("0"), fingerprint="AB:CD")), "invalid_fingerprint"),
        (
            Offer(sdp=make_offer(Section("0")), publish=(PublishRequest(mid="9", source="camera"),)),
            "unknown_mid",
        ),
    ],
    ids=["not SDP", "nothing in it", "too large", "bad fingerprint", "unknown mid"],
)
async def test_refused_offers_change_nothing(offer: Offer, code: str) -> None:
    async with running_server() as server, in_lobby(server.url) as ada:
        assert (await ada.refused(offer)).code == code
        assert not server.service.router.peers
        tracks = await publish(ada)
        assert (await ada.refused(offer)).code == code
        assert len(server.service.router.peers) == 1
        (participant,) = server.service.lobbies.open["garden"].participants.values()
        assert set(participant.tracks) == set(tracks.values())


async def test_mute_withholds_the_track_and_tells_everybody() -> None:
    async with (
        running_server() as server,
        in_lobby(server.url, name="Ada") as ada,
        in_lobby(server.url, name="Grace") as grace,
    ):
        tracks = await publish(ada)
        for muted in (True, False):
            await ada.expect(Mute(track_id=tracks["0"], muted=muted), Ok)
            # Once more is no news.
            await ada.expect(Mute(track_id=tracks["0"], muted=muted), Ok)
            told = await grace.until(TrackUpdated)
            assert (told.track.track_id, told.track.muted) == (tracks["0"], muted)
        (track,) = [
            one
            for peer in server.service.router.peers.values()
            for one in peer.tracks.values()
            if one.kind == "audio"
        ]
        assert not track.muted
        refused = await grace.refused(Mute(track_id=tracks["0"], muted=True))
        assert refused.code == ErrorCode.UNKNOWN_TRACK
        assert not track.muted


async def test_offer_without_a_section_unpublishes_its_track() -> None:
    async with running_server() as server, in_lobby(server.url) as ada:
        tracks = await publish(ada)
        sdp = make_offer(Section("0"), Section("1", "video", "inactive"))
        answer = await ada.expect(Offer(sdp=sdp), Answer)
        assert [(one.mid, one.track_id) for one in answer.published] == [("0", tracks["0"])]
        assert (await ada.until(TrackUnpublished)).track_id == tracks["1"]
        # And back on: a new track.
        answer = await ada.expect(publish_offer(), Answer)
        again = {one.mid: one.track_id for one in answer.published}
        assert again["0"] == tracks["0"]
        assert again["1"] not in tracks.values()


async def test_offer_from_a_new_peer_connection_replaces_the_old_one() -> None:
    async with running_server() as server, in_lobby(server.url) as ada:
        former = await publish(ada, "before the reload")
        (old_peer,) = server.service.router.peers.values()
        latter = await publish(ada, "after the reload")
        assert old_peer.state is relay.PeerState.CLOSED
        assert len(server.service.router.peers) == 1
        assert not set(former.values()) & set(latter.values())
        ended = {(await ada.until(TrackUnpublished)).track_id for _ in former}
        assert ended == set(former.values())
        (participant,) = server.service.lobbies.open["garden"].participants.values()
        assert set(participant.tracks) == set(latter.values())


async def test_refused_offer_of_a_new_peer_connection_leaves_the_old_one_alone() -> None:
    async with running_server() as server, in_lobby(server.url) as ada:
        await publish(ada, "one")
        (peer,) = server.service.router.peers.values()
        wrong = Offer(sdp=make_offer(Section("0"), identity="two"), publish=(CAMERA,))
        assert (await ada.refused(wrong)).code == "unknown_mid"
        assert peer.state is not relay.PeerState.CLOSED
        assert list(server.service.router.peers.values()) == [peer]


async def test_a_lost_peer_is_told_and_its_tracks_end() -> None:
    async with (
        running_server() as server,
        in_lobby(server.url, name="Ada") as ada,
        in_lobby(server.url, name="Grace") as grace,
    ):
        tracks = await publish(ada)
        (peer,) = server.service.router.peers.values()
        peer.close("nothing heard for 30 s")
        while (told := await ada.until(MediaState)).state != "closed":
            pass
        assert told.reason == "nothing heard for 30 s"
        assert {(await grace.until(TrackUnpublished)).track_id for _ in tracks} == set(tracks.values())
        # The same client may offer again.
        assert set(await publish(ada, "another")) == {"0", "1"}


async def test_leaving_and_moving_end_the_media() -> None:
    async with (
        running_server() as server,
        in_lobby(server.url, name="Ada") as ada,
        in_lobby(server.url, name="Grace") as grace,
    ):
        await publish(ada, "one")
        await ada.join("elsewhere", "Ada")
        assert (await grace.until(ParticipantLeft)).reason == "moved"
        assert not server.service.router.peers
        assert not ada.joined.participants[0].tracks
        await publish(ada, "two")
        await ada.expect(Leave(), Left)
        assert not server.service.router.peers


async def test_disconnected_clients_leave_nothing_in_the_relay() -> None:
    async with running_server() as server:
        for number in range(20):
            async with in_lobby(server.url) as ada:
                await publish(ada, str(number))
        with trio.fail_after(10):
            while server.service.sessions or server.service.router.peers:
                await trio.lowlevel.checkpoint()
        assert not server.service.lobbies.open
        assert server.service.router.statistics().tracks == 0


async def test_a_full_relay_says_so(monkeypatch) -> None:
    small = relay.RelayConfig
    monkeypatch.setattr(
        relay, "RelayConfig", lambda **config: small(**config, capacity=relay.Capacity(peers=1, tracks=2))
    )
    async with (
        running_server() as server,
        in_lobby(server.url, name="Ada") as ada,
        in_lobby(server.url, name="Grace") as grace,
    ):
        await publish(ada, "one")
        refused = await grace.refused(publish_offer("two"))
        assert refused.code == ErrorCode.AT_CAPACITY
        await ada.expect(Leave(), Left)


async def test_newcomers_beyond_the_budget_are_told_so_and_the_others_go_on() -> None:
    async with (
        running_server(max_peers=1) as server,
        in_lobby(server.url, name="Ada") as ada,
        in_lobby(server.url, name="Grace") as grace,
    ):
        await publish(ada, "ada")
        refused = await grace.refused(publish_offer("grace"))
        assert refused.code == ErrorCode.AT_CAPACITY
        assert "at capacity: 1 of 1 peers" in refused.error
        # Who is there may offer again, also from a new connection.
        await publish(ada, "ada")
        await publish(ada, "ada after a reload")
        health = await fetch(server.url, "/api/system/health")
        capacity = health.json["capacity"]
        assert (capacity["accepting"], capacity["peers"]) == (False, {"used": 1, "limit": 1})
        assert "1 of 1 peers" in capacity["refusal"]
        await ada.expect(Leave(), Left)
        await publish(grace, "grace")


async def test_overload_is_told_to_operators_once_when_it_begins_and_once_when_it_is_over() -> None:
    async with running_server() as server, in_lobby(server.url) as ada:
        await publish(ada)
        service = server.service
        with service.bus.subscribe("test") as subscription, trio.fail_after(20):
            context = service.router.workers[0].memory.context
            context["hold_doublings"] = 5  # it lasts until the test has looked
            context["calm_since_ns"] = context["now_ns"]
            context["shedding"] = 2
            context["events_pending"] = 1  # as the kernel does when it raises the level
            assert (await _wait_for(subscription, WorkerOverloaded)).worker == 0
            (worker,) = (await fetch(server.url, "/api/system/info")).json["relay"]["workers"]
            assert worker["shedding"] == 2
            (worker,) = (await fetch(server.url, "/api/system/health")).json["capacity"]["workers"]
            assert worker["shedding"] == 2
            assert (
                'relay_worker_shedding{worker="0"} 2.0' in (await fetch(server.url, "/metrics")).body.decode()
            )
            context["shedding"] = 0
            context["events_pending"] = 1
            ended = await _wait_for(subscription, WorkerRecovered)
            assert (ended.worker, ended.worst_level, ended.packets_shed) == (0, 2, 0)


async def _wait_for(subscription: Subscription, kind: type[Kind]) -> Kind:
    async for stamped in subscription:
        if isinstance(stamped.event, kind):
            return stamped.event
    raise AssertionError
