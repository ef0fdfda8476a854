"""The log of a worker."""

import logging

import pytest

from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.serving.logs import FORGOTTEN_S, QUIET_S, Damper


def test_repeated_messages_of_a_library_are_dropped_for_a_while() -> None:
    clock = FakeClock()
    damper = Damper(clock=clock)

    def passes(logger: str, message: str) -> bool:
        return damper.filter(logging.LogRecord(logger, logging.ERROR, "", 0, message, None, None))

    assert passes("aiokafka.producer", "no leader")
    assert not passes("aiokafka.producer", "no leader")
    assert passes("aiokafka.producer", "another message")
    assert passes("inferstream.pipeline", "no leader")
    assert passes("inferstream.pipeline", "no leader")
    clock.advance(QUIET_S)
    assert passes("aiokafka.producer", "no leader")


@pytest.mark.parametrize(
    "message",
    [
        "Group Coordinator Request failed: %s",
        "Marking the coordinator dead (node %s)for group %s.",
        "Heartbeat failed for group %s because it is rebalancing",
    ],
)
def test_what_a_healthy_group_logs_is_shown_only_if_it_goes_on(message: str) -> None:
    clock = FakeClock()
    damper = Damper(clock=clock)
    name = "aiokafka.consumer.group_coordinator"

    def shown() -> bool:
        return damper.filter(logging.LogRecord(name, logging.ERROR, "", 0, message, None, None))

    assert not shown()
    clock.advance(QUIET_S / 2)
    assert not shown()
    clock.advance(QUIET_S / 2)
    assert shown()
    clock.advance(FORGOTTEN_S + 1)
    assert not shown(), "after a while without it, it counts as new"
