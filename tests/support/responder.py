"""A responder in place of a worker: it answers requests on an embedded broker with given replies."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec

from inferstream import Client
from inferstream.pipeline.broker.base import Message, Record, TopicSpec
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.tasks.catalogue import contract_of
from inferstream.schemas.codec import decode_request, encode
from inferstream.schemas.messages import Reply, Request, Result, TriageOutput
from inferstream.schemas.topics import Topics

TOPICS = Topics("triage")
TIMEOUT_S = 20.0
Behavior = Callable[[Record, Request], Iterable[Reply]]


def result(request: Request, category: str = "billing") -> Result:
    """A result whose route is the text of the request."""
    output = TriageOutput(category, 0.9, "high", str(request.text), needs_human=False)
    return Result(str(request.id), "triage", "m", "1", msgspec.Raw(msgspec.json.encode(output)))


def answer_all(record: Record, request: Request) -> Iterable[Reply]:
    yield result(request)


def answer_all_except(text: str) -> Behavior:
    """No reply to requests with this text."""
    return lambda record, request: [] if request.text == text else [result(request)]


class Responder:
    """Publishes the replies that ``behavior`` returns for each request, and keeps the records of the requests."""

    def __init__(
        self, broker: EmbeddedBroker, behavior: Behavior = answer_all, topics: Topics = TOPICS
    ) -> None:
        self.behavior = behavior
        self.records: list[Record] = []
        self._broker = broker
        self._topics = topics
        self._started = threading.Event()
        self._stopped = threading.Event()
        self._received = threading.Condition()

    async def run(self) -> None:
        """Create the topics and answer requests until `stop` or cancellation."""
        topics = self._topics
        await self._broker.ensure_topics([TopicSpec(topics.requests, 4), TopicSpec(topics.replies, 4)])
        consumer = await self._broker.consume([topics.requests], group="responder")
        self._started.set()
        while not self._stopped.is_set():
            for record in await consumer.poll(1_000, 50):
                with self._received:
                    self.records.append(record)
                    self._received.notify_all()
                for reply in self.behavior(record, self._decoded(record)):
                    await self._broker.publish(Message(topics.replies, encode(reply), record.key))

    def stop(self) -> None:
        self._stopped.set()

    def wait_started(self) -> None:
        assert self._started.wait(TIMEOUT_S)

    def wait_for(self, requests: int) -> None:
        """Wait until that many requests have arrived."""
        with self._received:
            assert self._received.wait_for(lambda: len(self.records) >= requests, TIMEOUT_S)

    @property
    def requests(self) -> list[Request]:
        return [self._decoded(record) for record in self.records]

    def _decoded(self, record: Record) -> Request:
        contract = contract_of(self._topics.task)
        return decode_request(record.value, contract.request if contract else Request)

    @property
    def texts(self) -> list[str]:
        return [str(request.text) for request in self.requests]


@asynccontextmanager
async def served(
    broker: EmbeddedBroker, behavior: Behavior = answer_all
) -> AsyncGenerator[tuple[Client, Responder]]:
    """A client and the responder that answers it."""
    responder = Responder(broker, behavior)
    async with asyncio.TaskGroup() as tasks, Client(broker=broker) as client:
        running = tasks.create_task(responder.run())
        yield client, responder
        running.cancel()


@contextmanager
def responder_thread(
    folder: Path, behavior: Behavior = answer_all, topics: Topics = TOPICS
) -> Iterator[Responder]:
    """A responder that serves ``folder`` in a thread of its own, for code that starts its own event loop."""
    broker = EmbeddedBroker(folder)
    responder = Responder(broker, behavior, topics)

    async def serve() -> None:
        async with broker:
            await responder.run()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    responder.wait_started()
    try:
        yield responder
    finally:
        responder.stop()
        thread.join(TIMEOUT_S)
