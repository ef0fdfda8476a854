"""A client process of a chaos run whose callers talk until it is killed. It ends when its input closes."""

import asyncio
import sys
import threading
from itertools import count
from pathlib import Path
from typing import Final

import msgspec

from ...broker.kafka.broker import KafkaBroker
from ...client.client import Client
from ...errors import InferstreamError
from .leaving_client import LEASE_S, READS
from .leaving_speakers import LeavingSpeakers
from .scripts import QUESTIONS, SYSTEM
from .worker import end_with_input

OPTIONS: Final = {"max_tokens": 240, "temperature": 1.0, "seed": 1}
"""Long answers: some are open when the process is killed."""

PAUSE_S: Final = 0.5


async def read(callers: LeavingSpeakers) -> None:
    """Read all answers; write `READS` when each caller has had a token."""
    begun: set[str] = set()

    async def talk(client: Client, name: str) -> None:
        for number in count():
            messages = [
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": QUESTIONS[number % len(QUESTIONS)]},
            ]
            identity = f"{name}/{number}"
            stream = client.chat(messages, conversation=name, options=OPTIONS, id=identity, lease_s=LEASE_S)
            try:
                async for _ in stream:
                    if name not in begun:
                        begun.add(name)
                        if len(begun) == len(callers.names):
                            sys.stdout.write(f"{READS}\n")
                            sys.stdout.flush()
            except InferstreamError:  # a refusal is an end, too
                await asyncio.sleep(PAUSE_S)

    async with (
        KafkaBroker(callers.kafka) as broker,
        Client(broker=broker, prefix=callers.kafka.topic_prefix) as client,
        asyncio.TaskGroup() as talking,
    ):
        for name in callers.names:
            talking.create_task(talk(client, name))


if __name__ == "__main__":
    threading.Thread(target=end_with_input, daemon=True).start()
    asyncio.run(read(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=LeavingSpeakers)))
