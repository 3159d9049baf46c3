"""Two peers of one company, each an aiortc with a real UDP socket, hear each other through the relay."""

import trio
from aiortc_remote import open_aiortc_host
from peer_client import connected, new_company
from running_server import running_server


async def test_peers_hear_each_other() -> None:
    """One has a section that sends and receives, as old clients do; the other one that sends, and one for each slot."""
    with trio.fail_after(120):
        async with running_server() as server, open_aiortc_host() as host:
            _, key = await new_company(server)
            async with connected(server, "old", key) as old, connected(server, "new", key) as new:
                one, other = await host.create_peer(), await host.create_peer()
                section = await one.exchange_tone(hz=440)
                await other.publish_tone(hz=1000)
                slots = [await other.receive(kind="audio") for _ in range(3)]
                for client, peer in ((old, one), (new, other)):
                    offer = await peer.offer()
                    await peer.accept(sdp=await client.negotiate(offer["sdp"]))
                    await peer.wait_connected()
                heard_hz, purity = await one.wait_tone(section=section, hz=1000, tolerance_hz=2)
                assert abs(heard_hz - 1000) < 2
                assert purity > 0.9
                assert await other.wait_voice(sections=slots, hz=440, tolerance_hz=2) in slots
                await one.close()
                await other.close()
