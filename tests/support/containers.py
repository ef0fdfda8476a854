"""Kafka in a container, for other containers of its network and for this machine."""

import os
import socket

from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import HealthcheckWaitStrategy

IMAGE = os.environ.get("KAFKA_IMAGE", "apache/kafka:4.1.2")
INSIDE = "kafka:19092"
"""The address of the broker for containers of its network."""

SETTINGS = {
    "KAFKA_NODE_ID": "1",
    "KAFKA_PROCESS_ROLES": "broker,controller",
    "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
    "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
    "KAFKA_LISTENERS": "INSIDE://:19092,HOST://:9092,CONTROLLER://localhost:9093",
    "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "INSIDE:PLAINTEXT,HOST:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "KAFKA_INTER_BROKER_LISTENER_NAME": "INSIDE",
    "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
    "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    "KAFKA_LOG_DIRS": "/var/lib/kafka/data",
}
HEALTH = {
    "test": ["CMD", "bash", "-c", "</dev/tcp/127.0.0.1/9092"],
    "interval": 500_000_000,  # nanoseconds
    "retries": 60,
}


def kafka_container(network: Network, port: int) -> DockerContainer:
    """A broker that this machine reaches at ``port``. Entering the context waits until it is healthy."""
    listeners = f"INSIDE://{INSIDE},HOST://127.0.0.1:{port}"
    container = (
        DockerContainer(IMAGE, network=network, network_aliases=["kafka"], healthcheck=HEALTH)
        .with_envs(**SETTINGS, KAFKA_ADVERTISED_LISTENERS=listeners)
        .waiting_for(HealthcheckWaitStrategy())
    )
    container.ports["9092/tcp"] = ("127.0.0.1", port)  # `with_bind_ports` would open it to the network
    return container


def free_port() -> int:
    """A free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
