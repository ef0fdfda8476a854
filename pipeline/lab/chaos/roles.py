"""Who leads a partition and who coordinates a group, asked of any broker that answers."""

import socket
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

METADATA: Final = 3
FIND_COORDINATOR: Final = 10
TIMEOUT_S: Final = 2.0
NO_NODE: Final = -1


class Address(NamedTuple):
    host: str
    port: int


def addresses(bootstrap: str) -> list[Address]:
    """The brokers in ``host:port,host:port``."""
    pairs = (one.rpartition(":") for one in bootstrap.split(","))
    return [Address(host, int(port)) for host, _, port in pairs]


def coordinator(brokers: Sequence[Address], group: str) -> int | None:
    """The id of the broker that coordinates the group; None when nobody says so. Version 0 of the request."""
    for broker in brokers:
        answer = _ask(broker, FIND_COORDINATOR, 0, _string(group))
        if answer is not None:
            error, node = answer.take(">hi")
            if error == 0 and node != NO_NODE:
                return int(node)
    return None


def leaders(brokers: Sequence[Address], topic: str) -> dict[int, int]:
    """The leader of each partition that has one, empty when nobody says so. Version 1 of the request."""
    for broker in brokers:
        answer = _ask(broker, METADATA, 1, struct.pack(">i", 1) + _string(topic))
        if answer is not None and (found := _leaders(answer)):
            return found
    return {}


class Answer:
    """The fields of an answer, one after the other."""

    def __init__(self, body: bytes) -> None:
        self._body, self._at = body, 0

    def take(self, form: str) -> tuple[int, ...]:
        """The next fields. Raises struct.error where the answer is shorter."""
        values = struct.unpack_from(form, self._body, self._at)
        self._at += struct.calcsize(form)
        return values

    def skip_string(self) -> None:
        (length,) = self.take(">h")
        self._at += max(0, length)

    def skip_integers(self) -> None:
        (count,) = self.take(">i")
        self._at += 4 * count


def _leaders(answer: Answer) -> dict[int, int]:
    (brokers,) = answer.take(">i")
    for _ in range(brokers):
        answer.take(">i")
        answer.skip_string()  # host
        answer.take(">i")
        answer.skip_string()  # rack
    answer.take(">i")  # the controller
    found: dict[int, int] = {}
    (topics,) = answer.take(">i")
    for _ in range(topics):
        answer.take(">h")
        answer.skip_string()
        answer.take(">b")
        (partitions,) = answer.take(">i")
        for _ in range(partitions):
            _, partition, leader = answer.take(">hii")
            answer.skip_integers()  # replicas
            answer.skip_integers()  # those in sync
            if leader != NO_NODE:
                found[partition] = leader
    return found


def _ask(broker: Address, api: int, version: int, body: bytes) -> Answer | None:
    """The body of the answer; None when there is none."""
    request = struct.pack(">hhih", api, version, 0, -1) + body  # correlation 0, no client id
    try:
        with socket.create_connection(broker, TIMEOUT_S) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            stream = connection.makefile("rb")
            (size,) = struct.unpack(">i", stream.read(4))
            return Answer(stream.read(size)[4:])
    except (OSError, struct.error):
        return None


def _string(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()
