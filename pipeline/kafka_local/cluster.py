"""A real Apache Kafka on this machine, from Python packages and jars alone: no Java, Docker or Maven needed."""

import base64
import random
import signal
import socket
import struct
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from filelock import FileLock, Timeout

from ..errors import BrokerError, UsageError
from .jars import Progress, class_path, jar_folder
from .node import HOST, KafkaNode, server_properties

PORTS: Final = range(20_000, 32_000)
"""Where free ports are taken from: below those that the system gives to outgoing connections."""


class LocalKafka:
    """A cluster of brokers, numbered from 1, each a process of its own that dies with this one.

    Args:
        directory: data, settings and logs; a later cluster on the same directory has the same topics.
        brokers: with three or more, topics have three replicas and need two of them in sync.
        port: of the first broker, the others follow; 0 takes free ones.
        properties: further broker settings by Kafka's names, which win over the ones made here.
        heap_mb: Java's heap of each broker.
        progress: told of the jars that are fetched on first use.
    """

    def __init__(
        self,
        directory: Path,
        *,
        brokers: int = 1,
        port: int = 9092,
        properties: Mapping[str, str] | None = None,
        heap_mb: int = 384,
        progress: Progress | None = None,
    ) -> None:
        self.directory = directory.absolute()
        self._ports = [port + n for n in range(brokers)] if port else free_ports(brokers)
        self._properties = dict(properties or {})
        self._heap_mb = heap_mb
        self._progress = progress
        self._nodes: dict[int, KafkaNode] = {}
        self._lock = FileLock(self.directory / "lock")  # two clusters on the same data destroy it

    @property
    def bootstrap(self) -> str:
        """The address to connect to."""
        return ",".join(f"{HOST}:{port}" for port in self._ports)

    def start(self, timeout_s: float = 60.0) -> None:
        """Start all brokers and wait until they answer and know each other.

        Raises UsageError when a port or the directory is taken, BrokerError when a broker does not come up; then none
        is left behind.
        """
        for port in self._ports:
            if not is_free(port):
                raise UsageError(f"Port {port} is taken: stop what listens there, or name another port.")
        self._lock_directory()
        try:
            self._prepare()
            for node in self._nodes.values():
                node.start()
            for number in self._nodes:
                self.wait_ready(number, timeout_s)
        except BaseException:
            self.stop(timeout_s=0)
            raise

    def stop(self, timeout_s: float = 15.0) -> None:
        """End all brokers in order, by force those that take longer. May be called twice."""
        for node in self._nodes.values():
            node.signal(signal.SIGCONT)
            node.signal(signal.SIGTERM)
        end = time.monotonic() + timeout_s
        for node in self._nodes.values():
            if not node.wait(max(0.0, end - time.monotonic())):
                node.signal(signal.SIGKILL)
                node.wait(timeout_s=10)
        self._lock.release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.stop()

    def kill(self, number: int) -> None:
        """End a broker at once, as a power cut does."""
        self._nodes[number].signal(signal.SIGKILL)
        self._nodes[number].wait(timeout_s=10)

    def terminate(self, number: int, timeout_s: float = 30.0) -> None:
        """End a broker in order: it hands over its leaderships first. Raises BrokerError when it does not end."""
        self._nodes[number].signal(signal.SIGTERM)
        if not self._nodes[number].wait(timeout_s):
            raise BrokerError(f"Broker {number} still runs {timeout_s:g} s after it was told to end.")

    def suspend(self, number: int) -> None:
        """Freeze a broker: its connections stay open and nothing answers."""
        self._nodes[number].signal(signal.SIGSTOP)

    def resume(self, number: int) -> None:
        """Thaw a suspended broker."""
        self._nodes[number].signal(signal.SIGCONT)

    def restart(self, number: int, timeout_s: float = 60.0) -> None:
        """Bring a broker up again on its data, ending it in order if it runs, and wait until it answers."""
        self.launch(number)
        self.wait_ready(number, timeout_s)

    def launch(self, number: int) -> None:
        """As `restart`, without waiting: a broker alone does not answer before a majority is up."""
        if self._nodes[number].running:
            self.terminate(number)
        self._nodes[number].start()

    def running(self) -> list[int]:
        """The brokers whose processes run."""
        return [number for number, node in self._nodes.items() if node.running]

    def pid(self, number: int) -> int | None:
        """The process of a broker, None when it does not run."""
        return self._nodes[number].pid

    def log(self, number: int) -> Path:
        """The log file of a broker."""
        return self._nodes[number].log

    def wait_ready(self, number: int, timeout_s: float = 60.0) -> None:
        """Wait until a broker answers and knows all that run. Raises BrokerError when it ends or takes longer."""
        node = self._nodes[number]
        end = time.monotonic() + timeout_s
        while not node.running or live_brokers(node.port) < len(self.running()):
            if not node.running:
                raise BrokerError(f"Kafka's broker {number} ended: {node.last_words()} ({node.log}).")
            if time.monotonic() > end:
                raise BrokerError(
                    f"Kafka's broker {number} does not answer after {timeout_s:g} s: see {node.log}."
                )
            time.sleep(0.05)

    def _lock_directory(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            message = f"{self.directory} is the data of a Kafka that runs: stop it, or name another folder."
            raise UsageError(message) from None

    def _prepare(self) -> None:
        jars, cluster_id = class_path(jar_folder(), self._progress), self._cluster_id()
        controllers = free_ports(len(self._ports))
        voters = ",".join(f"{number}@{HOST}:{port}" for number, port in enumerate(controllers, start=1))
        for number, (port, controller) in enumerate(zip(self._ports, controllers, strict=True), start=1):
            folder = self.directory / f"broker-{number}"
            node = KafkaNode(number, folder, port, class_path=jars, heap_mb=self._heap_mb)
            settings = server_properties(port, controller, voters, len(self._ports))
            node.configure({**settings, **self._properties})
            self._nodes[number] = node
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda node: node.format(cluster_id), self._nodes.values()))

    def _cluster_id(self) -> str:
        """Kept beside the data: brokers refuse storage of another cluster."""
        path = self.directory / "cluster.id"
        if not path.exists():
            part = path.with_suffix(".part")
            part.write_text(new_cluster_id())
            part.replace(path)
        return path.read_text()


def new_cluster_id() -> str:
    """16 random bytes in base64 without a dash in front, which Kafka's tools would read as an option."""
    below_half = uuid.UUID(int=uuid.uuid4().int >> 1)
    return base64.urlsafe_b64encode(below_half.bytes).decode().rstrip("=")


def live_brokers(port: int, timeout_s: float = 1.0, *, host: str = HOST) -> int:
    """How many live brokers the one at ``port`` knows, 0 when it does not answer.

    Speaks Kafka's Metadata request, version 1, which is all that it needs of a client.
    """
    body = struct.pack(">hhihi", 3, 1, 0, -1, 0)  # API key, version, correlation, no client id, no topics
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            connection.sendall(struct.pack(">i", len(body)) + body)
            answer = connection.makefile("rb").read(12)
    except OSError:
        return 0
    return struct.unpack(">iii", answer)[2] if len(answer) == 12 else 0


def free_ports(count: int) -> list[int]:
    """Ports on which nothing listens. Raises BrokerError when there are not that many."""
    free = (port for port in random.sample(PORTS, len(PORTS)) if is_free(port))
    ports = [port for _, port in zip(range(count), free, strict=False)]
    if len(ports) < count:
        raise BrokerError(
            f"There are no {count} free ports between {PORTS.start} and {PORTS.stop}: free some."
        )
    return ports


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
