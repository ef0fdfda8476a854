"""The local Kafka starts, keeps its data, handles signals, and leaves no process behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from inferstream.pipeline.errors import BrokerError, UsageError
from inferstream.pipeline.kafka_local.cluster import LocalKafka, new_cluster_id
from inferstream.pipeline.kafka_local.ports import free_ports, is_free
from inferstream.pipeline.kafka_local.wire import broker_addresses, live_brokers

pytestmark = pytest.mark.kafka


def wait_until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "the condition was not met in time"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_session_kafka_answers(kafka: str) -> None:
    assert live_brokers(broker_addresses(kafka)[0]) == 1


def test_one_broker_through_its_life(tmp_path: Path) -> None:
    kafka = LocalKafka(tmp_path, port=0)
    (address,) = kafka.addresses
    with kafka:
        pid = kafka.pid(1)
        assert pid
        assert live_brokers(address) == 1
        kafka.kill(1)
        assert kafka.running() == []
        assert kafka.pid(1) is None
        assert not is_alive(pid)
        kafka.restart(1)
        assert live_brokers(address) == 1
        kafka.suspend(1)
        wait_until(lambda: live_brokers(address, timeout_s=0.2) == 0)
        kafka.resume(1)
        wait_until(lambda: live_brokers(address) == 1)
        kafka.suspend(1)
    assert kafka.running() == []
    assert is_free(address.port)
    cluster_id = (tmp_path / "cluster.id").read_text()
    with LocalKafka(tmp_path, port=address.port) as again:
        assert live_brokers(address) == 1
        assert again.log(1).stat().st_size > 1_000
    assert (tmp_path / "cluster.id").read_text() == cluster_id


def test_cluster_id_is_never_read_as_an_option() -> None:
    ids = {new_cluster_id() for _ in range(1_000)}
    assert len(ids) == 1_000
    assert not any(cluster_id.startswith("-") for cluster_id in ids)
    assert {len(cluster_id) for cluster_id in ids} == {22}


def test_taken_port_is_one_sentence(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(UsageError, match="is taken: stop what"),
    ):
        LocalKafka(tmp_path, port=server.getsockname()[1]).start()


def test_refused_settings_end_in_the_logs_reason(tmp_path: Path) -> None:
    kafka = LocalKafka(tmp_path, port=0, properties={"num.network.threads": "-1"})
    with pytest.raises(BrokerError, match=r"num\.network\.threads"):
        kafka.start()
    assert kafka.running() == []


def test_directory_in_use_is_refused(tmp_path: Path) -> None:
    """Kafka itself would start there and destroy the metadata of both."""
    with LocalKafka(tmp_path, port=0) as first:
        with pytest.raises(UsageError, match="is in use by a running Kafka"):
            LocalKafka(tmp_path, port=0).start()
        assert first.running() == [1]
    with LocalKafka(tmp_path, port=0) as later:
        assert later.running() == [1]


def test_a_broker_that_ends_at_its_start_raises_the_reason(tmp_path: Path) -> None:
    with LocalKafka(tmp_path, port=0):
        pass
    about = tmp_path / "broker-1/data/meta.properties"
    about.write_text(about.read_text().replace("node.id=1", "node.id=9"))
    kafka = LocalKafka(tmp_path, port=0)
    with (
        pytest.raises(
            BrokerError, match=r"Kafka's broker 1 ended: .*Stored node id 9 .*\(.+/broker\.log\)\.$"
        ),
        kafka,
    ):
        pass
    assert kafka.running() == []


def test_broker_ends_with_a_killed_parent(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    code = f"""
import pathlib, sys, time
from inferstream.pipeline.kafka_local.cluster import LocalKafka
kafka = LocalKafka(pathlib.Path({str(tmp_path)!r}), port={port})
kafka.start()
print(kafka.pid(1), flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        broker = int(parent.stdout.readline())
        assert is_alive(broker)
        os.kill(parent.pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(broker))


def test_cluster_survives_the_loss_of_one(kafka_cluster: LocalKafka) -> None:
    addresses = kafka_cluster.addresses
    assert [live_brokers(address) for address in addresses] == [3, 3, 3]
    kafka_cluster.kill(2)
    wait_until(lambda: live_brokers(addresses[0]) == 2)
    kafka_cluster.restart(2)
    kafka_cluster.terminate(1)
    assert live_brokers(addresses[1]) == 2, "after SIGTERM it did not hand over before it ended"
    kafka_cluster.restart(1)
    assert kafka_cluster.running() == [1, 2, 3]
