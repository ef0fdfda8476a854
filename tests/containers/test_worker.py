"""The image as a worker, between a Kafka in a container and a client that knows nothing of inferstream."""

import asyncio
import json
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from docker.models.containers import Container
from support.containers import INSIDE
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import HealthcheckWaitStrategy

pytestmark = pytest.mark.containers

REQUESTS, REPLIES = "inferstream.triage.requests", "inferstream.triage.replies"


@pytest.fixture
def worker(image: str, models: str, network: Network, broker: str) -> Iterator[Container]:
    """A worker whose own health check says that it is well."""
    container = (
        DockerContainer(image, command=["worker", "triage", "--kafka", INSIDE], network=network)
        .with_volume_mapping(models, "/var/lib/inferstream", "rw")
        .waiting_for(HealthcheckWaitStrategy())
    )
    with container:
        yield container.get_wrapped_container()


async def test_answers_a_plain_client_and_drains_when_stopped(worker: Container, broker: str) -> None:
    try:
        async with asyncio.timeout(60):
            reply = await ask(broker, {"id": "t1", "text": "I was charged twice this month"})
    except TimeoutError:
        pytest.fail(worker.logs().decode())
    assert (reply["type"], reply["id"], reply["model"]) == ("result", "t1", "minilm-int8")
    assert reply["output"]["category"]
    worker.stop(timeout=30)
    assert worker.wait()["StatusCode"] == 0, worker.logs().decode()


async def ask(broker: str, request: dict[str, str]) -> dict[str, object]:
    consumer = AIOKafkaConsumer(REPLIES, bootstrap_servers=broker, auto_offset_reset="earliest")
    async with consumer, AIOKafkaProducer(bootstrap_servers=broker) as producer:
        await producer.send_and_wait(REQUESTS, json.dumps(request).encode())
        return json.loads((await consumer.getone()).value)
