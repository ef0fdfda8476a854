"""Rows that wait for a device, without a device: for tests of batching."""

import math

from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.engine.batcher import Batcher
from inferstream.pipeline.engine.batching import Entry, Limits
from inferstream.pipeline.engine.cost import Cost
from inferstream.pipeline.engine.flight import Flight
from inferstream.pipeline.engine.phase_queue import PhaseQueue
from inferstream.pipeline.runtime.model import RUN, Row
from support.echo import Echo, asked

ECHO = Echo()
UNUSED_BATCHER = Batcher({RUN: PhaseQueue(Cost(), Limits(1, 1))}, FakeClock(), lambda dropped: None)


def a_flight(
    key: bytes = b"key",
    *,
    batcher: Batcher = UNUSED_BATCHER,
    started_at: float = 0.0,
    expires: float = math.inf,
    priority: int = 1,
    suspect: bool = False,
    tenant: str = "",
) -> Flight:
    return Flight(
        key,
        ECHO,
        batcher,
        asked("text"),
        4,
        started_at,
        suspect=suspect,
        tenant=tenant,
        expires=expires,
        priority=priority,
    )


def an_entry(
    length: int = 1,
    *,
    arrived: float = 0.0,
    expires: float = math.inf,
    priority: int = 1,
    alone: bool = False,
    cancelled: bool = False,
    tenant: str = "",
) -> Entry:
    """A row of a flight of its own."""
    flight = a_flight(started_at=arrived, expires=expires, priority=priority, suspect=alone, tenant=tenant)
    entry = Entry(Row([7] * length), flight, arrived=arrived)
    entry.cancelled = cancelled
    return entry
