"""A bare echo loop on aiokafka, as a process: `python -m … CONFIG`. It is what Kafka alone costs in Python."""

import asyncio
import signal
import sys

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from ....schemas.topics import Topics
from ...config import KafkaConfig
from .processes import module_command

POLL_MS = 200


def command(config: KafkaConfig) -> list[str]:
    """The command line that starts this loop."""
    return module_command("echo", msgspec.json.encode(config).decode())


async def echo(config: KafkaConfig) -> None:
    """Send the body of each request to the reply topic until SIGTERM."""
    topics = Topics("triage", config.topic_prefix)
    consumer = AIOKafkaConsumer(
        topics.requests,
        bootstrap_servers=config.bootstrap,
        group_id=f"{topics.prefix}.echo",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    producer = AIOKafkaProducer(bootstrap_servers=config.bootstrap, enable_idempotence=True)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with consumer, producer:
        while not stopped.is_set():
            polled = await consumer.getmany(timeout_ms=POLL_MS)
            sends = [
                await producer.send(topics.replies, record.value, key=record.key)
                for records in polled.values()
                for record in records
            ]
            if sends:
                await asyncio.gather(*sends)
                await consumer.commit()


if __name__ == "__main__":
    asyncio.run(echo(msgspec.json.decode(sys.argv[1], type=KafkaConfig)))
