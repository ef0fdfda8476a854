"""A program: a client that waits for the answer to one request with a lease. A test kills it."""

import asyncio
import sys

from inferstream import Client
from support.noted_steps_worker import a_broker


async def main(place: str, prefix: str, text: str) -> None:
    async with a_broker(place) as broker, Client(broker=broker, prefix=prefix) as client:
        await client.request("steps", text, id="leased", timeout_s=None, lease_s=1)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
