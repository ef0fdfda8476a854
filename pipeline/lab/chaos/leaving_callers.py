"""A client process of a chaos run whose callers talk until it is killed. It ends when its input closes."""

import asyncio
import sys
import threading
from itertools import count
from pathlib import Path
from typing import Final

import msgspec

from ...client.client import Client
from ...errors import InferstreamError
from .leaving import LEASE_S, Begin, read_all
from .leaving_speakers import LeavingSpeakers
from .scripts import QUESTIONS, SYSTEM
from .worker import end_with_input

OPTIONS: Final = {"max_tokens": 240, "temperature": 1.0, "seed": 1}
"""Long answers: some are open when the process is killed."""

PAUSE_S: Final = 0.5


async def read(callers: LeavingSpeakers) -> None:
    """Read all answers; a caller has begun who has had a token."""

    async def talk(client: Client, name: str, begin: Begin) -> None:
        for number in count():
            messages = [
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": QUESTIONS[number % len(QUESTIONS)]},
            ]
            identity = f"{name}/{number}"
            stream = client.chat(messages, conversation=name, options=OPTIONS, id=identity, lease_s=LEASE_S)
            try:
                async for _ in stream:
                    begin()
            except InferstreamError:  # a refusal is an end, too
                await asyncio.sleep(PAUSE_S)

    await read_all(callers.kafka, callers.names, talk)


if __name__ == "__main__":
    threading.Thread(target=end_with_input, daemon=True).start()
    asyncio.run(read(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=LeavingSpeakers)))
