"""The whole pipeline in one process, with the real model."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inferstream import (
    Answer,
    BatchInfo,
    Client,
    Config,
    Edge,
    EmbedOutput,
    Failure,
    ShuttingDown,
    TooLarge,
    Topics,
    TriageOutput,
    UnknownModel,
    UnknownOption,
    UsageError,
)
from inferstream.pipeline.broker.base import Message, TopicSpec
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.config import CacheConfig
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.optimize.pull.pulling import pull
from inferstream.pipeline.runtime.sessions import Session
from inferstream.pipeline.runtime.tokenizer import Tokenizer
from inferstream.pipeline.tasks.pooling import embed
from inferstream.schemas.codec import decode_reply

CONFIG = Config(cache=CacheConfig(disk_bytes=0))
TOPICS = Topics("triage")


@pytest.fixture(autouse=True, scope="module")
def minilm() -> None:
    """The model in the user's cache folder, as a user has it; fetched on the first run."""
    pull(ModelRegistry(), "minilm", lambda step, done, total: None)


async def test_a_ticket_is_routed() -> None:
    async with Edge(CONFIG) as client:
        first = await client.request("triage", "I was charged twice for my order")
        again = await client.request("triage", "I was charged twice for my order", options={"runners_up": 2})
        with pytest.raises(UnknownOption, match="runners_up"):
            await client.request("triage", "a", options={"treshold": 1})
        with pytest.raises(UnknownModel, match="minilm-int8"):
            await client.request("triage", "a", model="gpt")
    assert isinstance(first.output, TriageOutput)
    assert first.output.category == "payment_problem"
    assert (first.reply.cache, again.reply.cache) == ("miss", "memory")
    assert isinstance(first.reply.batch, BatchInfo)
    assert again.output == first.output


@pytest.mark.parametrize("served", ["minilm", "minilm-int8"])
async def test_a_name_without_a_precision_means_int8_in_a_request_too(served: str) -> None:
    async with Edge(CONFIG, models=[served]) as client:
        answers = [
            await client.request("triage", "Where is my parcel?", model=name)
            for name in ("minilm", "minilm-int8", None)
        ]
        with pytest.raises(UnknownModel, match="minilm-fp32"):
            await client.request("triage", "Where is my parcel?", model="minilm-fp32")
    assert len({answer.reply.version for answer in answers}) == 1
    assert answers[0].output == answers[1].output == answers[2].output


async def test_a_file_of_tickets_keeps_its_order() -> None:
    texts = [f"Where is my parcel number {number}?" for number in range(100)]
    async with Edge(CONFIG) as client:
        answers = [answer async for answer in client.map("triage", texts)]
    assert [answer.reply.id for answer in answers] == [str(number) for number in range(100)]  # type: ignore[union-attr]


async def test_a_directory_keeps_unanswered_requests(tmp_path: Path) -> None:
    specs = [TopicSpec(name, 4) for name in (TOPICS.requests, TOPICS.replies)]
    async with EmbeddedBroker(tmp_path) as broker:
        await broker.ensure_topics(specs)
        await broker.publish(Message(TOPICS.requests, b'{"id":"left","text":"Where is my parcel?"}'))
    edge = Edge(CONFIG, tmp_path)
    async with edge:
        reader = await edge.broker.consume([TOPICS.replies])
        while not (records := await reader.poll(10, 1_000)):
            pass
    assert [decode_reply(record.value).id for record in records] == ["left"]


async def test_a_client_of_another_process_is_served(tmp_path: Path) -> None:
    async with Edge(CONFIG, tmp_path), Client(embedded=tmp_path) as neighbor:
        answer = await neighbor.request("triage", "Where is my parcel?")
    assert answer.output.category == "delivery_status"


async def test_a_worker_that_fails_ends_the_client_and_raises() -> None:
    edge = Edge(CONFIG)
    with pytest.raises(BaseExceptionGroup) as caught:  # noqa: PT012 - leaving it is what raises
        async with edge as client:
            await client.request("triage", "a")
            edge.serving.engine.fail(RuntimeError("the device is gone"))
            with pytest.raises(ShuttingDown):
                await asyncio.gather(
                    *(client.request("triage", str(n), timeout_s=None) for n in range(1_000))
                )
    assert caught.group_contains(RuntimeError, match="the device is gone")


async def test_an_unknown_task_or_model_raises_at_once() -> None:
    with pytest.raises(UsageError, match="no-such-task"):
        async with Edge(CONFIG, task="no-such-task"):
            pass
    with pytest.raises(UnknownModel, match="nothing-like-it"):
        async with Edge(CONFIG, models=["nothing-like-it"]):
            pass


@pytest.mark.parametrize("task", ["triage", "embed"])
async def test_a_text_of_a_megabyte_is_refused_at_once_under_its_own_id(task: str) -> None:
    async with asyncio.timeout(30), Edge(CONFIG, task=task) as client:
        with pytest.raises(TooLarge, match="more than the 1000000 allowed"):
            await client.request(task, "a" * 1_000_000, timeout_s=None)


async def test_several_tasks_share_one_device_and_do_not_change_each_other() -> None:
    texts = [f"Where is my parcel number {number}?" for number in range(40)] + ["I was charged twice. " * 90]
    model = ModelRegistry().load("minilm-int8")
    tokenizer = Tokenizer(model.tokenizer_path, model.max_tokens, model.pad_id)
    own = embed(texts, tokenizer, Session(model.graph_path), batch_tokens=1)
    async with Edge(CONFIG) as client:
        alone = [answer async for answer in client.map("triage", texts)]
    edge = Edge(CONFIG, tasks={"triage": ["minilm"], "embed": ["minilm-int8", "minilm-fp32"]})
    async with edge as client:
        questions = edge.serving.engine._questions
        (shared,) = {entry.device for entry in questions.entries("triage")}
        by_model = {entry.task.model: entry.device for entry in questions.entries("embed")}
        assert by_model["minilm-int8"] is shared

        async def mapped(task: str) -> list[Answer[Any] | Failure]:
            return [answer async for answer in client.map(task, texts)]

        routed, embedded = await asyncio.gather(mapped("triage"), mapped("embed"))
        other = await client.request("embed", texts[0], model="minilm-fp32")
        assert edge.serving.ready
    assert [bytes(one.reply.output) for one in routed] == [bytes(one.reply.output) for one in alone]
    for answer, vector in zip(embedded, own, strict=True):
        assert isinstance(answer.output, EmbedOutput)
        np.testing.assert_allclose(answer.output.vector, vector, atol=1e-6)
    assert np.dot(other.output.vector, own[0]) > 0.99
    text = edge.serving.metrics.render().decode()
    assert f'inferstream_answers_total{{cache="miss",task="embed"}} {len(texts) + 1}.0' in text
    assert f'inferstream_answers_total{{cache="miss",task="triage"}} {len(texts)}.0' in text


async def test_an_edge_needs_to_know_what_it_serves() -> None:
    with pytest.raises(UsageError, match="either `tasks`, at least one, or `task` and `models`"):
        Edge(CONFIG, tasks={})
    with pytest.raises(UsageError, match="either `tasks`"):
        Edge(CONFIG, task="triage", tasks={"embed": []})


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"config": "triage"}, "`config` must be settings, .* not 'triage': name a task by task="),
        ({"directory": 3}, "`directory` must be a folder, not 3"),
        ({"tasks": ["triage"]}, "`tasks` must be a dict from tasks to the names of their models"),
        ({"tasks": {"triage": "minilm"}}, "must be a list of names, not 'minilm'"),
        ({"models": "minilm"}, "must be a list of names, not 'minilm'"),
    ],
)
def test_an_argument_of_the_wrong_type_is_named(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Edge(**arguments)


async def test_the_folder_may_be_a_string(tmp_path: Path) -> None:
    async with Edge(CONFIG, str(tmp_path)) as client:
        assert (await client.request("triage", "I was charged twice")).output.category
