"""The log of a worker."""

import logging

from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.serving.logs import QUIET_S, Damper


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
