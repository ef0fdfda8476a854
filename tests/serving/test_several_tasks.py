"""Two tasks in one worker on a real Kafka: vectors of `embed` are the encoder's own, whatever runs beside them."""

import asyncio
from typing import Any

import numpy as np
from support.kafka_serving import running
from support.minilm_model import MiniLM

from inferstream import Answer, Client, Config, Failure, KafkaConfig
from inferstream.pipeline.broker.kafka.broker import KafkaBroker
from inferstream.pipeline.config import CacheConfig
from inferstream.pipeline.serving.build import build_worker
from inferstream.pipeline.tasks.pooling import embed

TEXTS = [f"Where is my parcel number {number}?" for number in range(40)] + ["I was charged twice. " * 90]


async def test_two_tasks_of_one_worker_answer_over_kafka(kafka: str, unique: str, minilm: MiniLM) -> None:
    own = embed(TEXTS, minilm.tokenizer, minilm.session, batch_tokens=1)
    config = Config(
        kafka=KafkaConfig(bootstrap=kafka, topic_prefix=unique, partitions=2), cache=CacheConfig(disk_bytes=0)
    )
    async with asyncio.timeout(120), KafkaBroker(config.kafka) as broker:
        serving = await asyncio.to_thread(build_worker, config, broker, {"triage": [], "embed": []})
        async with running(serving), Client(config.kafka) as client:

            async def mapped(task: str) -> list[Answer[Any] | Failure]:
                return [answer async for answer in client.map(task, TEXTS)]

            routed, embedded = await asyncio.gather(mapped("triage"), mapped("embed"))
    assert not [answer for answer in routed if isinstance(answer, Failure)]
    for answer, vector in zip(embedded, own, strict=True):
        assert isinstance(answer, Answer)
        np.testing.assert_allclose(answer.output.vector, vector, atol=1e-6)
