"""The processes under measurement: a worker with a batching policy, and a bare echo loop on aiokafka."""

import asyncio
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from ....schemas.topics import Topics
from ...broker.kafka.broker import KafkaBroker
from ...config import Config
from ...serving.build import build_worker
from ...serving.tuning import tune_process
from .policies import POLICIES

READY_TIMEOUT_S = 120
END_TIMEOUT_S = 30


@contextmanager
def child(target: Callable[..., None], *arguments: Any) -> Iterator[psutil.Process]:
    """Run ``target(*arguments, ready)`` in a process of its own, from when it is ready until the block ends."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=target, args=(*arguments, ready), daemon=True)
    process.start()
    try:
        if not ready.wait(READY_TIMEOUT_S):
            raise RuntimeError(f"The measured process was not ready within {READY_TIMEOUT_S} s.")
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.join(END_TIMEOUT_S)
        process.kill()


def worker(config: Config, policy: str, model: str, ready: Any) -> None:
    """Serve triage until SIGTERM."""
    asyncio.run(_worker(config, policy, model, ready))


async def _worker(config: Config, policy: str, model: str, ready: Any) -> None:
    async with KafkaBroker(config.kafka) as broker:
        serving = build_worker(config, broker, models=[model], batcher=POLICIES[policy])
        tune_process()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.drain)
        ready.set()
        await serving.run()


def echo(config: Config, ready: Any) -> None:
    """Send each request's body to the reply topic until SIGTERM: what Kafka alone costs a Python process."""
    asyncio.run(_echo(config, ready))


async def _echo(config: Config, ready: Any) -> None:
    topics = Topics("triage", config.kafka.topic_prefix)
    consumer = AIOKafkaConsumer(
        topics.requests,
        bootstrap_servers=config.kafka.bootstrap,
        group_id=f"{topics.prefix}.echo",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    producer = AIOKafkaProducer(bootstrap_servers=config.kafka.bootstrap, enable_idempotence=True)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with consumer, producer:
        ready.set()
        while not stopped.is_set():
            polled = await consumer.getmany(timeout_ms=200)
            sends = [
                await producer.send(topics.replies, record.value, key=record.key)
                for records in polled.values()
                for record in records
            ]
            if sends:
                await asyncio.gather(*sends)
                await consumer.commit()
