"""Free ports: what another cluster has chosen is not given away before its brokers listen."""

import socket

import pytest

from inferstream.pipeline.kafka_local import ports
from inferstream.pipeline.kafka_local.ports import bound, free_ports, is_free


def test_ports_that_are_kept_are_given_to_no_other_one(monkeypatch: pytest.MonkeyPatch) -> None:
    few = free_ports(5)
    monkeypatch.setattr(ports, "PORTS", sorted(few))
    with bound(few[0]), bound(few[1]):
        assert sorted(free_ports(3)) == sorted(few[2:])
    assert sorted(free_ports(5)) == sorted(few)


def test_a_server_may_listen_on_a_port_that_is_kept_and_on_no_port_of_another_one() -> None:
    (port,) = free_ports(1)
    with bound(port), socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Java's servers do
        server.bind(("127.0.0.1", port))
        server.listen()
        assert not is_free(port)
        with socket.create_connection(("127.0.0.1", port)), server.accept()[0]:
            pass
    with bound(port) as server:
        server.listen()
        with pytest.raises(OSError, match="in use"):
            bound(port)
