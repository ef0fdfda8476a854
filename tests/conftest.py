"""Fixtures for all tests. A test that needs Kafka gets one, or fails."""

import os
import shutil
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from support.connections import expect_open_connections_of_diskcache
from support.kafka_server import running_kafka

from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.errors import ProviderUnavailable
from inferstream.pipeline.graphs.copying import copying_graph
from inferstream.pipeline.graphs.devices import CUDA
from inferstream.pipeline.kafka_local.cluster import LocalKafka
from inferstream.pipeline.runtime.sessions import Session

pytest_plugins = ["support.minilm_model"]

REQUIRE_ALL = "INFERSTREAM_REQUIRE_ALL"
"""If this variable is set, a test fails instead of being skipped when a tool is missing."""

# Speed is not tested by the clock: on a busy machine an example took longer than hypothesis's 200 ms, and drawing
# longer than it allows.
settings.register_profile("any speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
if settings().deadline is not None:  # the mutation run has a profile of its own
    settings.load_profile("any speed")


def pytest_configure() -> None:
    expect_open_connections_of_diskcache()
    # A process started in the background by a shell ignores SIGINT, and so would its subprocesses.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Programs in `support` run as `python -m support.NAME`.
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if {"kafka", "kafka_cluster"} & fixtures:
            item.add_marker("kafka")
        if "gpu" in fixtures:
            item.add_marker("gpu")


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bootstrap address of the Kafka that all tests share: use names from `unique`."""
    with running_kafka(tmp_path_factory.mktemp("kafka")) as bootstrap:
        yield bootstrap


@pytest.fixture(scope="session")
def kafka_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    """Three brokers, replication 3, min.insync.replicas 2. A test that stops a broker must start it again."""
    with LocalKafka(tmp_path_factory.mktemp("kafka-cluster"), brokers=3, port=0) as cluster:
        yield cluster


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Either broker: a folder for the embedded one, or the address of a Kafka."""
    return str(tmp_path / "topics") if request.param == "embedded" else str(request.getfixturevalue("kafka"))


@pytest.fixture
def unique() -> str:
    """A name that no other test uses, for topics, topic prefixes and groups."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def gpu() -> str:
    """The name of the provider for a GPU. Without one the test is skipped, also if `REQUIRE_ALL` is set."""
    try:
        return Session(copying_graph(1, "float16"), provider=CUDA).provider
    except ProviderUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def kcat() -> Path:
    """The program kcat. Without it the test is skipped, or fails if `REQUIRE_ALL` is set."""
    found = shutil.which("kcat")
    if not found and os.environ.get(REQUIRE_ALL):
        pytest.fail(f"kcat is missing and {REQUIRE_ALL} is set: install it (Debian: apt-get install kcat)")
    if not found:
        pytest.skip("kcat is not installed")
    return Path(found)


@pytest.fixture
def clock() -> FakeClock:
    """A clock that moves only by `clock.advance(seconds)`."""
    return FakeClock()
