"""A lease runs out only when no heartbeat was read although the way of a heartbeat was open."""

import asyncio
import logging
from collections.abc import Mapping

import pytest

from inferstream.pipeline.broker.base import Message
from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.delivery.leases import PROBE_S, Lease, Leases
from inferstream.pipeline.errors import NotWritable
from inferstream.schemas.cancels import Heartbeat, decode_cancel

LEASE = Lease("client-1", 10.0)


class FakeHolder:
    lapsed = False

    def __init__(self) -> None:
        self.read: list[tuple[dict[str, int], float]] = []

    def lapse(self) -> None:
        self.lapsed = True

    def was_read(self, read: Mapping[str, int], now: float) -> None:
        self.read.append((dict(read), now))


class LeaseRig:
    """Leases, and a topic of heartbeats that a test delivers by hand."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.sent: list[tuple[Message, asyncio.Future[None]]] = []
        self.leases = Leases("cancels", self._publish, self.clock)

    def _publish(self, message: Message) -> "asyncio.Future[None]":
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sent.append((message, future))
        return future

    def held(self, lease: Lease = LEASE) -> FakeHolder:
        holder = FakeHolder()
        self.leases.hold(lease, holder)
        return holder

    def pass_s(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.leases.check()

    def deliver_probe(self) -> None:
        """The worker reads the heartbeat of its own that it has sent last."""
        message, future = self.sent[-1]
        future.set_result(None)
        heartbeat = decode_cancel(message.value)
        assert isinstance(heartbeat, Heartbeat)
        self.leases.heard(heartbeat.lease, {})


async def test_a_lease_without_heartbeats_runs_out_once_a_heartbeat_of_our_own_was_read() -> None:
    rig = LeaseRig()
    holder = rig.held()
    rig.pass_s(9.9)
    assert rig.sent == []
    rig.pass_s(0.2)
    ((message, _),) = rig.sent
    assert (message.topic, message.key) == ("cancels", b"client-1"), (
        "the partition of the client's heartbeats"
    )
    assert not holder.lapsed
    rig.deliver_probe()
    assert holder.lapsed


async def test_heartbeats_keep_a_lease() -> None:
    rig = LeaseRig()
    holder = rig.held()
    for _ in range(10):
        rig.pass_s(9.0)
        rig.leases.heard("client-1", {})
    assert not holder.lapsed
    assert rig.sent == []


async def test_a_heartbeat_that_is_read_before_our_own_keeps_the_lease() -> None:
    """It was held back by the broker, or by this worker, which was stopped for a minute."""
    rig = LeaseRig()
    holder = rig.held()
    rig.pass_s(60.0)
    rig.leases.heard("client-1", {})
    rig.deliver_probe()
    assert not holder.lapsed
    rig.pass_s(10.1)
    rig.deliver_probe()
    assert holder.lapsed


async def test_a_broker_that_stalls_cancels_nothing() -> None:
    rig = LeaseRig()
    holder = rig.held()
    rig.pass_s(10.1)
    for _ in range(30):
        rig.pass_s(1.0)
    assert len(rig.sent) == 1, "one heartbeat of our own at a time"
    rig.deliver_probe()
    assert not holder.lapsed, "it came late: those of clients may come later still"
    rig.pass_s(9.9)
    assert not holder.lapsed
    rig.pass_s(0.2)
    rig.clock.advance(PROBE_S)
    rig.deliver_probe()
    assert holder.lapsed


async def test_a_redelivered_request_of_a_dead_client_ends_one_lease_after_it_was_read() -> None:
    rig = LeaseRig()
    earlier = rig.held()
    rig.pass_s(6.0)
    later = rig.held()
    rig.pass_s(4.1)
    rig.deliver_probe()
    assert (earlier.lapsed, later.lapsed) == (True, False)
    rig.leases.release(LEASE, earlier)
    rig.pass_s(6.0)
    rig.deliver_probe()
    assert later.lapsed


async def test_leases_of_other_clients_and_ended_requests_are_left_alone() -> None:
    rig = LeaseRig()
    holder = rig.held()
    other = rig.held(Lease("client-2", 60.0))
    ended = rig.held()
    rig.leases.release(LEASE, ended)
    rig.pass_s(10.1)
    rig.deliver_probe()
    assert (holder.lapsed, other.lapsed, ended.lapsed) == (True, False, False)


async def test_nothing_is_kept_of_a_lease_without_requests() -> None:
    rig = LeaseRig()
    for number in range(1_000):
        rig.leases.heard(f"{number}", {})
    holder = rig.held()
    rig.pass_s(11.0)
    rig.leases.release(LEASE, holder)
    rig.deliver_probe()
    assert not holder.lapsed
    assert (rig.leases._held, rig.leases._probes) == ({}, {})


async def test_heartbeats_of_our_own_that_never_come_back_leave_nothing() -> None:
    """A broker that takes records and gives none: each client that ends would leave one."""
    rig = LeaseRig()
    for number in range(100):
        lease = Lease(f"client-{number}", 10.0)
        holder = rig.held(lease)
        rig.pass_s(11.0)
        rig.leases.release(lease, holder)
    assert len(rig.sent) == 100
    assert (rig.leases._held, rig.leases._probes) == ({}, {})


async def test_without_the_right_to_write_no_lease_runs_out_and_the_log_says_it_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = LeaseRig()
    holder = rig.held()
    for _ in range(3):
        with caplog.at_level(logging.WARNING):
            rig.pass_s(10.1)
            rig.sent[-1][1].set_exception(NotWritable("Kafka does not let w write to cancels."))
            await asyncio.sleep(0)
    assert len(rig.sent) == 3
    assert not holder.lapsed
    (logged,) = caplog.records
    assert logged.message.startswith("No lease runs out, since this worker cannot write to cancels: grant it")
