"""A wrong argument ends at once in one sentence that names the argument and what it may be."""

import asyncio
import os
import pickle
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import pytest
from msgspec import Struct
from support.responder import answer_all_except, served
from support.wrong_arguments import WRONG_ITEMS, WRONG_OF_ANY_METHOD, WRONG_OF_MAP, WRONG_OF_REQUEST

from inferstream import (
    Answer,
    Client,
    Failure,
    InferstreamError,
    KafkaConfig,
    Request,
    SyncClient,
    TriageOptions,
    UsageError,
)
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.client.content import options_of
from inferstream.schemas.codec import decode_request


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Client:
    return Client(embedded=tmp_path_factory.mktemp("unused"))


@pytest.mark.parametrize(("how", "error", "sentence"), [*WRONG_OF_ANY_METHOD, *WRONG_OF_REQUEST])
async def test_a_wrong_argument_of_request(
    client: Client, how: dict[str, Any], error: type[InferstreamError], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        await client.request(**({"task": "triage", "text": "a"} | how))


@pytest.mark.parametrize(("how", "error", "sentence"), [*WRONG_OF_ANY_METHOD, *WRONG_OF_MAP])
def test_a_wrong_argument_of_map_raises_at_the_call(
    client: Client, how: dict[str, Any], error: type[InferstreamError], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        client.map(**({"task": "triage", "texts": ["a"]} | how))


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({}, "one of: a Kafka address"),
        ({"kafka": None}, "one of: a Kafka address"),
        ({"kafka": 9092}, "`kafka` must be an address such as broker-1:9092, or a KafkaConfig, not 9092."),
        ({"kafka": ""}, "`kafka` must be an address"),
        ({"kafka": "a:b:c"}, "IPv6"),
        ({"embedded": 5}, "`embedded` must be the folder"),
        ({"kafka": "a", "embedded": "b"}, "one of: a Kafka address"),
        ({"kafka": "a", "prefix": 5}, "`prefix` must be the prefix of names of topics"),
        ({"kafka": "a", "reply_topic": 5}, "`reply_topic` must be the name of a topic"),
        ({"kafka": "a", "reply_topic": "{tsak}"}, "`reply_topic` must be the name of a topic"),
        ({"kafka": "a", "reply_topic": "{"}, "`reply_topic` must be the name of a topic"),
        ({"kafka": "a", "clock": 5}, "`clock` must be a function"),
    ],
)
def test_a_wrong_argument_of_the_constructor(how: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Client(**how)


def test_right_arguments_of_the_constructor() -> None:
    for how in ({"kafka": "a:9092, b"}, {"kafka": KafkaConfig()}, {"kafka": "a", "reply_topic": "my-{task}"}):
        Client(**how)


@pytest.mark.parametrize("wrong", WRONG_ITEMS, ids=repr)
@pytest.mark.parametrize("ordered", [True, False])
async def test_a_wrong_item_of_map_is_its_own_failure(
    broker: EmbeddedBroker, wrong: Any, ordered: bool
) -> None:
    async with served(broker) as (client, _):
        answers = [answer async for answer in client.map("triage", ["a", wrong, "c"], ordered=ordered)]
    answered = sorted(answer.output.route for answer in answers if isinstance(answer, Answer))
    (failure,) = (answer for answer in answers if isinstance(answer, Failure))
    assert answered == ["a", "c"]
    assert failure.code in ("wrong_type", "missing_text", "not_utf8")


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("asynchronous", [True, False])
async def test_what_the_items_raise_comes_after_the_answers_to_those_before(
    broker: EmbeddedBroker, ordered: bool, asynchronous: bool
) -> None:
    def items() -> Iterator[str]:
        yield from "abc"
        raise LookupError("the mail server is gone")

    async def async_items() -> AsyncIterator[str]:
        for item in items():
            yield item

    source: Any = async_items() if asynchronous else items()
    answers = []
    async with served(broker) as (client, _):
        with pytest.raises(LookupError, match="mail server"):  # noqa: PT012
            async for answer in client.map("triage", source, ordered=ordered):
                answers.append(answer)  # noqa: PERF401
    assert len(answers) == 3


async def test_items_that_cancel_end_the_map(broker: EmbeddedBroker) -> None:
    def items() -> Iterable[str]:
        yield "a"
        raise asyncio.CancelledError

    async with served(broker) as (client, _):
        with pytest.raises(asyncio.CancelledError):
            async for _ in client.map("triage", items()):
                pass


async def test_a_huge_number_in_flight_costs_nothing(broker: EmbeddedBroker) -> None:
    async with served(broker) as (client, _):
        answers = [answer async for answer in client.map("triage", ["a"], max_in_flight=10**12)]
    assert len(answers) == 1


async def test_a_map_that_is_left_early_leaves_a_usable_client(broker: EmbeddedBroker) -> None:
    async with served(broker, answer_all_except("b")) as (client, _):
        async for _ in client.map("triage", ["a", "b", "b"]):
            break
        assert (await client.request("triage", "c")).output.route == "c"


async def test_a_request_carries_its_own_id_and_options(broker: EmbeddedBroker) -> None:
    async with served(broker) as (client, responder):
        request = Request("a", id="t1", options={"runners_up": 5})
        answer = await client.request("triage", request, options=TriageOptions(threshold=0.7, runners_up=3))
    assert answer.reply.id == "t1"
    assert responder.requests == [Request("a", id="t1", options={"threshold": 0.7, "runners_up": 5})]
    assert decode_request(responder.records[0].value).text == "a"


def test_typed_options_are_sent_where_they_differ_from_their_defaults() -> None:
    class Mixed(Struct, rename="camel"):
        needed_one: int
        languages: list[str] = []

    assert options_of(None) == {}
    assert options_of(TriageOptions()) == {}
    assert options_of(TriageOptions(clean="mail", runners_up=2)) == {"clean": "mail"}
    assert options_of(Mixed(0)) == {"neededOne": 0}
    assert options_of(Mixed(1, ["en"])) == {"neededOne": 1, "languages": ["en"]}


async def test_the_output_type_of_a_task_of_ones_own(broker: EmbeddedBroker) -> None:
    class Routed(Struct):
        route: str

    async with served(broker) as (client, _):
        answer = await client.request("triage", "a", output=Routed)
        mapped = [answer async for answer in client.map("triage", ["b"], output=Routed)]
        with pytest.raises(InferstreamError, match="Correct `output`"):
            await client.request("triage", "a", output=list[int])
    assert answer.output == Routed("a")
    assert [one.output for one in mapped if isinstance(one, Answer)] == [Routed("b")]


async def test_a_client_on_another_event_loop_says_so(broker: EmbeddedBroker) -> None:
    errors: list[BaseException] = []

    async def elsewhere(client: Client) -> None:
        for attempt in (client.request("triage", "a"), anext(client.map("triage", ["a"]))):
            try:
                await attempt
            except UsageError as error:
                errors.append(error)

    async with served(broker) as (client, _):
        await client.request("triage", "a")
        thread = threading.Thread(target=lambda: asyncio.run(elsewhere(client)))
        thread.start()
        await asyncio.to_thread(thread.join)
        await client.request("triage", "a")
    assert len(errors) == 2
    assert "another event loop" in str(errors[0])
    assert "SyncClient" in str(errors[0])


async def test_a_client_opens_once(broker: EmbeddedBroker) -> None:
    client = Client(broker=broker)
    async with client:
        with pytest.raises(UsageError, match="opened before"):
            await client.__aenter__()
    with pytest.raises(UsageError, match="opened before"):
        await client.__aenter__()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
async def test_a_client_after_a_fork_says_so(broker: EmbeddedBroker) -> None:
    async with served(broker) as (client, _):
        await client.request("triage", "a")
        reading, writing = os.pipe()
        if (pid := os.fork()) == 0:
            try:
                client.map("triage", ["a"]).__anext__().send(None)
            except BaseException as error:
                os.write(writing, str(error).encode())
            try:
                client.__aexit__().send(None)
            except StopIteration:
                os.write(writing, b" Closed.")
            os._exit(0)
        os.waitpid(pid, 0)  # noqa: ASYNC222
        said = os.read(reading, 1_000).decode()
        await client.request("triage", "a")
    assert f"and this is a fork of it ({pid}): open a client after the fork." in said
    assert said.endswith(" Closed.")


def test_a_client_cannot_be_pickled(client: Client) -> None:
    for one in (client, SyncClient("127.0.0.1:9092"), client.request):
        with pytest.raises(UsageError, match="make one there"):
            pickle.dumps(one)
