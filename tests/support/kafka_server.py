"""The tests' Kafka: at a given address, in a container, or run by inferstream itself."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from inferstream.pipeline.kafka_local.cluster import LocalKafka
from inferstream.pipeline.kafka_local.node import HOST, server_properties
from inferstream.pipeline.kafka_local.ports import free_ports
from inferstream.pipeline.kafka_local.wire import BrokerAddress, broker_addresses, live_brokers

IMAGE = os.environ.get("KAFKA_IMAGE", "apache/kafka:4.1.2")


@contextmanager
def running_kafka(directory: Path) -> Iterator[str]:
    """The bootstrap address of a Kafka that responds. Raises if there is none; never skips."""
    with ExitStack() as stack:
        if address := os.environ.get("KAFKA_BOOTSTRAP"):
            yield _checked(address)
        elif has_image():
            yield stack.enter_context(broker_in_container())
        else:
            yield stack.enter_context(LocalKafka(directory, port=0)).bootstrap


def _checked(address: str) -> str:
    assert live_brokers(broker_addresses(address)[0]), (
        f"KAFKA_BOOTSTRAP is {address}: no Kafka responds there"
    )
    return address


def has_image() -> bool:
    """Whether a container engine responds and has Kafka's image; a test never pulls an image."""
    docker_socket = Path("/var/run/docker.sock")
    if not (os.environ.get("DOCKER_HOST") or docker_socket.exists()):
        return False
    import docker
    from docker.errors import DockerException

    try:
        with closing(docker.from_env(timeout=2)) as engine:
            engine.images.get(IMAGE)
    except (DockerException, OSError):
        return False
    return True


@contextmanager
def broker_in_container() -> Iterator[str]:
    """The bootstrap address of a broker in a container."""
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    from testcontainers.core.container import DockerContainer

    (port,) = free_ports(1)
    container = DockerContainer(IMAGE).with_bind_ports(9092, port)
    settings = server_properties(9092, 9093, "1@localhost:9093", brokers=1) | {
        "node.id": "1",
        "listeners": "PLAINTEXT://:9092,CONTROLLER://:9093",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
    }
    for name, value in settings.items():
        container.with_env("KAFKA_" + name.upper().replace(".", "_"), value)
    with container:
        wait_for_kafka(port)
        yield f"127.0.0.1:{port}"


def wait_for_kafka(port: int, timeout_s: float = 60.0) -> None:
    """Wait until a broker responds on this port."""
    end = time.monotonic() + timeout_s
    while not live_brokers(BrokerAddress(HOST, port)):
        assert time.monotonic() < end, f"no Kafka responds on port {port} after {timeout_s:g} s"
        time.sleep(0.05)
