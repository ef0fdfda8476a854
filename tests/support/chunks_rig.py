"""A handler of a task whose answers come in pieces, and all that it publishes."""

import asyncio
import json
from typing import Any

import msgspec

from inferstream.pipeline.broker.base import Headers, Message, Record
from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.config import RetryConfig, WindowConfig
from inferstream.pipeline.delivery.outcome import Outcome, PendingOutcome
from inferstream.pipeline.delivery.resuming import Resuming
from inferstream.pipeline.delivery.slots import Slot
from inferstream.pipeline.delivery.window import Window
from inferstream.pipeline.engine.batching import Limits
from inferstream.pipeline.engine.cache.memory import MemoryCache
from inferstream.pipeline.engine.cost import Cost
from inferstream.pipeline.engine.device import Device
from inferstream.pipeline.engine.engine import Engine
from inferstream.pipeline.engine.lanes import LaneSettings
from inferstream.pipeline.engine.model_entry import ModelEntry
from inferstream.pipeline.errors import DeviceUnavailable
from inferstream.pipeline.lab.steps import Steps, StepsModel
from inferstream.pipeline.runtime.fake_session import FakeSession
from inferstream.pipeline.telemetry import WorkerMetrics
from inferstream.schemas.codec import decode_reply
from inferstream.schemas.messages import Chunk, Failure, Reply, Result
from inferstream.schemas.topics import Topics
from support.handler_rig import handler_over

TOPICS = Topics("steps")


class UnavailableSession(FakeSession):
    """Is unavailable in the run with one number, and stalled from another on."""

    gone_at = -1
    stalled_at = -1

    def run(self, feeds: Any) -> Any:
        if len(self.runs) == self.stalled_at:
            self.stall()
        if len(self.runs) == self.gone_at:
            self.gone_at = -1
            raise DeviceUnavailable("The device is gone: it is tried again.")
        return super().run(feeds)


async def four(topic: str) -> int | None:
    return 4


class ChunksRig:
    """A handler of the task `steps`, and a window over a broker that acknowledges when it is told to."""

    def __init__(self, resuming: Resuming | None = None) -> None:
        self._clock = FakeClock()
        self.session = UnavailableSession()
        served = {"steps": {"steps": self.entry(Steps(), self.session)}}
        self.engine = Engine(served, memory=MemoryCache(1_000_000), disk=None, clock=self._clock)
        retries = RetryConfig(tiers_s=[0], max_attempts=3, budget_share=1.0)
        self.metrics = WorkerMetrics()
        self.handler = handler_over(
            self.engine,
            topics=TOPICS,
            partitions=four,
            retries=retries,
            metrics=self.metrics.of_task("steps"),
            resuming=resuming,
        )
        self.published: list[tuple[Message, asyncio.Future[None]]] = []
        self.window = Window(WindowConfig(), self._publish)
        self._offset = 0

    def entry(self, task: Steps, session: FakeSession) -> ModelEntry:
        """The task on a device of its own."""
        model = StepsModel(session)
        costs = {phase: Cost((1.0, 0.01, 0.0001, 1e-7)) for phase in model.phases}
        return ModelEntry(
            task, Device(model, Limits(4_096, 64), costs, LaneSettings(1, self._clock, self._clock))
        )

    def ask(
        self,
        identity: str,
        text: str = "abc",
        *,
        key: bytes | None = b"k",
        headers: Headers = (),
        **more: Any,
    ) -> Slot:
        """Admit a request, and answer it in the background."""
        body = json.dumps({"id": identity, "text": text, "stream": True} | more).encode()
        record = Record(TOPICS.requests, 0, self._offset, key, body, headers, 0)
        self._offset += 1
        slot = self.window.admit(record)
        outcome = self.handler.handle(record, slot)
        if isinstance(outcome, Outcome):
            self.window.complete(slot, outcome)
        else:
            slot.task = asyncio.create_task(self._complete(slot, outcome))
        return slot

    def acknowledge(self) -> None:
        """All that is published is durable."""
        for _, future in self.published:
            if not future.done():
                future.set_result(None)

    async def step(self) -> None:
        """Acknowledge all that is published, and wait for more."""
        known = len(self.published)
        self.acknowledge()
        while len(self.published) == known:  # noqa: ASYNC110 - a lane's thread changes it
            await asyncio.sleep(0)

    async def until_ended(self, *identities: str) -> None:
        while {reply.id for reply in self.replies if not isinstance(reply, Chunk)} != set(identities):
            await self.step()

    @property
    def replies(self) -> list[Reply]:
        return [
            decode_reply(message.value) for message, _ in self.published if message.topic == TOPICS.replies
        ]

    def told(self, identity: str) -> list[tuple[int, int, str]]:
        """The seq, start and pieces of each chunk of the request."""
        return [
            (reply.seq, reply.from_, "".join(msgspec.json.decode(reply.output)))
            for reply in self.replies
            if isinstance(reply, Chunk) and reply.id == identity
        ]

    def end(self, identity: str) -> Result | Failure:
        (end,) = [reply for reply in self.replies if reply.id == identity and not isinstance(reply, Chunk)]
        assert not isinstance(end, Chunk)
        return end

    def _publish(self, message: Message) -> "asyncio.Future[None]":
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.published.append((message, future))
        return future

    async def _complete(self, slot: Slot, outcome: PendingOutcome) -> None:
        self.window.complete(slot, await outcome)
