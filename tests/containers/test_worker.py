"""The image as a worker in hard conditions, between a Kafka in a container and a client that knows nothing of it."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from docker.models.containers import Container
from support.containers import INSIDE
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import HealthcheckWaitStrategy

pytestmark = pytest.mark.containers

REQUESTS, REPLIES = "inferstream.translate.requests", "inferstream.translate.replies"
PEAK_MB = 350
"""The limit for a worker with one direction."""


@pytest.fixture
def worker(image: str, models: str, isolated: Network) -> Iterator[Container]:
    """A worker whose own health check says that it is well.

    Its user id has no entry and no home, it can write nowhere, and reaches nothing but the broker.
    """
    container = DockerContainer(
        image,
        command=["worker", "translate", "--kafka", INSIDE],
        network=isolated,
        user="54321:54321",
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        mem_limit=f"{PEAK_MB}m",
        memswap_limit=f"{PEAK_MB}m",
    )
    container.with_volume_mapping(models, "/var/lib/inferstream", "ro")
    with container.waiting_for(HealthcheckWaitStrategy()):
        yield container.get_wrapped_container()


async def test_translates_for_a_plain_client_and_drains_when_stopped(
    worker: Container, kafka: tuple[Container, str], capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"source": "en", "target": "pt"}
    texts = [
        "Where is my parcel?",
        *(f"Order {n} arrives tomorrow, or {n % 9} days later." for n in range(500)),
    ]
    requests = [{"id": f"t{n}", "text": text, "options": options} for n, text in enumerate(texts)]
    try:
        async with asyncio.timeout(60):
            replies = await ask(kafka[1], requests)
    except TimeoutError:
        pytest.fail(worker.logs().decode())
    assert {reply["type"] for reply in replies.values()} == {"result"}
    assert replies["t0"]["model"] == "translate-en-pt-int8"
    assert replies["t0"]["output"]["text"] == "Onde está a minha encomenda?"
    with capsys.disabled():
        print(f"\na worker with one direction: {peak_mb(worker):.0f} MB at most")
    assert peak_mb(worker) < PEAK_MB
    worker.stop(timeout=30)
    assert worker.wait()["StatusCode"] == 0, worker.logs().decode()


async def ask(broker: str, requests: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The reply to each request by its id."""
    replies: dict[str, dict[str, Any]] = {}
    consumer = AIOKafkaConsumer(REPLIES, bootstrap_servers=broker, auto_offset_reset="earliest")
    async with consumer, AIOKafkaProducer(bootstrap_servers=broker) as producer:
        for request in requests:
            await producer.send(REQUESTS, json.dumps(request).encode())
        await producer.flush()
        while len(replies) < len(requests):
            reply = json.loads((await consumer.getone()).value)
            replies[reply["id"]] = reply
    return replies


def peak_mb(worker: Container) -> float:
    """The largest resident memory of the worker so far."""
    found = worker.exec_run(["grep", "VmHWM", "/proc/1/status"]).output.split()
    return int(found[1]) * 1024 / 1e6
