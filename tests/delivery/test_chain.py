"""What one step of a chain makes of a record: the same request of the next step each time, or one Failure."""

import time
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from support.chain_worker import CHAIN, chain_config, know_both

from inferstream.pipeline.broker.base import Headers, Message, Record
from inferstream.pipeline.config import ChainConfig, Config, StepConfig
from inferstream.pipeline.delivery.arrival import MAX_ID_CHARACTERS, Arrival
from inferstream.pipeline.delivery.chain import LEFT_BEHIND, StepReader, StepReplies
from inferstream.pipeline.delivery.outcome import Outcome
from inferstream.pipeline.engine.engine_answer import EngineAnswer
from inferstream.pipeline.errors import DeviceError, InferstreamError, TooLarge
from inferstream.pipeline.tasks.chains.chain import ChainStep, steps_of
from inferstream.pipeline.tasks.chains.declared import chains_of
from inferstream.schemas.codec import DecodeError, decode_reply, decode_request, encode
from inferstream.schemas.generation import GenerateRequest
from inferstream.schemas.messages import Failure, Request, Timings
from inferstream.schemas.topics import ANY_ORDER, Header

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
NAMES = st.sampled_from(
    [
        Header.TENANT,
        Header.DEADLINE_MS,
        Header.PRIORITY,
        Header.TRACEPARENT,
        Header.REPLY_TOPIC,
        Header.ORDER,
        Header.LEASE,
        Header.LEASE_MS,
        Header.ATTEMPT,
        Header.HISTORY,
        Header.ORIGIN,
        Header.ORIGIN_MS,
        Header.ASKED_MS,
        Header.ENDED,
        "x-own",
    ]
)
HEADERS = st.lists(st.tuples(NAMES, st.binary(max_size=9) | st.just(b"1")), max_size=6).map(tuple)
ANSWER = EngineAnswer(b'{"echo": "an answer"}', "m", "v", "miss", Timings(), None)


@pytest.fixture(scope="module")
def steps() -> list[ChainStep]:
    with pytest.MonkeyPatch.context() as patch:
        know_both(patch)
        return steps_of(chains_of(chain_config("p"))[CHAIN], "p")


def a_reader(step: ChainStep) -> StepReader:
    return StepReader(step, 1_000_000, lambda: 0.0, time.time)


def a_record(
    step: ChainStep, body: bytes, key: bytes | None = None, headers: Headers = (), timestamp_ms: int = 1_000
) -> Record:
    return Record(step.topics.requests, 1, 7, key, body, headers, timestamp_ms)


def arrived(step: ChainStep, record: Record) -> Arrival:
    """The record as far as it could be read."""
    reader = a_reader(step)
    arrival = reader.arrival(record)
    with suppress(DecodeError, InferstreamError):
        reader.read(arrival)
    return arrival


def only(outcome: Outcome) -> Message:
    (message,) = outcome.messages
    return message


@given(
    identity=st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    text=TEXTS.filter(lambda text: bool(text) and not text.isspace()),
    key=st.none() | st.binary(max_size=4),
    headers=HEADERS,
    stream=st.booleans(),
)
def test_a_redelivery_makes_the_same_request_and_every_header_of_the_caller_goes_along(
    steps: list[ChainStep], identity: str | None, text: str, key: bytes | None, headers: Headers, stream: bool
) -> None:
    first, second = steps
    body = encode(Request(text=text, id=identity, stream=stream, options={"steps": {"repeat": 2}}))
    record = a_record(first, body, key, headers)
    made = [
        only(StepReplies(first, 1_000_000).result(arrived(first, one), ANSWER))
        for one in (record, record._replace(timestamp_ms=1_000))
    ]
    assert made[0] == made[1]
    (message, _) = made
    assert message.topic == second.topics.requests
    assert message.key == key
    kept = [header for header in headers if header[0] not in LEFT_BEHIND]
    assert list(message.headers[:-1]) == kept
    assert message.headers[-1][0] == Header.ASKED_MS
    asked = decode_request(message.value)
    assert (asked.text, asked.stream, asked.task) == ("an answer", stream, None)
    following = a_record(second, message.value, message.key, message.headers)
    arrival = arrived(second, following)
    origin = "p.echo-steps.requests/1/7"
    at_first = arrived(first, record).reply_id
    assert arrival.reply_id == at_first, "the id is the caller's at every step"
    if Header.ORIGIN not in dict(headers):
        assert at_first == (origin if identity is None else identity)


def three_steps(monkeypatch: pytest.MonkeyPatch) -> list[ChainStep]:
    """A chain whose last step is a conversation, about what the chain was asked and two answers."""
    know_both(monkeypatch)
    messages = [
        {"role": "system", "content": "{request.text}"},
        {"role": "user", "content": "{text}|{output.text}"},
    ]
    last = StepConfig("generate", request={"messages": messages})
    chain = ChainConfig(["echo", StepConfig("steps", text="{output.echo}!"), last])
    return steps_of(chains_of(Config(chains={"three": chain}))["three"], "p")


def follow(step: ChainStep, message: Message, output: bytes) -> Message:
    """The request of the next step, made of the record of this one and its answer."""
    arrival = arrived(step, a_record(step, message.value, message.key, message.headers))
    return only(StepReplies(step, 1_000_000).result(arrival, structs.replace(ANSWER, output=output)))


@given(text=TEXTS.filter(lambda text: bool(text) and not text.isspace()), first=TEXTS, second=TEXTS)
def test_what_the_chain_was_asked_reaches_the_step_that_is_asked_of_it(
    text: str, first: str, second: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        steps = three_steps(patch)
    body = {"text": text, "id": "a", "chain_text": "of a stranger", "messages": [], "stream": True}
    asked = Message(steps[0].topics.requests, msgspec.json.encode(body), b"k")
    hop = follow(steps[0], asked, msgspec.json.encode({"echo": first}))
    assert msgspec.json.decode(hop.value) == {
        "id": "a/2",
        "text": f"{first}!",
        "chain_text": text,
        "stream": True,
    }
    last = follow(steps[1], hop, msgspec.json.encode({"text": second, "characters": 0}))
    assert msgspec.json.decode(last.value) == {
        "id": "a/3",
        "messages": [
            {"role": "system", "content": text},
            {"role": "user", "content": f"{first}!|{second}"},
        ],
        "stream": True,
    }
    job = a_reader(steps[2]).read(arrived(steps[2], a_record(steps[2], last.value)))
    assert isinstance(job.request, GenerateRequest)
    assert isinstance(job.request.messages, list)
    assert (job.id, job.task, job.request.stream) == ("a", "generate", True)
    assert job.request.messages[0].content == text


@pytest.mark.parametrize("body", [{}, {"chain_text": 3}, {"chain_text": None}, {"messages": [3]}])
def test_a_record_of_a_stranger_on_a_later_step_is_answered_or_refused(
    monkeypatch: pytest.MonkeyPatch, body: dict[str, Any]
) -> None:
    _, second, third = three_steps(monkeypatch)
    for step in (second, third):
        record = a_record(step, msgspec.json.encode({"text": "t", "id": "a"} | body))
        arrival = arrived(step, record)
        outcome = StepReplies(step, 1_000_000).result(
            arrival, structs.replace(ANSWER, output=b'{"text":"t"}')
        )
        assert arrival.reply_id == "a"
        assert only(outcome).topic in (third.topics.requests, third.topics.replies)


@pytest.mark.parametrize("identity", ["a", "a/2", "/2", "a/2/2", "", "s/0/1", "x" * MAX_ID_CHARACTERS])
def test_an_id_may_look_like_that_of_a_step(steps: list[ChainStep], identity: str) -> None:
    first, second = steps
    record = a_record(first, encode(Request(text="t", id=identity)))
    message = only(StepReplies(first, 1_000_000).result(arrived(first, record), ANSWER))
    assert decode_request(message.value).id == f"{identity}/2"
    arrival = a_reader(second).arrival(a_record(second, message.value))
    a_reader(second).read(arrival)
    assert arrival.reply_id == identity


@pytest.mark.parametrize("text", ["t" * 1_000_000, " " * 1_000_000])
def test_what_is_too_large_for_a_step_is_answered_under_the_id_of_the_caller(
    steps: list[ChainStep], text: str
) -> None:
    for step, identity in zip(steps, ("a/2", "a/2/2"), strict=True):
        reader = a_reader(step)
        arrival = reader.arrival(a_record(step, encode(Request(text=text, id=identity))))
        with pytest.raises(TooLarge):
            reader.read(arrival)
        assert arrival.reply_id == "a/2"


def failure_of(message: Message) -> Failure:
    reply = decode_reply(message.value)
    assert isinstance(reply, Failure)
    return reply


@pytest.mark.parametrize(
    ("key", "headers", "is_told_at_once"),
    [(None, (), True), (b"k", ((Header.ORDER, ANY_ORDER),), True), (b"k", (), False)],
)
def test_a_failure_takes_the_way_of_the_answers_only_where_order_matters(
    steps: list[ChainStep], key: bytes | None, headers: Headers, is_told_at_once: bool
) -> None:
    first, second = steps
    record = a_record(first, encode(Request(text="t", id="a")), key, headers)
    outcome = StepReplies(first, 1_000_000).failure(arrived(first, record), DeviceError("It broke."))
    message = only(outcome)
    told = failure_of(message)
    assert told.message == "Step 1 of echo-steps, echo: It broke."
    if is_told_at_once:
        assert (message.topic, told.id) == (first.topics.replies, "a")
        return
    assert (message.topic, told.id) == (second.topics.requests, "a/2")
    arrival = a_reader(second).arrival(a_record(second, message.value, message.key, message.headers))
    with pytest.raises(Exception, match="It broke") as ended:
        a_reader(second).read(arrival)
    passed_on = only(StepReplies(second, 1_000_000).failure(arrival, ended.value))  # type: ignore[arg-type]
    assert passed_on.topic == second.topics.replies
    assert failure_of(passed_on) == structs.replace(told, id="a")
    assert outcome.if_too_large is not None
    assert only(outcome.if_too_large()).topic == first.topics.replies, (
        "larger than the topic takes: told at once"
    )


def test_an_answer_that_the_next_topic_does_not_take_is_a_failure(steps: list[ChainStep]) -> None:
    first, second = steps
    for key in (None, b"k"):
        record = a_record(first, encode(Request(text="t", id="a")), key)
        outcome = StepReplies(first, 1_000_000).result(arrived(first, record), ANSWER)
        assert outcome.if_too_large is not None
        message = only(outcome.if_too_large())
        assert message.topic == (second.topics.requests if key else first.topics.replies)
        told = failure_of(message)
        assert told.code == "reply_too_large"
        assert told.message.startswith("Step 1 of echo-steps, echo: Its answer makes a request of ")


@pytest.mark.parametrize("output", [b"[1]", b"3", b'"text"', b"null"])
def test_an_output_of_another_shape_than_its_contract_is_a_failure(
    steps: list[ChainStep], output: bytes
) -> None:
    first, _ = steps
    record = a_record(first, encode(Request(text="t", id="a")))
    outcome = StepReplies(first, 1_000_000).result(
        arrived(first, record), structs.replace(ANSWER, output=output)
    )
    assert failure_of(only(outcome)).code == "internal"


@given(body=st.binary(max_size=60), headers=HEADERS, step=st.sampled_from([0, 1]))
def test_any_record_at_any_step_is_read_or_refused(
    steps: list[ChainStep], body: bytes, headers: Headers, step: int
) -> None:
    reader = a_reader(steps[step])
    arrival = reader.arrival(a_record(steps[step], body, None, headers))
    with suppress(DecodeError, InferstreamError):
        reader.read(arrival)
    assert arrival.reply_id
