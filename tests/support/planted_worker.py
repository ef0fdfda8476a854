"""A worker with a bug planted on purpose, as a process that dies by `kill -9` in the worst moment; run as a program.

Of the requests in its one partition it leaves some unanswered (``held``), and the replies to some on their way to the
broker (``unacked``), when all others are answered and offsets were committed since. Its successor has no bug.
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
from inferstream.pipeline.delivery.outcome import Outcome
from inferstream.pipeline.delivery.window import Place, Window
from inferstream.pipeline.delivery.worker import Worker
from inferstream.schemas.codec import decode_request, encode
from inferstream.schemas.messages import Result
from inferstream.schemas.topics import Topics

REQUESTS: Final = ("plain-0", "unacked-1", "plain-2", "held-3", "plain-4", "plain-5")
ANSWERED: Final = sum(request.startswith("plain") for request in REQUESTS)
CONFIG: Final = WindowConfig(commit_interval_ms=20, drain_timeout_ms=5_000)
LOOK_S: Final = 0.01


class CommitsBeforeTheAcknowledgement(Window):
    """A place is done as soon as its reply is on the way."""

    def _publish_all(self, place: Place, outcome: Outcome) -> None:
        super()._publish_all(place, outcome)
        if not place.done:
            self._finish(place)


class CommitsPastAHole(Window):
    """The newest finished place is committed, whatever is unfinished before it."""

    def positions(self) -> dict[TopicPartition, int]:
        done = {at: [place for place in line.places if place.done] for at, line in self._lines.items()}
        return {at: places[-1].offset + 1 for at, places in done.items() if places}


class DropsAReply(Window):
    """The first reply of all is taken for published."""

    def _publish_all(self, place: Place, outcome: Outcome) -> None:
        if place.offset == 0:
            self._finish(place)
        else:
            super()._publish_all(place, outcome)


WINDOWS: Final[dict[str, type[Window]]] = {
    "no bug": Window,
    "commit before the acknowledgement": CommitsBeforeTheAcknowledgement,
    "commit past a hole": CommitsPastAHole,
    "a reply dropped": DropsAReply,
}


class Clerk:
    """Answers each request; one that must not live longer holds some."""

    def __init__(self, topics: Topics, *, holds: bool) -> None:
        self._topics, self._holds, self.asked = topics, holds, 0

    def handle(self, record: Record) -> Outcome | Coroutine[Any, Any, Outcome]:
        self.asked += 1
        identity = str(decode_request(record.value).id)
        if self._holds and identity.startswith("held"):
            return self._never()
        result = Result(identity, self._topics.task, "m", "1", msgspec.Raw(b"{}"))
        return Outcome((Message(self._topics.replies, encode(result), record.key),))

    async def _never(self) -> Outcome:
        await asyncio.Event().wait()
        raise AssertionError


class Doomed(Worker):
    """Ends by `kill -9` when all is answered that will be, and offsets were committed twice since."""

    def __init__(self, broker: Broker, clerk: Clerk, topics: Topics, bug: str, **how: Any) -> None:
        super().__init__(broker, clerk, topics=[topics.requests], background=[self._die], **how)
        self._clerk, self._commits = clerk, 0
        self.window = WINDOWS[bug](CONFIG, self._publish)

    def _publish(self, message: Message) -> "asyncio.Future[None]":
        if b'"unacked' in message.value:
            return asyncio.get_running_loop().create_future()
        return self._broker.publish(message)

    async def _commit(self) -> None:
        await super()._commit()
        self._commits += 1

    async def _die(self) -> None:
        while self._clerk.asked < len(REQUESTS) or self.window.terminal_events < ANSWERED:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S)
        enough = self._commits + 2
        while self._commits < enough:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S)
        os.kill(os.getpid(), signal.SIGKILL)


async def succeed(broker: Broker, clerk: Clerk, topics: Topics, **how: Any) -> None:
    """Serve what is left to the end of the partition."""

    async def watch() -> None:
        at = TopicPartition(topics.requests, 0)
        while worker.consumer is None or (  # noqa: ASYNC110
            (await worker.consumer.committed([at]))[at] != len(REQUESTS)
        ):
            await asyncio.sleep(LOOK_S)
        worker.drain()

    worker = Worker(broker, clerk, topics=[topics.requests], background=[watch], **how)
    await worker.run()


async def main(place: str, prefix: str, bug: str) -> None:
    broker = EmbeddedBroker(Path(place)) if "/" in place else KafkaBroker(KafkaConfig(bootstrap=place))
    topics = Topics("triage", prefix)
    # A static member has its partition back at once.
    how: dict[str, Any] = {"group": f"{prefix}.triage", "member": "one", "config": CONFIG}
    async with broker:
        if bug == "successor":
            await succeed(broker, Clerk(topics, holds=False), topics, **how)
        else:
            await Doomed(broker, Clerk(topics, holds=True), topics, bug, **how).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
