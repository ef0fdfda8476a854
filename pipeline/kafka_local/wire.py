"""The state of a cluster as one of its brokers reports it, in three requests of Kafka's protocol.

The layouts are those of the protocol guide: Metadata (API key 3) version 1, FindCoordinator (10) version 0.
"""

import socket
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

METADATA: Final = 3
FIND_COORDINATOR: Final = 10
TIMEOUT_S: Final = 2.0
NO_NODE: Final = -1


class BrokerAddress(NamedTuple):
    host: str
    port: int


def broker_addresses(bootstrap: str) -> list[BrokerAddress]:
    """The addresses in ``host:port,host:port``."""
    pairs = (address.rpartition(":") for address in bootstrap.split(","))
    return [BrokerAddress(host, int(port)) for host, _, port in pairs]


def live_brokers(broker: BrokerAddress, timeout_s: float = 1.0) -> int:
    """The number of live brokers that this broker sees; 0 when it does not respond."""
    response = _request(broker, METADATA, 1, struct.pack(">i", 0), timeout_s)  # 0: no topics
    return response.take(">i")[0] if response else 0


def coordinator(brokers: Sequence[BrokerAddress], group: str) -> int | None:
    """The node id of the group's coordinator; None when no broker reports one."""
    for broker in brokers:
        response = _request(broker, FIND_COORDINATOR, 0, _string(group))
        if response:
            error, node = response.take(">hi")
            if error == 0 and node != NO_NODE:
                return node
    return None


def leaders(brokers: Sequence[BrokerAddress], topic: str) -> dict[int, int]:
    """Partition to the node id of its leader; empty when no broker reports any."""
    for broker in brokers:
        response = _request(broker, METADATA, 1, struct.pack(">i", 1) + _string(topic))
        if response and (found := _leaders(response)):
            return found
    return {}


class KafkaResponse:
    """Reads the fields of a response one after the other."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._position = 0

    def take(self, layout: str) -> tuple[int, ...]:
        """The next fields. Raises struct.error at the end of the response."""
        values = struct.unpack_from(layout, self._body, self._position)
        self._position += struct.calcsize(layout)
        return values

    def skip_string(self) -> None:
        (length,) = self.take(">h")
        self._position += max(0, length)  # -1: null

    def skip_integers(self) -> None:
        (count,) = self.take(">i")
        self._position += 4 * count


def _leaders(response: KafkaResponse) -> dict[int, int]:
    (brokers,) = response.take(">i")
    for _ in range(brokers):
        response.take(">i")
        response.skip_string()  # host
        response.take(">i")
        response.skip_string()  # rack
    response.take(">i")  # the controller
    found: dict[int, int] = {}
    (topics,) = response.take(">i")
    for _ in range(topics):
        response.take(">h")
        response.skip_string()
        response.take(">b")
        (partitions,) = response.take(">i")
        for _ in range(partitions):
            _, partition, leader = response.take(">hii")
            response.skip_integers()  # replicas
            response.skip_integers()  # replicas in sync
            if leader != NO_NODE:
                found[partition] = leader
    return found


def _request(
    broker: BrokerAddress, api: int, version: int, body: bytes, timeout_s: float = TIMEOUT_S
) -> KafkaResponse | None:
    """The response's body; None when the broker cannot be reached or closes early."""
    request = struct.pack(">hhih", api, version, 0, -1) + body  # correlation id 0, no client id
    try:
        with socket.create_connection(broker, timeout_s) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            stream = connection.makefile("rb")
            (size,) = struct.unpack(">i", stream.read(4))
            body = stream.read(size)
            return KafkaResponse(body[4:]) if len(body) == size else None
    except (OSError, struct.error):
        return None


def _string(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()
