"""How peers come, move, restart and go: ICE, DTLS and consent over real sockets."""

from dataclasses import replace

import pytest
import trio
from client_sdp import audio
from media_peer import CERTIFICATE, LOOPBACK, open_peer, open_publisher, open_subscriber
from waiting import commands_applied, wait_verdict

from media.operations import Operation
from media.tables import PEER_ADDRESSES
from relay import PeerClosed, PeerConnected, PeerState, RemoteProtocolError, open_relay
from relay.certificate import Certificate
from relay.dtls import DtlsFailed

pytestmark = pytest.mark.usefixtures("kernels")

SECTION = audio("0", "sendonly", ssrc=7)


async def test_media_follows_both_sides_to_new_addresses():
    with trio.fail_after(20):
        async with (
            open_relay(LOOPBACK) as router,
            open_publisher(router, SECTION) as (ada, (track,)),
            open_subscriber(router, (audio("0", "recvonly"), track)) as bob,
        ):
            packets = []
            for move in range(PEER_ADDRESSES + 3):
                ada.send_media("0", 10 + move, 960 * move, b"%d" % move)
                packets += await bob.take_rtp(1)
                for peer in (ada, bob) if move % 2 else (bob,):
                    before = peer.address
                    peer.open_socket()
                    assert peer.address != before
                    peer.start_ice()
                    await peer.wait_ice()
            assert [packet.payload for packet in packets] == [b"%d" % move for move in range(len(packets))]
            first = packets[0].sequence_number
            assert [packet.sequence_number - first for packet in packets] == list(range(len(packets)))
            addresses = router.workers[0].memory.peers["bound"]
            assert (addresses[bob.relay_peer.row.index, :, 0] != 0).all()


async def test_packet_from_an_address_without_a_check_is_not_taken():
    with trio.fail_after(20):
        async with (
            open_relay(LOOPBACK) as router,
            open_publisher(router, SECTION) as (ada, (track,)),
            open_subscriber(router, (audio("0", "recvonly"), track)) as bob,
        ):
            ada.open_socket()
            ada.send_media("0", 1, 0, b"who?")
            await wait_verdict(router, "unknown_source", 1)
            ada.start_ice()
            await ada.wait_ice()
            ada.send_media("0", 2, 960, b"ada")
            assert [packet.payload for packet in await bob.take_rtp(1)] == [b"ada"]


async def test_ice_restart_goes_on_with_the_same_keys_and_streams():
    with trio.fail_after(20):
        async with (
            open_relay(LOOPBACK) as router,
            open_publisher(router, SECTION) as (ada, (track,)),
            open_subscriber(router, (audio("0", "recvonly"), track)) as bob,
        ):
            ada.send_media("0", 1, 0, b"before")
            before = ada.answer.ice
            ada.renew_credentials()
            result = ada.offer(SECTION)
            assert result.published == {"0": track}
            assert ada.answer.ice.ufrag != before.ufrag
            assert ada.answer.ice.password != before.password
            ada.send_media("0", 2, 960, b"meanwhile")
            ada.open_socket()
            ada.start_ice()
            await ada.wait_ice()
            ada.send_media("0", 3, 1920, b"after")
            packets = await bob.take_rtp(3)
            assert [packet.payload for packet in packets] == [b"before", b"meanwhile", b"after"]
            assert ada.relay_peer.state is PeerState.CONNECTED
            # An offer without a restart changes nothing.
            ada.offer(SECTION)
            assert ada.answer.ice.ufrag in router._by_ufrag


async def test_relay_is_the_dtls_client_when_the_offer_is_passive():
    with trio.fail_after(20):
        async with (
            open_relay(LOOPBACK) as router,
            open_publisher(router, SECTION, setup="passive") as (ada, (track,)),
            open_subscriber(router, (audio("0", "recvonly"), track), setup="active") as bob,
        ):
            assert ada.answer.setup == "active"
            assert bob.answer.setup == "passive"
            ada.send_media("0", 1, 0, b"sound")
            assert [packet.payload for packet in await bob.take_rtp(1)] == [b"sound"]


@pytest.mark.parametrize("setup", ["active", "passive"])
async def test_keys_are_in_place_before_the_client_learns_that_they_are(setup, monkeypatch):
    with trio.fail_after(20):
        async with open_relay(LOOPBACK) as router, open_peer(router, setup=setup) as ada:
            (worker,) = router.workers
            order = []
            post, send_datagram = worker.post, worker.send_datagram

            def note_post(operation, *arguments, **options):
                order.append(operation)
                post(operation, *arguments, **options)

            def note_send(data, sockaddr):
                order.append("DTLS" if 20 <= data[0] < 64 else "STUN")
                send_datagram(data, sockaddr)

            monkeypatch.setattr(worker, "post", note_post)
            monkeypatch.setattr(worker, "send_datagram", note_send)
            ada.publish(SECTION)
            await ada.connect()
            assert order.count(Operation.SET_KEYS) == 1
            sent_after = order[order.index(Operation.SET_KEYS) :].count("DTLS")
            # As the server the relay has the last word, as the client it has said it before.
            assert sent_after == (1 if setup == "active" else 0)


async def test_checks_and_handshake_before_the_answer_is_known_are_harmless():
    with trio.fail_after(20):
        async with open_relay(LOOPBACK) as router, open_peer(router) as ada, open_peer(router) as bob:
            ada.publish(SECTION)
            # Bob checks with the ufrag of Ada's peer, and his own.
            bob.offer(SECTION)
            bob._answer = ada.answer
            bob.open_socket()
            bob.start_ice()
            await ada.connect()
            assert bob.relay_peer.state is PeerState.CONNECTING
            assert bob._ice.state.value == "checking"


@pytest.mark.parametrize("setup", ["active", "passive"])
async def test_wrong_fingerprint_closes_the_peer_and_says_so(setup):
    other = Certificate.generate()
    with trio.fail_after(20):
        async with (
            open_relay(LOOPBACK) as router,
            open_peer(router, setup=setup, fingerprint=other.fingerprint()) as eve,
            open_publisher(router, SECTION) as (ada, _),
        ):
            (track,) = eve.publish(SECTION)
            eve.start_transport()
            closed = await eve.relay_peer.events.receive()
            assert isinstance(closed, PeerClosed)
            assert "fingerprint_mismatch" in closed.reason
            assert CERTIFICATE.fingerprint() in closed.reason
            assert track.closed
            await commands_applied(router)
            assert router.statistics().peers == 1
            ada.send_media("0", 1, 0, b"fine")
            await wait_verdict(router, "rtp_accepted", 1)


async def test_client_that_does_not_trust_the_relay_closes_the_peer():
    with trio.fail_after(20):
        async with open_relay(LOOPBACK) as router, open_peer(router) as ada:
            ada.publish(SECTION)
            wrong = Certificate.generate().fingerprint()
            (trusted,) = ada.answer.fingerprints
            ada._answer = replace(ada.answer, fingerprints=(replace(trusted, value=wrong),))
            ada.start_transport()
            await ada.wait_until(lambda: ada.dtls_end is not None)
            assert isinstance(ada.dtls_end, DtlsFailed)
            assert await ada.relay_peer.events.receive() in (
                PeerConnected(),
                PeerClosed("the client closed the connection"),
            )


async def test_offer_of_another_dtls_endpoint_is_an_error_and_a_new_peer_can_take_its_place():
    with trio.fail_after(20):
        async with open_relay(LOOPBACK) as router, open_publisher(router, SECTION) as (ada, (track,)):
            other = Certificate.generate()
            async with open_peer(router, certificate=other) as reloaded:
                with pytest.raises(RemoteProtocolError) as caught:
                    ada.relay_peer.accept_offer(reloaded.offer_text(SECTION))
                assert caught.value.code == "fingerprint_changed"
                assert not track.closed
                assert ada.relay_peer.state is PeerState.CONNECTED
                ada.relay_peer.close("reloaded")
                reloaded.publish(SECTION)
                await reloaded.connect()


async def test_role_cannot_change_while_the_association_lives():
    with trio.fail_after(20):
        async with open_relay(LOOPBACK) as router, open_publisher(router, SECTION) as (ada, _):
            ada._setup = "passive"
            with pytest.raises(RemoteProtocolError) as caught:
                ada.offer(SECTION)
            assert caught.value.code == "setup_conflict"


async def test_peer_that_falls_silent_is_closed_and_one_that_talks_is_not():
    with trio.fail_after(20):
        quick = replace(LOOPBACK, consent_timeout_s=1)
        async with open_relay(quick) as router, open_publisher(router, SECTION) as (ada, (track,)):
            never = router.add_peer("never offers")
            async with (
                open_peer(router) as half,
                open_subscriber(router, (audio("0", "recvonly"), track)) as bob,
            ):
                half.publish(SECTION)
                closed = {}
                async with trio.open_nursery() as nursery:
                    for name, peer in (("never", never), ("half", half.relay_peer), ("bob", bob.relay_peer)):
                        nursery.start_soon(_note_end, closed, name, peer)
                    sequence_number = 0
                    while len(closed) < 3:
                        sequence_number += 1
                        ada.send_media("0", sequence_number, 960 * sequence_number, b"talk")
                        await trio.sleep(0.02)
                assert closed == {
                    "never": "not connected within 1 s",
                    "half": "not connected within 1 s",
                    "bob": "nothing heard for 1 s",
                }
                assert ada.relay_peer.state is PeerState.CONNECTED
                await commands_applied(router)
                assert router.statistics().workers[0].rows == {
                    "peer": 1,
                    "track": 1,
                    "inbound": 1,
                    "outbound": 0,
                    "group": 0,
                }
            # Silent from now on.
            assert (await ada.relay_peer.events.receive()) == PeerClosed("nothing heard for 1 s")


async def _note_end(closed, name, peer) -> None:
    async for event in peer.events:
        if isinstance(event, PeerClosed):
            closed[name] = event.reason


async def test_checks_alone_keep_a_peer_that_sends_no_media():
    with trio.fail_after(20):
        quick = replace(LOOPBACK, consent_timeout_s=1.0)
        async with open_relay(quick) as router, open_publisher(router, SECTION) as (ada, _):
            started_s = trio.current_time()
            while trio.current_time() < started_s + 2.2:
                ada.start_ice()
                await ada.wait_ice()
                await trio.sleep(0.2)
            assert ada.relay_peer.state is PeerState.CONNECTED
            assert (
                router.statistics().verdicts["stun_answered"] > 2
            )  # by the worker, without the control plane


async def test_port_that_changes_hands_goes_to_who_proves_it_last():
    with trio.fail_after(20):
        async with (
            open_relay(LOOPBACK) as router,
            open_publisher(router, SECTION) as (ada, (adas,)),
            open_publisher(router, SECTION) as (eve, _),
            open_subscriber(router, (audio("0", "recvonly"), adas)) as bob,
        ):
            address = ada.address
            ada.open_socket()  # closes the former one
            ada.start_ice()
            await ada.wait_ice()
            eve.open_socket(address)
            eve.start_ice()
            await eve.wait_ice()
            eve.send_media("0", 1, 0, b"eve")
            await wait_verdict(router, "rtp_accepted", 1)
            ada.send_media("0", 1, 0, b"ada")
            assert [packet.payload for packet in await bob.take_rtp(1)] == [b"ada"]
            assert router.statistics().verdicts["rtp_authentication_failed"] == 0
