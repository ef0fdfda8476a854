"""The image under test, a model and a Kafka for it. `make test-containers` builds the image and runs these tests."""

import os
from collections.abc import Iterator

import docker
import pytest
from docker import DockerClient
from docker.errors import DockerException
from support.containers import free_port, kafka_container
from testcontainers.core.network import Network

HOME = "/var/lib/inferstream"


@pytest.fixture(scope="session")
def image() -> str:
    """The name of the image under test; without it the tests are skipped, with it they need an engine."""
    if name := os.environ.get("INFERSTREAM_IMAGE"):
        return name
    pytest.skip("INFERSTREAM_IMAGE names no image: run `make test-containers`, which builds one")


@pytest.fixture(scope="session")
def engine(image: str) -> Iterator[DockerClient]:
    try:
        client = docker.from_env(timeout=120)
        client.ping()
    except DockerException as error:
        pytest.fail(f"no container engine answers: {error}")
    yield client
    client.close()


@pytest.fixture(scope="session")
def models(engine: DockerClient, image: str) -> str:
    """A volume that `models pull`, run in the image, has filled. It outlives the tests, so that the next are fast."""
    name = "inferstream-test-models"
    engine.containers.run(image, ["models", "pull", "minilm"], volumes=[f"{name}:{HOME}"], remove=True)
    return name


@pytest.fixture(scope="session")
def network(engine: DockerClient) -> Iterator[Network]:
    with Network() as network:
        yield network


@pytest.fixture(scope="session")
def broker(network: Network) -> Iterator[str]:
    """A broker's address for this machine; containers in its network reach it at `brokers.INSIDE`."""
    port = free_port()
    with kafka_container(network, port):
        yield f"127.0.0.1:{port}"
