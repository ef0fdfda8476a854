"""A real Apache Kafka on this machine: needs no Java, Docker or Maven."""

import base64
import signal
import sys
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from ..errors import BrokerError, UsageError
from ..locks import lock_file
from .jars import Progress, class_path, jar_folder
from .node import HOST, KafkaNode, server_properties
from .ports import bound, free_ports
from .wire import BrokerAddress, broker_addresses, live_brokers


class LocalKafka:
    """A cluster of brokers, numbered from 1, each in a process that ends when this process ends.

    Args:
        directory: data, settings and logs. A later cluster here has the same topics.
        brokers: with 3 or more, topics have 3 replicas by default; 2 must be in sync.
        port: of the first broker; the others follow. 0 takes free ports.
        properties: broker settings by Kafka's names; they override `server_properties`.
        heap_mb: Java's heap of each broker.
        progress: called with (jars present, jars in total) while they are fetched on first use.
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
        self._lock: IO[bytes] | None = None  # two clusters on the same data destroy it

    @property
    def bootstrap(self) -> str:
        """The bootstrap address, ``host:port,host:port``."""
        return ",".join(f"{HOST}:{port}" for port in self._ports)

    @property
    def addresses(self) -> list[BrokerAddress]:
        """The same as one value for each broker."""
        return broker_addresses(self.bootstrap)

    def start(self, timeout_s: float = 60.0) -> None:
        """Start all brokers and wait until each sees all of them.

        Raises UsageError when a port or the directory is in use, BrokerError when a broker does
        not start; then all are ended.
        """
        with ExitStack() as kept:
            for port in self._ports:
                try:
                    kept.enter_context(bound(port))
                except OSError:
                    message = f"Port {port} is taken: stop what listens there, or name another port."
                    raise UsageError(message) from None
            self._lock_directory()
            try:
                self._prepare(kept)
                if sys.platform != "linux":
                    kept.close()  # elsewhere two sockets cannot share a port
                for node in self._nodes.values():
                    node.start()
                for number in self._nodes:
                    self.wait_ready(number, timeout_s)
            except BaseException:
                self.stop(timeout_s=0)
                raise

    def stop(self, timeout_s: float = 15.0) -> None:
        """Shut all brokers down; kill those that still run after ``timeout_s``. May be called twice."""
        for node in self._nodes.values():
            node.signal(signal.SIGCONT)
            node.signal(signal.SIGTERM)
        end = time.monotonic() + timeout_s
        for node in self._nodes.values():
            if not node.wait(max(0.0, end - time.monotonic())):
                node.signal(signal.SIGKILL)
                node.wait(timeout_s=10)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.stop()

    def kill(self, number: int) -> None:
        """Kill a broker without a shutdown, as a power cut does."""
        self._nodes[number].signal(signal.SIGKILL)
        self._nodes[number].wait(timeout_s=10)

    def terminate(self, number: int, timeout_s: float = 30.0) -> None:
        """Shut a broker down after it has handed over its leaderships. Raises BrokerError."""
        self._nodes[number].signal(signal.SIGTERM)
        if not self._nodes[number].wait(timeout_s):
            raise BrokerError(f"Broker {number} still runs {timeout_s:g} s after SIGTERM.")

    def suspend(self, number: int) -> None:
        """Stop a broker with SIGSTOP: its connections stay open and it does not respond."""
        self._nodes[number].signal(signal.SIGSTOP)

    def resume(self, number: int) -> None:
        """Continue a suspended broker."""
        self._nodes[number].signal(signal.SIGCONT)

    def restart(self, number: int, timeout_s: float = 60.0) -> None:
        """Start a broker, after a shutdown if it runs, and wait until it responds."""
        self.launch(number)
        self.wait_ready(number, timeout_s)

    def launch(self, number: int) -> None:
        """As `restart`, without waiting: a broker responds only when a majority is up."""
        if self._nodes[number].running:
            self.terminate(number)
        self._nodes[number].start()

    def running(self) -> list[int]:
        """The brokers whose processes run."""
        return [number for number, node in self._nodes.items() if node.running]

    def pid(self, number: int) -> int | None:
        """The process id of a broker; None when it does not run."""
        return self._nodes[number].pid

    def log(self, number: int) -> Path:
        """The log file of a broker."""
        return self._nodes[number].log

    def wait_ready(self, number: int, timeout_s: float = 60.0) -> None:
        """Wait until a broker sees all others. Raises BrokerError when it ends, or is too slow."""
        node = self._nodes[number]
        end = time.monotonic() + timeout_s
        while not node.running or live_brokers(BrokerAddress(HOST, node.port)) < len(self.running()):
            if not node.running:
                raise BrokerError(f"Kafka's broker {number} ended: {node.last_words()} ({node.log}).")
            if time.monotonic() > end:
                raise BrokerError(
                    f"Kafka's broker {number} does not respond after {timeout_s:g} s: see {node.log}."
                )
            time.sleep(0.05)

    def _lock_directory(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self._lock = (self.directory / "lock").open("ab")
        try:
            lock_file(self._lock)
        except BlockingIOError:
            self._lock.close()
            self._lock = None
            message = f"{self.directory} is in use by a running Kafka: stop it, or name another folder."
            raise UsageError(message) from None

    def _prepare(self, kept: ExitStack) -> None:
        jars, cluster_id = class_path(jar_folder(), self._progress), self._cluster_id()
        controllers = free_ports(len(self._ports))
        for port in controllers:
            kept.enter_context(bound(port))
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
        """The id, stored beside the data: brokers reject the storage of another cluster."""
        path = self.directory / "cluster.id"
        if not path.exists():
            part = path.with_suffix(".part")
            part.write_text(new_cluster_id())
            part.replace(path)
        return path.read_text()


def new_cluster_id() -> str:
    """16 random bytes in base64, without a dash in front: Kafka's tools take that for an option."""
    below_half = uuid.UUID(int=uuid.uuid4().int >> 1)
    return base64.urlsafe_b64encode(below_half.bytes).decode().rstrip("=")
