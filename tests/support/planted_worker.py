"""A program: a worker with a planted bug, which ends by `kill -9` at the worst moment.

At its end some requests of its partition are unanswered (``held``), the replies to some are not acknowledged by
the broker (``unacked``), all others are answered, and offsets were committed since. Its successor has no bug.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

import msgspec

from inferstream.pipeline.broker.base import Broker, Message, Record, TopicPartition
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.broker.kafka.broker import KafkaBroker
from inferstream.pipeline.config import KafkaConfig, WindowConfig
from inferstream.pipeline.delivery.linger import idle
from inferstream.pipeline.delivery.outcome import Outcome
from inferstream.pipeline.delivery.sender import Publish, Sender
from inferstream.pipeline.delivery.slots import Slot
from inferstream.pipeline.delivery.window import Window
from inferstream.pipeline.delivery.worker import Subscription, Worker
from inferstream.schemas.codec import decode_request, encode
from inferstream.schemas.messages import Result
from inferstream.schemas.topics import Topics

REQUESTS: Final = ("plain-0", "unacked-1", "plain-2", "held-3", "plain-4", "plain-5")
ANSWERED: Final = sum(request.startswith("plain") for request in REQUESTS)
CONFIG: Final = WindowConfig(commit_interval_ms=20, drain_timeout_ms=5_000)
CHECK_S: Final = 0.01


class FinishesEarly(Sender):
    """Finishes a slot before the broker acknowledges its reply."""

    def _publish_all(self, slot: Slot, outcome: Outcome) -> None:
        super()._publish_all(slot, outcome)
        if not slot.done:
            self._finished(slot)


class SkipsTheFirst(Sender):
    """Never publishes the first reply, and finishes its slot."""

    def _publish_all(self, slot: Slot, outcome: Outcome) -> None:
        if slot.offset == 0:
            self._finished(slot)
        else:
            super()._publish_all(slot, outcome)


class CommitsBeforeTheAcknowledgement(Window):
    def __init__(self, config: WindowConfig, publish: Publish) -> None:
        super().__init__(config, publish)
        self._sender = FinishesEarly(publish, idle, self._finish)


class DropsAReply(Window):
    def __init__(self, config: WindowConfig, publish: Publish) -> None:
        super().__init__(config, publish)
        self._sender = SkipsTheFirst(publish, idle, self._finish)


class CommitsPastAHole(Window):
    """Commits the newest finished slot, although earlier ones are unfinished."""

    def positions(self) -> dict[TopicPartition, int]:
        done = {at: [slot for slot in queue.slots if slot.done] for at, queue in self._queues.items()}
        return {at: slots[-1].offset + 1 for at, slots in done.items() if slots}


WINDOWS: Final[dict[str, type[Window]]] = {
    "no bug": Window,
    "commit before the acknowledgement": CommitsBeforeTheAcknowledgement,
    "commit past a hole": CommitsPastAHole,
    "a reply dropped": DropsAReply,
}


class FakeHandler:
    """Answers each request. With ``holds`` it leaves those unanswered whose id begins with "held"."""

    def __init__(self, topics: Topics, *, holds: bool) -> None:
        self._topics = topics
        self._holds = holds
        self.handled = 0

    def handle(self, record: Record, slot: Slot) -> Outcome | Coroutine[Any, Any, Outcome]:
        self.handled += 1
        identity = str(decode_request(record.value).id)
        if self._holds and identity.startswith("held"):
            return self._never()
        result = Result(identity, self._topics.task, "m", "1", msgspec.Raw(b"{}"))
        return Outcome((Message(self._topics.replies, encode(result), record.key),))

    async def _never(self) -> Outcome:
        await asyncio.Event().wait()
        raise AssertionError


class KilledWorker(Worker):
    """Ends by `kill -9` two commits after it has answered all requests that it answers."""

    def __init__(
        self, broker: Broker, handler: FakeHandler, subscription: Subscription, window: type[Window]
    ) -> None:
        def publish(message: Message) -> "asyncio.Future[None]":
            if b'"unacked' in message.value:
                return asyncio.get_running_loop().create_future()
            return broker.publish(message)

        super().__init__(broker, handler, window(CONFIG, publish), subscription, [self._die])
        self._fake_handler = handler
        self._commits = 0

    async def _commit(self) -> None:
        await super()._commit()
        self._commits += 1

    async def _die(self) -> None:
        while self._fake_handler.handled < len(REQUESTS) or self.window.terminal_events < ANSWERED:  # noqa: ASYNC110
            await asyncio.sleep(CHECK_S)
        enough = self._commits + 2
        while self._commits < enough:  # noqa: ASYNC110
            await asyncio.sleep(CHECK_S)
        os.kill(os.getpid(), signal.SIGKILL)


async def succeed(broker: Broker, handler: FakeHandler, subscription: Subscription) -> None:
    """Serve the records that are left, to the end of the partition."""

    async def watch() -> None:
        (topic,) = subscription.topics
        at = TopicPartition(topic, 0)
        while worker.consumer is None or (  # noqa: ASYNC110
            (await worker.consumer.committed([at]))[at] != len(REQUESTS)
        ):
            await asyncio.sleep(CHECK_S)
        worker.drain()

    worker = Worker(broker, handler, Window(CONFIG, broker.publish), subscription, [watch])
    await worker.run()


async def main(place: str, prefix: str, bug: str) -> None:
    broker = EmbeddedBroker(Path(place)) if "/" in place else KafkaBroker(KafkaConfig(bootstrap=place))
    topics = Topics("triage", prefix)
    # A static member gets its partition back without a rebalance.
    subscription = Subscription([topics.requests], f"{prefix}.triage", "one")
    async with broker:
        if bug == "successor":
            await succeed(broker, FakeHandler(topics, holds=False), subscription)
        else:
            handler = FakeHandler(topics, holds=True)
            await KilledWorker(broker, handler, subscription, WINDOWS[bug]).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
