"""Ports of this machine for brokers: free ones, which are kept until the brokers have them."""

import random
import socket
from typing import Final

from ..errors import BrokerError
from .node import HOST

PORTS: Final = range(20_000, 32_000)
"""Range of free ports: below the one that the system gives to outgoing connections."""


def free_ports(count: int) -> list[int]:
    """Ports that no socket has. Raises BrokerError when there are too few."""
    every = random.SystemRandom().sample(PORTS, len(PORTS))
    free = (port for port in every if _is_unused(port))
    ports = [port for _, port in zip(range(count), free, strict=False)]
    if len(ports) < count:
        raise BrokerError(
            f"There are no {count} free ports between {PORTS.start} and {PORTS.stop}: free some."
        )
    return ports


def bound(port: int) -> socket.socket:
    """A socket that has the port and does not listen, so that a server which reuses addresses still may.

    A broker takes 2 s to listen: meanwhile `free_ports` gives its port to no other one. Raises OSError if a server
    listens there.
    """
    kept = socket.socket()
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        kept.bind((HOST, port))
    except OSError:
        kept.close()
        raise
    return kept


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback address."""
    try:
        bound(port).close()
    except OSError:
        return False
    return True


def _is_unused(port: int) -> bool:
    """Whether no socket has the port, those that are kept included."""
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
