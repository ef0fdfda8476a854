"""A task whose requests have no text: from the client through broker, worker, engine and cache, and back."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.echo import EchoOptions
from support.kafka_serving import running

from inferstream import Client, UsageError, WrongType
from inferstream.pipeline.broker.base import Message
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.client.envelope import content_hash
from inferstream.pipeline.client.request_file import RequestFile
from inferstream.pipeline.config import Config, KafkaConfig
from inferstream.pipeline.engine.batching import Limits
from inferstream.pipeline.engine.cache.memory import MemoryCache
from inferstream.pipeline.engine.cost import Cost
from inferstream.pipeline.engine.device import Device
from inferstream.pipeline.engine.engine import Engine
from inferstream.pipeline.engine.lanes import LaneSettings
from inferstream.pipeline.engine.model_entry import ModelEntry
from inferstream.pipeline.rows.dialect import dialect_of
from inferstream.pipeline.runtime.encoder import Encoder
from inferstream.pipeline.runtime.fake_session import FakeSession
from inferstream.pipeline.runtime.model import RUN, Row
from inferstream.pipeline.serving.serving import Serving
from inferstream.pipeline.serving.task_workers import task_workers
from inferstream.pipeline.tasks import catalogue
from inferstream.pipeline.tasks.base import Ask, Finished
from inferstream.pipeline.tasks.text import TextTask
from inferstream.pipeline.telemetry import WorkerMetrics
from inferstream.schemas.codec import decode_reply
from inferstream.schemas.contract import Contract
from inferstream.schemas.messages import Failure, Request
from inferstream.schemas.topics import Topics

TOPICS = Topics("total")
CONFIG = Config(kafka=KafkaConfig(partitions=1))


class Numbers(Request, kw_only=True):
    """A request of the task `total`."""

    numbers: list[int]


class Total(msgspec.Struct):
    total: int


class TotalTask(TextTask):
    """Adds the numbers up, each of which is a token of a fake device."""

    name, model, version, digest = "total", "adder", "adder-1", b"adder"
    option_type = EchoOptions

    def read(self, request: Request) -> Any:  # type: ignore[override]
        assert isinstance(request, Numbers)
        return request.numbers

    def prepare(self, asks: Sequence[Ask], max_tokens: int | None = None) -> list[list[Row]]:
        return [[Row(ask.content)] for ask in asks]

    def finish(self, finished: Sequence[Finished]) -> list[bytes]:
        totals = [int(one.outputs[0][: one.rows[0].length].sum()) for one in finished]
        return [msgspec.json.encode(Total(total)) for total in totals]


class Definition:
    name = "total"
    contract = Contract(EchoOptions, Total, request=Numbers)


@pytest.fixture
async def client(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    known = catalogue.TaskCatalogue([Definition()], [])  # type: ignore[list-item]
    monkeypatch.setattr(catalogue, "tasks", lambda: known)
    device = Device(
        Encoder(FakeSession()),
        Limits(4_096, 64),
        {RUN: Cost((10.0, 0.01, 0.0001, 1e-7))},
        LaneSettings(1, time.monotonic, time.monotonic),
    )
    engine = Engine(
        {"total": {"adder": ModelEntry(TotalTask(), device)}},  # type: ignore[arg-type]
        memory=MemoryCache(100_000),
        disk=None,
        clock=time.monotonic,
    )
    metrics = WorkerMetrics()
    async with asyncio.timeout(30), EmbeddedBroker() as broker:
        workers = task_workers(CONFIG, broker, TOPICS, engine, metrics.of_task("total"), kind=Numbers)
        async with running(Serving(broker, engine, [workers], metrics)), Client(broker=broker) as opened:
            yield opened


async def test_it_is_answered_and_cached_by_its_content(client: Client) -> None:
    answers = [
        await client.request("total", Numbers(numbers=numbers)) for numbers in ([1, 2], [1, 2], [2, 1], [5])
    ]
    assert [answer.output for answer in answers] == [Total(3), Total(3), Total(3), Total(5)]
    assert [answer.reply.cache for answer in answers] == ["miss", "memory", "miss", "miss"]
    mapped = [one async for one in client.map("total", [Numbers(numbers=[n], id=f"n{n}") for n in range(5)])]
    assert [(one.reply.id, one.output.total) for one in mapped] == [(f"n{n}", n) for n in range(5)]  # type: ignore[union-attr]


async def test_a_text_is_refused_before_it_is_sent(client: Client) -> None:
    sentence = r'A request to \'total\' is of the type Numbers, with {"numbers": …}, not'
    with pytest.raises(WrongType, match=sentence):
        await client.request("total", "three")
    with pytest.raises(WrongType, match=sentence):
        await client.request("total", Request(text="three"))
    (failed,) = [one async for one in client.map("total", ["three"])]
    assert isinstance(failed, Failure)
    assert failed.code == "wrong_type"


async def test_another_body_on_its_topic_is_a_failure(client: Client) -> None:
    broker = client._broker
    reader = await broker.consume([TOPICS.replies], start="latest")
    await broker.publish(Message(TOPICS.requests, b'{"id":"a","text":"three"}'))
    await broker.publish(Message(TOPICS.requests, b'{"id":"b","numbers":["three"]}'))
    found: dict[str, Any] = {}
    while len(found) < 2:
        found |= {
            reply.id: reply for record in await reader.poll(10, 200) if (reply := decode_reply(record.value))
        }
    await reader.close()
    assert found["a"].message == 'The body lacks the field `numbers`: send {"numbers": …}.'
    assert found["b"].message == "The field `numbers[0]` is wrong: expected `int`, got `str`."
    assert {one.code for one in found.values()} == {"wrong_type"}


def test_its_key_is_a_hash_of_its_content() -> None:
    one, same, other = (
        content_hash(Numbers(numbers=numbers, id=identity), None)
        for numbers, identity in (([1], "x"), ([1], "y"), ([2], "x"))
    )
    assert one == same != other


def test_a_file_of_such_requests_is_json_lines(client: Client) -> None:
    lines = b'{"numbers":[1],"id":"a"}\n{"text":"three"}\n'
    good, bad = RequestFile(BytesIO(lines), "f.jsonl", dialect_of(Path("f.jsonl")), "total")
    assert good == Numbers(numbers=[1], id="a")
    assert isinstance(bad, Failure)
    with pytest.raises(UsageError, match=r'give a file of JSON Lines, with {"numbers": …} in each line'):
        RequestFile(BytesIO(b"text\nthree\n"), "f.csv", dialect_of(Path("f.csv")), "total")
