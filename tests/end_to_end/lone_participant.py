"""A whole participant in one process group, there to be killed: joins, publishes a tone, says so, and stays."""

import sys

import trio
from aiortc_remote import open_aiortc_host
from participants import join_call


async def main(url: str, lobby: str) -> None:
    async with open_aiortc_host() as host, join_call(url, lobby, host, name="Mallory") as caller:
        await caller.publish_tone(440)
        await caller.negotiate()
        await caller.wait_connected()
        sys.stdout.write("connected\n")
        sys.stdout.flush()
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
