"""The image under test, models and a Kafka for it. `make test-containers` builds the image and runs these tests."""

import os
import shlex
import subprocess
import uuid
from collections.abc import Callable, Iterator

import docker
import pytest
from docker import DockerClient
from docker.errors import DockerException
from docker.models.containers import Container
from support import ROOT
from support.containers import free_port, kafka_container
from testcontainers.core.network import Network

HOME = "/var/lib/inferstream"

Compose = Callable[..., str]
Service = Callable[[str], list[Container]]


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
    engine.containers.run(
        image, ["models", "pull", "translate-en-pt"], volumes=[f"{name}:{HOME}"], remove=True
    )
    return name


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    with Network() as network:
        yield network


@pytest.fixture(scope="session")
def kafka(network: Network) -> Iterator[tuple[Container, str]]:
    """A broker and its address for this machine."""
    port = free_port()
    with kafka_container(network, port) as running:
        yield running.get_wrapped_container(), f"127.0.0.1:{port}"


@pytest.fixture(scope="session")
def isolated(kafka: tuple[Container, str]) -> Iterator[Network]:
    """A network with no way out, in which the broker is at `support.containers.INSIDE`."""
    with Network(docker_network_kw={"internal": True}) as network:
        network.connect(kafka[0].id, ["kafka"])
        yield network
        kafka[0].stop(timeout=0)  # a network with a running container cannot be removed


@pytest.fixture(scope="session")
def project() -> str:
    return f"inferstreamtest{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="session")
def compose_kafka() -> str:
    """The address of the Kafka of the compose file."""
    return f"127.0.0.1:{free_port()}"


@pytest.fixture(scope="session")
def compose(engine: DockerClient, project: str, compose_kafka: str) -> Iterator[Compose]:
    """Runs the compose that is installed, in a project of its own; the containers are removed at the end."""
    program = shlex.split(os.environ.get("COMPOSE", "docker compose"))
    environment = os.environ | {"KAFKA_PORT": compose_kafka.partition(":")[2]}

    def run(*arguments: str) -> str:
        command = [*program, "--project-name", project, *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    yield run
    run("down", "--volumes", "--timeout", "5")


@pytest.fixture(scope="session")
def service(engine: DockerClient, compose: Compose, project: str) -> Service:
    """The containers of a service of the file, brought up with two workers a task; ended ones as well."""
    compose("up", "--detach", "--scale", "triage=2", "--scale", "translate=2")

    def containers(name: str) -> list[Container]:
        labels = [f"com.docker.compose.project={project}", f"com.docker.compose.service={name}"]
        return engine.containers.list(all=True, filters={"label": labels})

    return containers
