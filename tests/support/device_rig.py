"""A device over a fake session, without an engine: tests put texts and wait for their results."""

import math
import queue
from collections.abc import Iterator
from contextlib import contextmanager

from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.engine.batcher import Batcher
from inferstream.pipeline.engine.batching import BatchStats, Entry, Limits
from inferstream.pipeline.engine.cache.keys import content_key
from inferstream.pipeline.engine.cost import Cost
from inferstream.pipeline.engine.crash_note import CrashNote
from inferstream.pipeline.engine.device import Device
from inferstream.pipeline.engine.flight import Flight
from inferstream.pipeline.engine.lanes import LaneSettings
from inferstream.pipeline.runtime.encoder import Encoder
from inferstream.pipeline.runtime.fake_session import FakeSession
from inferstream.pipeline.runtime.model import RUN
from support.echo import Echo, asked

TIMEOUT_S = 10.0
AMPLE = Limits(4_096, 64)
CHEAP_ROWS = (10.0, 0.01, 0.0001, 1e-7)
"""Weights of a cost model by which large batches are the fastest."""


class DeviceRig:
    """A device, the flights that have landed, and the errors that ended its lanes."""

    def __init__(
        self,
        session: FakeSession,
        *,
        lanes: int = 1,
        limits: Limits = AMPLE,
        cost: Cost | None = None,
        clock: FakeClock | None = None,
        note: CrashNote | None = None,
        batcher: type[Batcher] = Batcher,
    ) -> None:
        self.session = session
        self.clock = clock or FakeClock()
        self.device = Device(
            Encoder(session),
            limits,
            {RUN: cost or Cost(CHEAP_ROWS)},
            LaneSettings(lanes, self.clock, self.clock),
            note=note,
            batcher=batcher,
        )
        self.task = Echo()
        self.landed: queue.Queue[Flight] = queue.Queue()
        self.failed: queue.Queue[BaseException] = queue.Queue()
        self.stats: list[BatchStats] = []
        self.device.on_batch = self.stats.append

    def start(self) -> None:
        self.device.start(self.land, self.failed.put)

    def stop(self) -> None:
        self.session.release()
        self.device.stop()

    def put(
        self, *texts: str, key: bytes | None = None, expires: float = math.inf, task: Echo | None = None
    ) -> list[Flight]:
        """One flight for each text; all rows are put at once."""
        flights = [self.flight(text, key=key, expires=expires, task=task) for text in texts]
        self.device.batcher.put([entry for flight in flights for entry in flight.entries])
        return flights

    def flight(
        self, text: str, *, key: bytes | None = None, expires: float = math.inf, task: Echo | None = None
    ) -> Flight:
        """A flight that has boarded, whose rows are not put yet."""
        task = task or self.task
        key = key or content_key(b"", text)
        flight = Flight(
            key,
            task,
            self.device.batcher,
            asked(text),
            len(text),
            self.clock(),
            suspect=self.device.is_suspect(key),
            expires=expires,
        )
        rows = task.prepare([asked(text)])[0]
        flight.board([Entry(row, flight, arrived=self.clock()) for row in rows], self.clock())
        return flight

    def wait(self, count: int) -> dict[str, bytes | Exception | None]:
        """The results of the next landings, by text; each text lands once."""
        landed = [self.landed.get(timeout=TIMEOUT_S) for _ in range(count)]
        results: dict[str, bytes | Exception | None] = {
            flight.ask.content: flight.result for flight in landed
        }
        assert len(results) == count
        return results

    def land(self, flights: list[Flight]) -> None:
        for flight in flights:
            self.landed.put(flight)

    @contextmanager
    def busy_lane(self) -> Iterator[None]:
        """Keep one lane busy with a row of its own, so that what is put meanwhile waits."""
        self.session.stall()
        self.put("held")
        self.session.wait_for_runs(1)
        yield
        self.session.release()


@contextmanager
def a_device_rig(
    session: FakeSession,
    *,
    lanes: int = 1,
    limits: Limits = AMPLE,
    clock: FakeClock | None = None,
    note: CrashNote | None = None,
    batcher: type[Batcher] = Batcher,
) -> Iterator[DeviceRig]:
    """A started rig. At the end, all landings must have been read and no lane may have failed."""
    rig = DeviceRig(session, lanes=lanes, limits=limits, clock=clock, note=note, batcher=batcher)
    rig.start()
    try:
        yield rig
    finally:
        rig.stop()
    assert rig.landed.empty()
    assert rig.failed.empty()
