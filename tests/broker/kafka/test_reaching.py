"""Every connection has a bound, and the address that failed is named."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from support.broker_contract import take

from inferstream.pipeline.broker.base import Message, TopicSpec
from inferstream.pipeline.broker.kafka.broker import KafkaBroker
from inferstream.pipeline.client.client import Client
from inferstream.pipeline.config import KafkaConfig
from inferstream.pipeline.errors import BrokerError
from inferstream.pipeline.kafka_local.cluster import LocalKafka
from inferstream.pipeline.kafka_local.node import HOST
from inferstream.pipeline.kafka_local.ports import free_ports

pytestmark = pytest.mark.kafka

CLOSED = "127.0.0.1:1"


@pytest.fixture(scope="module")
def silent_port() -> Iterator[int]:
    """A port whose connections are never answered."""
    with closing(socket.create_server((HOST, 0))) as server:
        yield server.getsockname()[1]


def kafka_that_names(directory: Path, address: str) -> LocalKafka:
    """A Kafka that tells its clients to use another address."""
    port, controller = free_ports(2)
    properties = {
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller}",
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{address}",
    }
    return LocalKafka(directory, port=port, properties=properties)


@pytest.fixture(scope="module", params=["refused", "silent"])
def misnamed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, silent_port: int
) -> Iterator[tuple[str, str]]:
    """The address of a Kafka, and the one that it names."""
    address = CLOSED if request.param == "refused" else f"{HOST}:{silent_port}"
    with kafka_that_names(tmp_path_factory.mktemp("misnamed"), address) as kafka:
        yield kafka.bootstrap, address


async def test_an_advertised_address_that_cannot_be_reached_is_named(misnamed: tuple[str, str]) -> None:
    bootstrap, address = misnamed
    config = KafkaConfig(bootstrap=bootstrap, connect_timeout_ms=2_000)
    with pytest.raises(BrokerError) as raised:
        async with asyncio.timeout(20), Client(config) as client:
            await client.request("triage", "text", timeout_s=5)
    assert address in str(raised.value)
    assert "advertised.listeners" in str(raised.value)


async def test_an_address_that_accepts_and_never_answers_is_named(silent_port: int) -> None:
    config = KafkaConfig(bootstrap=f"{HOST}:{silent_port}", connect_timeout_ms=1_000)
    with pytest.raises(BrokerError, match=f"{HOST}:{silent_port} did not answer within 1 s"):
        async with asyncio.timeout(20), KafkaBroker(config):
            pass


async def until_it_fails(look_up: Callable[[str], Awaitable[object]], topic: str) -> None:
    """An answer may be on its way that the broker sent before it froze."""
    async with asyncio.timeout(20):
        while True:
            await look_up(topic)


async def test_a_broker_that_freezes_bounds_all_look_ups(
    tmp_path_factory: pytest.TempPathFactory, unique: str
) -> None:
    with LocalKafka(tmp_path_factory.mktemp("freezes"), port=0) as kafka:
        config = KafkaConfig(bootstrap=kafka.bootstrap, connect_timeout_ms=1_000)
        async with KafkaBroker(config) as broker:
            await broker.ensure_topics([TopicSpec(unique, 1)])
            reader = await broker.consume([unique])
            kafka.suspend(1)
            try:
                for look_up in (broker.partitions, lambda topic: broker.consume([topic])):
                    with pytest.raises(BrokerError, match=r"Kafka did not .* within 1 s: .* does not answer"):
                        await until_it_fails(look_up, unique)
                with pytest.raises(BrokerError, match=r"read the offsets of partitions"):
                    async with asyncio.timeout(60):
                        await reader.end_offsets(reader.assignment())
            finally:
                kafka.resume(1)


class ForgetfulHop:
    """A way to Kafka that forgets a connection after a time without traffic, without a word."""

    def __init__(self, to_port: int, forgets_s: float) -> None:
        self._to_port = to_port
        self._forgets_s = forgets_s
        self.forgotten = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection(HOST, self._to_port)
        last_s = asyncio.get_running_loop().time()
        state = {"last_s": last_s, "forgotten": False}
        both = [self._copy(reader, to_writer, state), self._copy(to_reader, writer, state)]
        await asyncio.gather(*both, return_exceptions=True)
        to_writer.close()
        writer.close()

    async def _copy(
        self, source: asyncio.StreamReader, to: asyncio.StreamWriter, state: dict[str, float]
    ) -> None:
        while data := await source.read(65_536):
            now_s = asyncio.get_running_loop().time()
            if now_s - state["last_s"] > self._forgets_s and not state["forgotten"]:
                state["forgotten"] = True
                self.forgotten += 1
            state["last_s"] = now_s
            if not state["forgotten"]:
                to.write(data)
        if not state["forgotten"]:
            to.close()


@asynccontextmanager
async def through_a_hop(directory: Path, forgets_s: float) -> AsyncIterator[tuple[str, ForgetfulHop]]:
    (port,) = free_ports(1)
    kafka = kafka_that_names(directory, f"{HOST}:{port}")
    with kafka:
        hop = ForgetfulHop(int(kafka.bootstrap.rpartition(":")[2]), forgets_s)
        server = await asyncio.start_server(hop.pass_on, HOST, port)
        async with server:
            yield f"{HOST}:{port}", hop
            server.close()


async def test_connections_are_closed_before_a_hop_forgets_them(
    tmp_path_factory: pytest.TempPathFactory, unique: str
) -> None:
    """A publish after a pause must not wait 40 s for an answer that never comes."""
    async with through_a_hop(tmp_path_factory.mktemp("hop"), forgets_s=1.0) as (bootstrap, hop):
        config = KafkaConfig(bootstrap=bootstrap, max_idle_ms=300)
        async with asyncio.timeout(60), KafkaBroker(config) as broker:
            await broker.ensure_topics([TopicSpec(unique, 1)])
            reader = await broker.consume([unique])
            await broker.publish(Message(unique, b"before"))
            await asyncio.sleep(2)  # no condition: that nothing happens is what a hop forgets for
            await broker.publish(Message(unique, b"after"))
            assert [one.value for one in await take(reader, 2)] == [b"before", b"after"]
        assert hop.forgotten == 0
