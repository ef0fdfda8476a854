"""The client on the embedded broker, with a responder in place of a worker."""

import ast
import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs
from support.responder import TOPICS, Behavior, answer_all_except, result, served

import inferstream
from inferstream import (
    Answer,
    BrokerError,
    Client,
    Failure,
    InferstreamError,
    NotUtf8,
    Overloaded,
    Request,
    ShuttingDown,
    Timeout,
    Topics,
    TriageOutput,
    UnknownModel,
    UsageError,
    WrongType,
)
from inferstream.pipeline import errors
from inferstream.pipeline.broker.base import Broker, Message, Record, TopicSpec
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.client.envelope import new_traceparent
from inferstream.pipeline.client.replies import PendingReplies, error_of
from inferstream.schemas.codec import decode_request, encode
from inferstream.schemas.messages import Chunk, Reply


def failing(code: str) -> Behavior:
    return lambda record, request: [Failure(str(request.id), "triage", code, "Do this.")]


async def published_request(broker: Broker, topics: Topics) -> Request:
    """Wait for the first request on the topic."""
    reader = await broker.consume([topics.requests])
    while not (records := await reader.poll(1, 1_000)):
        pass
    return decode_request(records[0].value)


async def test_a_request_gets_its_typed_answer(broker: EmbeddedBroker) -> None:
    async with served(broker) as (client, _):
        answer = await client.request("triage", "I was charged twice")
    assert answer.output == TriageOutput("billing", 0.9, "high", "I was charged twice", needs_human=False)
    assert (answer.reply.model, answer.reply.seq) == ("m", 0)


async def test_the_arguments_become_headers_and_key(broker: EmbeddedBroker) -> None:
    trace = new_traceparent()
    async with served(broker) as (client, responder):
        await client.request(
            "triage",
            "a",
            id="t1",
            model="big",
            tenant="acme",
            priority="high",
            traceparent=trace,
            options={"x": 1},
        )
        await client.request("triage", "a", timeout_s=None, key=b"stream-7")
    full, plain = responder.records
    headers = dict(full.headers)
    assert decode_request(full.value) == Request(text="a", id="t1", options={"x": 1})
    assert 0 <= int(headers.pop("deadline-ms")) - full.timestamp_ms - 30_000 + 1_000 <= 2_000
    assert headers == {
        "reply-topic": TOPICS.replies.encode(),
        "traceparent": trace.encode(),
        "priority": b"high",
        "model": b"big",
        "tenant": b"acme",
        "order": b"any",
    }
    assert {name for name, _ in plain.headers} == {"reply-topic", "traceparent"}
    assert plain.key == b"stream-7"


async def test_equal_content_has_equal_keys(broker: EmbeddedBroker) -> None:
    async with served(broker) as (client, responder):
        for text, model in [("a", None), ("a", None), ("b", None), ("a", "m")]:
            await client.request("triage", text, model=model)
    first, again, other, modeled = (record.key for record in responder.records)
    assert first == again
    assert len({first, other, modeled}) == 3


@pytest.mark.parametrize(("code", "kind"), [("unknown_model", UnknownModel), ("overloaded", Overloaded)])
async def test_a_failure_raises_the_error_of_its_code(
    broker: EmbeddedBroker, code: str, kind: type[InferstreamError]
) -> None:
    async with served(broker, failing(code)) as (client, _):
        with pytest.raises(kind, match=r"Do this\."):
            await client.request("triage", "a")


def test_an_unknown_code_is_kept() -> None:
    error = error_of(Failure("1", "triage", "new_code", "Wait.", retryable=True))
    assert type(error).__name__ == "InferstreamError"
    assert (error.code, error.retryable, str(error)) == ("new_code", True, "Wait.")


@pytest.mark.parametrize("code", ["overloaded", "new_code"])
def test_an_error_has_the_delay_of_its_failure(code: str) -> None:
    assert error_of(Failure("1", "triage", code, "Wait.", retry_after_ms=250)).retry_after_ms == 250
    assert error_of(Failure("1", "triage", code, "Wait.")).retry_after_ms is None


async def test_replies_to_others_and_invalid_records_are_ignored(broker: EmbeddedBroker) -> None:
    def noisy(record: Record, request: Request) -> Iterable[Reply]:
        broker.publish(Message(TOPICS.replies, b"{not json", record.key))
        yield result(Request(text="x", id="someone-else"), "wrong")
        yield Chunk(str(request.id), 0, "triage", "m", "1", 0, msgspec.Raw(b"[]"))
        yield result(request)
        yield result(request, "again")

    async with served(broker, noisy) as (client, _):
        answers = [await client.request("triage", text) for text in "ab"]
    assert [(answer.output.route, answer.output.category) for answer in answers] == [
        ("a", "billing"),
        ("b", "billing"),
    ]


async def test_a_request_without_a_reply_times_out(broker: EmbeddedBroker) -> None:
    async with served(broker, lambda record, request: ()) as (client, _):
        with pytest.raises(Timeout):
            await client.request("triage", "a", timeout_s=0.05)


@pytest.mark.parametrize(
    ("published", "sentence"),
    [
        (True, "No reply came within 0 s: is a worker running, and keeping up?"),
        (False, "The broker did not take the request within 0 s: is it up, is the topic there?"),
    ],
)
async def test_a_timeout_says_what_to_check(broker: EmbeddedBroker, published: bool, sentence: str) -> None:
    acknowledgment = asyncio.get_running_loop().create_future()
    if published:
        acknowledgment.set_result(None)
    replies = await PendingReplies.open(broker, "triage", TOPICS.replies, lambda *_: None)
    reply = await replies.expect("1", "t1", acknowledgment, 0)
    await replies.close()
    assert isinstance(reply, Failure)
    assert (reply.id, reply.code, reply.message, reply.retryable) == ("t1", "timeout", sentence, True)


async def test_a_missing_topic_names_the_command_that_creates_it(tmp_path: Path) -> None:
    async with Client(embedded=tmp_path) as client:
        with pytest.raises(
            BrokerError, match=r"inferstream\.triage\.requests.*`inferstream worker triage --embedded"
        ):
            await client.request("triage", "a")


async def test_closing_the_client_fails_pending_requests(broker: EmbeddedBroker) -> None:
    async with Client(broker=broker) as client:
        waiting = asyncio.create_task(client.request("triage", "a"))
        await published_request(broker, TOPICS)
    with pytest.raises(ShuttingDown, match="closed before the reply"):
        await waiting
    with pytest.raises(ShuttingDown, match="inside of"):
        await client.request("triage", "a")


async def test_a_broker_that_stops_fails_pending_requests(broker: EmbeddedBroker) -> None:
    async with Client(broker=broker) as client:
        waiting = asyncio.create_task(client.request("triage", "a"))
        await published_request(broker, TOPICS)
        await broker.__aexit__()
        with pytest.raises(BrokerError):
            await waiting


@pytest.mark.parametrize(
    ("text", "how", "error"),
    [
        ("\ud800", {}, NotUtf8),
        ("a", {"options": {"x": object()}}, WrongType),
        ("a", {"priority": "urgent"}, UsageError),
    ],
)
async def test_an_invalid_request_raises_before_it_is_sent(
    broker: EmbeddedBroker, text: str, how: dict[str, Any], error: type[InferstreamError]
) -> None:
    async with Client(broker=broker) as client:
        with pytest.raises(error):
            await client.request("triage", text, **how)


async def test_a_pending_id_cannot_be_used_again(broker: EmbeddedBroker) -> None:
    async with Client(broker=broker) as client:
        first, second = (asyncio.create_task(client.request("triage", "a", id="t1")) for _ in range(2))
        with pytest.raises(UsageError, match="t1 is waiting already"):
            await second
        first.cancel()
        await asyncio.wait([first])


def test_a_client_takes_exactly_one_broker() -> None:
    with pytest.raises(UsageError, match="one of"):
        Client()
    with pytest.raises(UsageError, match="one of"):
        Client("127.0.0.1:9092", embedded="folder")


def in_pairs() -> Behavior:
    """Answers two requests at a time, the later one first."""
    held: list[Request] = []

    def behavior(record: Record, request: Request) -> Iterable[Reply]:
        held.append(request)
        if len(held) == 2:
            yield from (result(held.pop()), result(held.pop()))

    return behavior


async def test_map_is_ordered_or_unordered(broker: EmbeddedBroker) -> None:
    texts = [str(number) for number in range(40)]
    async with served(broker, in_pairs()) as (client, _):
        ordered = [answer.output.route async for answer in client.map("triage", texts)]  # type: ignore[union-attr]
        free = [answer async for answer in client.map("triage", texts, ordered=False, max_in_flight=8)]
    assert ordered == texts
    routes = [answer.output.route for answer in free if isinstance(answer, Answer)]
    assert sorted(routes) == sorted(texts)
    assert routes != texts
    positions = [answer.reply.id for answer in free if isinstance(answer, Answer)]
    assert positions == routes


async def test_map_restores_the_ids_of_the_items_even_duplicates(broker: EmbeddedBroker) -> None:
    items: list[str | Request | Failure] = [
        Request(text="a", id="t1"),
        Request(text="b", id="t1"),
        "c",
        Failure("bad", "triage", "not_json", "No."),
    ]
    async with served(broker) as (client, responder):
        answers = [answer async for answer in client.map("triage", items)]
    assert [(answer.id if isinstance(answer, Failure) else answer.reply.id) for answer in answers] == [
        "t1",
        "t1",
        "2",
        "bad",
    ]
    assert [answer.output.route for answer in answers[:3] if isinstance(answer, Answer)] == ["a", "b", "c"]
    assert len({request.id for request in responder.requests}) == 3


async def test_map_gives_failures_in_their_places(broker: EmbeddedBroker) -> None:
    async with served(broker) as (client, _):
        answers = [answer async for answer in client.map("triage", ["a", "\ud800", "b"])]
    assert [type(answer) for answer in answers] == [Answer, Failure, Answer]
    assert isinstance(answers[1], Failure)
    assert (answers[1].code, answers[1].id) == ("not_utf8", "1")


@pytest.mark.parametrize("output", [b"[]", b'{"category": 7}', b"null", b'"x"'])
async def test_map_gives_a_reply_of_another_shape_as_the_failure_of_its_item(
    broker: EmbeddedBroker, output: bytes
) -> None:
    def behavior(record: Record, request: Request) -> Iterable[Reply]:
        reply = result(request)
        yield structs.replace(reply, output=msgspec.Raw(output)) if request.text == "b" else reply

    async with served(broker, behavior) as (client, _):
        answers = [answer async for answer in client.map("triage", ["a", "b", "c"])]
        with pytest.raises(InferstreamError, match="Install the version of inferstream"):
            await client.request("triage", "b")
    assert [answer.code if isinstance(answer, Failure) else answer.output.route for answer in answers] == [
        "a",
        "internal",
        "c",
    ]
    assert isinstance(answers[1], Failure)
    assert answers[1].id == "1"
    assert "cannot be decoded as an output of `triage`" in answers[1].message


@pytest.mark.parametrize("wrong", [None, float("nan"), 7, b"a", ["a"], {"text": "a"}])
async def test_map_gives_an_item_of_another_type_as_its_failure(broker: EmbeddedBroker, wrong: Any) -> None:
    async with served(broker) as (client, _):
        answers = [answer async for answer in client.map("triage", ["a", wrong, "c"])]
    codes = [answer.code if isinstance(answer, Failure) else answer.output.route for answer in answers]
    assert codes == ["a", "wrong_type", "c"]


async def test_map_yields_a_timeout_as_the_failure_of_its_item(broker: EmbeddedBroker) -> None:
    async with served(broker, answer_all_except("b")) as (client, _):
        await client.request("triage", "a")  # opens the reply topic: the timeout covers the replies only
        answers = [answer async for answer in client.map("triage", list("abc"), timeout_s=2)]
    assert [answer.code if isinstance(answer, Failure) else answer.output.route for answer in answers] == [
        "a",
        "timeout",
        "c",
    ]


async def test_map_reads_at_most_max_in_flight_items_ahead(broker: EmbeddedBroker) -> None:
    read = 0

    def endless() -> Iterable[str]:
        nonlocal read
        while True:
            read += 1
            yield str(read)

    async with (
        served(broker) as (client, _),
        aclosing(client.map("triage", endless(), max_in_flight=7)) as answers,
    ):
        for taken in range(50):
            await anext(answers)
            assert read <= taken + 1 + 7


async def test_map_answers_a_live_source_item_by_item(broker: EmbeddedBroker) -> None:
    typed: asyncio.Queue[str] = asyncio.Queue()

    async def source() -> AsyncIterator[str]:
        while text := await typed.get():
            yield text

    async with served(broker) as (client, _):
        answers = client.map("triage", source())
        for text in "ab":
            typed.put_nowait(text)
            answer = await anext(answers)
            assert isinstance(answer, Answer)
            assert answer.output.route == text
        typed.put_nowait("")
        with pytest.raises(StopAsyncIteration):
            await anext(answers)


@pytest.mark.parametrize("ordered", [True, False])
async def test_map_raises_what_its_source_raises(broker: EmbeddedBroker, ordered: bool) -> None:
    def source() -> Iterable[str]:
        yield "a"
        raise LookupError("the mail server is gone")

    async with served(broker) as (client, _):
        with pytest.raises(LookupError, match="mail server"):
            async for _ in client.map("triage", source(), ordered=ordered):
                pass


async def test_a_thousand_callers_share_a_client(broker: EmbeddedBroker) -> None:
    async with served(broker) as (client, _):
        answers = await asyncio.gather(*(client.request("triage", str(number)) for number in range(1_000)))
    assert [answer.output.route for answer in answers] == [str(number) for number in range(1_000)]


def test_every_public_name_is_there() -> None:
    assert [name for name in inferstream.__all__ if not hasattr(inferstream, name)] == []
    with pytest.raises(AttributeError, match="Nothing"):
        _ = inferstream.Nothing


def test_the_public_names_are_those_that_type_checkers_see() -> None:
    tree = ast.parse(Path(inferstream.__file__).read_text())
    for_checkers = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {
        alias.name: f"inferstream.{node.module}"
        for node in for_checkers.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted(imported) == sorted(inferstream.__all__)
    for name, module in imported.items():
        assert getattr(import_module(module), name) is getattr(inferstream, name)


def test_each_code_of_an_error_has_a_public_class() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and "code" in vars(kind)]
    assert not {kind.__name__ for kind in kinds} - set(inferstream.__all__)


HIDE_THE_EXTRAS = """import sys
for name in ("numpy", "onnx", "onnxruntime", "tokenizers", "diskcache", "filelock", "httpx", "lxml", "quotequail",
    "huggingface_hub", "platformdirs", "prometheus_client", "safetensors", "faust", "sklearn", "torch"):
    sys.modules[name] = None
import inferstream
"""


def test_help_teaches_without_an_extra() -> None:
    code = HIDE_THE_EXTRAS + "import pydoc; print(pydoc.render_doc(inferstream, renderer=pydoc.plaintext))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    for words in (
        "inferstream.SyncClient(",
        "class Client(",
        "class Edge(",
        "class Overloaded(",
        "docs/client.md",
    ):
        assert words in done.stdout


@pytest.mark.parametrize("missing", ["onnxruntime", "numpy", "prometheus_client", "diskcache"])
def test_edge_without_its_extra_names_it(missing: str) -> None:
    code = f"""import sys
sys.modules[{missing!r}] = None
import inferstream
try:
    inferstream.Edge()
except inferstream.UsageError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "Edge needs more packages: run pip install '.[cpu]' in a checkout of inferstream.\n"


def test_the_client_needs_no_extra() -> None:
    heavy = "{'numpy', 'onnx', 'onnxruntime', 'tokenizers', 'faust', 'torch', 'sklearn', 'prometheus_client'}"
    code = f"""import sys
import inferstream
assert not [name for name in sys.modules if name.startswith("inferstream.")], "not lazy"
inferstream.Client("127.0.0.1:9092"), inferstream.TriageOutput, inferstream.Timeout
import inferstream.pipeline.cli.commands.request
assert not {heavy} & sys.modules.keys(), {heavy} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_the_client_needs_no_fcntl() -> None:
    code = """import sys
sys.modules["fcntl"] = None
import inferstream
inferstream.Client("127.0.0.1:9092"), inferstream.TriageOutput
from inferstream.pipeline.cli.main import run
import inferstream.pipeline.cli.output.answered_file
assert run(["request", "--help"]) == 0
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.kafka
async def test_the_client_over_kafka(kafka: str, unique: str) -> None:
    topics = Topics("triage", unique)
    async with Client(kafka, prefix=unique) as client:
        with pytest.raises(BrokerError, match="inferstream worker triage --kafka"):
            await client.request("triage", "a")
    from inferstream.pipeline.broker.kafka.broker import KafkaBroker
    from inferstream.pipeline.config import KafkaConfig

    async with KafkaBroker(KafkaConfig(kafka)) as broker, Client(kafka, prefix=unique) as client:
        await broker.ensure_topics([TopicSpec(topics.requests, 2), TopicSpec(topics.replies, 2)])
        waiting = asyncio.create_task(client.request("triage", "a"))
        request = await published_request(broker, topics)
        await broker.publish(Message(topics.replies, encode(result(request))))
        assert (await waiting).output.route == "a"
