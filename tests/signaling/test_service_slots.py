"""Audio slots in lobbies: who is heard through them, and how sections come to carry them."""

import pytest
import trio
from offers import Section, make_offer
from running_server import running_server
from wire_client import Client, in_lobby

import relay
from signaling.messages import (
    Answer,
    ErrorCode,
    MessageError,
    Offer,
    PublishRequest,
    Subscribe,
    Subscribed,
    SubscribedTrack,
    SubscribeRequest,
    TrackPublished,
    Unsubscribe,
    Unsubscribed,
    decode_client,
)

LISTENING = tuple(Section(mid, direction="recvonly") for mid in ("a", "b", "c"))
SLOTS = tuple(SubscribeRequest(mid=mid, slot=slot) for slot, mid in enumerate("abc"))


async def listen(client: Client, identity: str) -> Answer:
    return await client.expect(Offer(sdp=make_offer(*LISTENING, identity=identity), subscribe=SLOTS), Answer)


async def publish(client: Client, identity: str, *sources: str) -> dict[str, str]:
    """Publish audio of these sources; return track ids by source."""
    sections = [Section(str(place)) for place in range(len(sources))]
    wishes = tuple(PublishRequest(mid=str(place), source=source) for place, source in enumerate(sources))
    answer = await client.expect(Offer(sdp=make_offer(*sections, identity=identity), publish=wishes), Answer)
    return {sources[int(one.mid)]: one.track_id for one in answer.published}


async def test_a_newcomer_is_told_how_many_slots_there_are_and_takes_them_in_one_offer() -> None:
    async with running_server() as server, in_lobby(server.url, name="Ada") as ada:
        assert ada.joined.audio_slots == 3
        answer = await listen(ada, "ada")
        assert answer.subscribed == tuple(
            SubscribedTrack(mid=mid, slot=slot) for slot, mid in enumerate("abc")
        )
        assert answer.refused == ()
        (peer,) = server.service.router.peers.values()
        slots = list(peer.subscriptions.values())
        assert [one.index for one in slots if isinstance(one, relay.AudioSlot)] == [0, 1, 2]


async def test_voices_are_heard_through_the_slots_and_other_audio_is_not() -> None:
    async with (
        running_server() as server,
        in_lobby(server.url, name="Ada") as ada,
        in_lobby(server.url, name="Grace") as grace,
    ):
        await listen(grace, "grace")
        tracks = await publish(ada, "ada", "microphone", "screen_audio", "bot", "music")
        told = [(await grace.until(TrackPublished)).track for _ in tracks]
        assert {track.source: track.in_slots for track in told} == {
            "microphone": True,
            "screen_audio": False,
            "bot": True,
            "music": False,
        }
        (slot, *_) = [
            one
            for peer in server.service.router.peers.values()
            for one in peer.subscriptions.values()
            if isinstance(one, relay.AudioSlot)
        ]
        assert slot.slots.statistics() == relay.AudioSlotsStatistics(tracks=2, subscriptions=3)
        async with in_lobby(server.url, name="Late") as late:
            seen = late.joined.participants[0]
            assert {track.source for track in seen.tracks if track.in_slots} == {"microphone", "bot"}


async def test_lobbies_do_not_hear_each_other() -> None:
    async with (
        running_server() as server,
        in_lobby(server.url, "garden", "Ada") as ada,
        in_lobby(server.url, "attic", "Eve") as eve,
    ):
        for client, identity in ((ada, "ada"), (eve, "eve")):
            await listen(client, identity)
        sources = [
            {one.slots for one in peer.subscriptions.values() if isinstance(one, relay.AudioSlot)}
            for peer in server.service.router.peers.values()
        ]
        assert [len(one) for one in sources] == [1, 1]
        assert sources[0] != sources[1]


async def test_a_section_may_change_between_a_slot_and_a_track() -> None:
    async with (
        running_server() as server,
        in_lobby(server.url, name="Ada") as ada,
        in_lobby(server.url, name="Grace") as grace,
    ):
        tracks = await publish(ada, "ada", "microphone")
        await listen(grace, "grace")
        track_id = tracks["microphone"]
        named = await grace.expect(Subscribe(track_id=track_id, mid="a"), Subscribed)
        assert named == Subscribed(track_id=track_id, slot=None, mid="a")
        assert (await grace.expect(Unsubscribe(mid="a"), Unsubscribed)).mid == "a"
        back = await grace.expect(Subscribe(slot=2, mid="a"), Subscribed)
        assert back == Subscribed(track_id=None, slot=2, mid="a")


async def test_refusals_of_slots_name_what_was_wrong() -> None:
    async with running_server() as server, in_lobby(server.url, name="Ada") as ada:
        sdp = make_offer(Section("0", "video", "recvonly"), *LISTENING, identity="ada")
        wishes = (SubscribeRequest(mid="0", slot=0), SubscribeRequest(mid="a", slot=3))
        answer = await ada.expect(Offer(sdp=sdp, subscribe=wishes), Answer)
        assert {one.mid: one.code for one in answer.refused} == {
            "0": ErrorCode.KIND_MISMATCH,
            "a": ErrorCode.UNKNOWN_TRACK,
        }
        refused = await ada.refused(Subscribe(slot=3, mid="a"))
        assert (refused.code, refused.field) == (ErrorCode.UNKNOWN_TRACK, "slot")
        refused = await ada.refused(Subscribe(slot=0, mid="0"))
        assert (refused.code, refused.field) == (ErrorCode.KIND_MISMATCH, "mid")
        assert (await ada.refused(Subscribe(slot=0, mid="7"))).code == ErrorCode.UNKNOWN_MID


async def test_rows_of_slots_come_back_when_the_listeners_have_gone() -> None:
    async with running_server() as server:
        async with in_lobby(server.url, name="Ada") as ada, in_lobby(server.url, name="Grace") as grace:
            await publish(ada, "ada", "microphone")
            await listen(grace, "grace")
            rows = server.service.router.statistics().workers[0].rows
            assert (rows["group"], rows["track"]) == (1, 4)
        while any(server.service.router.statistics().workers[0].rows.values()):  # noqa: ASYNC110 - the worker tells nobody
            await trio.sleep(0.001)


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ('{"mid": "1"}', "data"),
        ('{"mid": "1", "slot": 0, "track_id": "t"}', "data"),
        ('{"mid": "1", "slot": -1}', "slot"),
        ('{"mid": "1", "slot": 64}', "slot"),
        ('{"mid": "1", "slot": true}', "slot"),
    ],
)
def test_a_wish_names_one_thing(data: str, field: str) -> None:
    with pytest.raises(MessageError) as caught:
        decode_client(f'{{"type": "subscribe", "data": {data}}}')
    assert (caught.value.code, caught.value.field) == (ErrorCode.INVALID_MESSAGE, field)
