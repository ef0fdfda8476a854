"""A chain in one process, on both brokers: one answer for each request, whatever happens at which step."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest
from msgspec import structs
from support.broker_contract import all_records
from support.chain_worker import CHAIN, FAILS, chain_config, chain_serving, know_both
from support.kafka_serving import running, until
from support.steps_worker import WINDOW, broker_at

from inferstream import Answer, Cancelled, Client, DeadlineExceeded, Failure, UnknownOption
from inferstream.pipeline.broker.base import Broker, Message, Record, TopicSpec
from inferstream.pipeline.config import CacheConfig, ChainConfig, Config, LimitConfig, StepConfig
from inferstream.pipeline.errors import (
    BadHeader,
    BlankText,
    DeviceError,
    DeviceUnavailable,
    Overloaded,
    TooLarge,
)
from inferstream.pipeline.lab.steps import StepsOutput
from inferstream.pipeline.ops.audit.auditor import audit
from inferstream.pipeline.ops.audit.facts import Audited
from inferstream.pipeline.ops.dead_letters.handling import LetterHandler
from inferstream.pipeline.ops.dead_letters.letter import Selection
from inferstream.pipeline.runtime.fake_session import FakeSession
from inferstream.pipeline.serving.serving import Serving
from inferstream.schemas.cancels import Cancel
from inferstream.schemas.codec import decode_reply, decode_request, encode
from inferstream.schemas.messages import Request, Result
from inferstream.schemas.topics import Header, Topics

PATIENCE_S = 60


def asked_of_the_last_step(text: str) -> dict[str, ChainConfig]:
    """The chain with another text for its last step."""
    return {CHAIN: ChainConfig(["echo", StepConfig("steps", text=text)])}


class Chained:
    """Both tasks and their chain, each task in a worker of its own, and what is on the topics."""

    def __init__(self, broker: Broker, config: Config) -> None:
        self.broker = broker
        self.topics = Topics(CHAIN, config.kafka.topic_prefix)
        self.sessions = {"echo": FakeSession(), "steps": FakeSession()}
        self.first = chain_serving(config, broker, ["echo"], self.sessions)
        self.second = chain_serving(config, broker, ["steps"], self.sessions)

    def client(self) -> Client:
        return Client(broker=self.broker, prefix=self.topics.prefix)

    async def records(self, topic: str) -> list[Record]:
        """All records that a topic has now."""
        return await all_records(self.broker, topic)

    async def put(self, body: bytes, key: bytes | None = None, *headers: tuple[str, bytes]) -> None:
        await self.broker.publish(Message(self.topics.requests, body, key, headers))

    async def replies(self, count: int) -> list[Result | Failure]:
        """All replies, when there are ``count``."""

        async def there() -> bool:
            return len(await self.records(self.topics.replies)) >= count

        await until(there)
        found = [decode_reply(record.value) for record in await self.records(self.topics.replies)]
        assert len(found) == count
        return [one for one in found if isinstance(one, Result | Failure)]

    async def begun(self, task: str, runs: int = 1) -> None:
        await asyncio.to_thread(self.sessions[task].wait_for_runs, runs)


@pytest.fixture
async def broker(where: str) -> AsyncIterator[Broker]:
    async with broker_at(where) as opened:
        yield opened


async def serve(stack: AsyncExitStack, *workers: Serving) -> None:
    for one in workers:
        await stack.enter_async_context(running(one))


@pytest.fixture
async def chained(
    broker: Broker, unique: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Chained]:
    know_both(monkeypatch)
    settings = getattr(request, "param", {})
    found = Chained(broker, chain_config(unique, **settings))
    async with asyncio.timeout(PATIENCE_S), AsyncExitStack() as stack:
        await serve(stack, found.first, found.second)
        yield found
        for session in found.sessions.values():
            session.release()


async def test_the_last_step_answers_the_caller(chained: Chained) -> None:
    async with chained.client() as client:
        answer = await client.request(CHAIN, "abc", id="t1", tenant="a", priority="high")
    assert answer.output == StepsOutput("abc", 3), "the type is that of the last step"
    assert (answer.reply.id, answer.reply.task) == ("t1", "steps")
    (asked,) = await chained.records(chained.topics.requests)
    (hop,) = await chained.records(chained.topics.of_step(2).requests)
    assert decode_request(hop.value) == Request(text="abc", id="t1/2")
    assert hop.key == asked.key
    before, after = dict(asked.headers), dict(hop.headers)
    assert after.pop(Header.ASKED_MS) == b"%d" % asked.timestamp_ms
    assert after == before, "deadline, tenant, priority, trace, reply topic and order go along"
    assert {Header.DEADLINE_MS, Header.TENANT, Header.PRIORITY, Header.TRACEPARENT} <= after.keys()


async def test_a_plain_producer_needs_no_more_than_a_text(chained: Chained) -> None:
    await chained.put(b'{"text": "abc"}')
    (reply,) = await chained.replies(1)
    assert isinstance(reply, Result)
    (asked,) = await chained.records(chained.topics.requests)
    assert reply.id == f"{chained.topics.requests}/{asked.partition}/0"
    (hop,) = await chained.records(chained.topics.of_step(2).requests)
    assert decode_request(hop.value).id == f"{reply.id}/2"


async def test_equal_requests_are_answered_from_the_caches_of_both_steps(chained: Chained) -> None:
    async with chained.client() as client:
        for _ in range(3):
            answer = await client.request(CHAIN, "abc")
            assert answer.output.text == "abc"
        assert answer.reply.cache == "memory"
        assert (await client.request("echo", "abc")).reply.cache == "memory", "the same as without a chain"
    assert len(chained.sessions["echo"].runs) == 1


async def test_options_are_given_by_step(chained: Chained) -> None:
    async with chained.client() as client:
        options = {"echo": {"shout": True}, "steps": {"repeat": 2}}
        assert (await client.request(CHAIN, "ab", options=options)).output == StepsOutput("ABAB", 4)
        with pytest.raises(
            UnknownOption, match=r"^Step 1 of echo-steps, echo: The chain 'echo-steps' has no"
        ):
            await client.request(CHAIN, "ab", options={"shout": True})
        with pytest.raises(UnknownOption, match=r"^Step 1 of echo-steps, echo: Steps has no option 'x'"):
            await client.request(CHAIN, "ab", options={"steps": {"x": 1}})
        with pytest.raises(BadHeader, match="the settings name the model of each step"):
            await client.request(CHAIN, "ab", model="other")


async def test_the_last_step_streams_its_answer(chained: Chained) -> None:
    async with chained.client() as client, client.stream(CHAIN, "abcd", id="t1") as stream:
        assert [piece async for piece in stream] == list("abcd")
        assert (await stream.answer()).output == StepsOutput("abcd", 4)
    (hop,) = await chained.records(chained.topics.of_step(2).requests)
    assert decode_request(hop.value).stream


@pytest.mark.parametrize("key", [None, b"k"])
async def test_a_failure_names_its_step(chained: Chained, key: bytes | None) -> None:
    chained.sessions["steps"]._failures[ord("X")] = DeviceError
    async with chained.client() as client:
        with pytest.raises(DeviceError, match=r"^Step 1 of echo-steps, echo: "):
            await client.request(CHAIN, f"a{FAILS}", id="t1", key=key)
        with pytest.raises(DeviceError, match=r"^Step 2 of echo-steps, steps: "):
            await client.request(CHAIN, "aX", id="t2", key=key)
        assert (await client.request(CHAIN, "a", key=key)).output.text == "a"
    letters = await chained.records(chained.topics.dead_letters)
    assert {decode_request(one.value).id for one in letters} == {"t1", "t2/2"}


async def test_a_bad_body_ends_at_the_first_step(chained: Chained) -> None:
    await chained.put(b'{"id": "t1"}', b"k")
    await chained.put(b'{"id": "t2"', b"k")
    replies = await chained.replies(2)
    assert [(one.id, getattr(one, "code", "")) for one in replies] == [
        ("t1", "missing_text"),
        ("t2", "not_json"),
    ]


@pytest.mark.parametrize("chained", [{"chains": asked_of_the_last_step(" ")}], indirect=True)
async def test_an_empty_answer_is_no_request(chained: Chained) -> None:
    async with chained.client() as client:
        with pytest.raises(BlankText, match=r"^Step 2 of echo-steps, steps: The field `text` is blank"):
            await client.request(CHAIN, "abc")


@pytest.mark.parametrize(
    "chained", [{"chains": asked_of_the_last_step("{output} {text}, {output.echo}")}], indirect=True
)
async def test_the_settings_say_what_the_next_step_is_asked(chained: Chained) -> None:
    async with chained.client() as client:
        answer = await client.request(CHAIN, "{text}", options={"echo": {"shout": True}})
    assert answer.output.text == '{"echo": "{TEXT}"} {text}, {TEXT}'


async def test_answers_and_failures_of_a_key_keep_the_order_of_its_requests(chained: Chained) -> None:
    """The first is slow in step 2, and the others fail in step 1: they wait for it."""
    chained.sessions["steps"].stall()
    await chained.put(b'{"id": "a", "text": "slow"}', b"k")
    await chained.put(b'{"id": "b"}', b"k")
    await chained.put(
        b'{"id": "c", "text": "%s"}' % FAILS.encode("unicode_escape").replace(b"\\x", b"\\u00"), b"k"
    )
    await chained.put(b'{"id": "d", "text": "last"}', b"k")
    await chained.put(b'{"id": "e"}', b"k", (Header.ORDER, b"any"))
    (first,) = await chained.replies(1)
    assert first.id == "e", "its order does not matter: it is told at once"

    async def all_at_step_2() -> bool:
        return len(await chained.records(chained.topics.of_step(2).requests)) == 4

    await until(all_at_step_2)
    chained.sessions["steps"].release()
    replies = await chained.replies(5)
    assert [one.id for one in replies] == ["e", "a", "b", "c", "d"]
    codes = {one.id: one.code for one in replies if isinstance(one, Failure)}
    assert codes == {"e": "missing_text", "b": "missing_text", "c": "device_error"}
    for one in replies:
        assert not isinstance(one, Failure) or one.message.startswith("Step 1 of echo-steps, echo: ")


THREE = ChainConfig(
    [
        "echo",
        StepConfig("steps", text="{output.echo}"),
        StepConfig("steps", name="again", text="{output.text}!"),
    ]
)


@pytest.mark.parametrize("chained", [{"chains": {CHAIN: THREE}}], indirect=True)
async def test_three_steps_of_which_two_have_one_task(chained: Chained) -> None:
    async with chained.client() as client:
        options = {"steps": {"repeat": 2}, "again": {"repeat": 3}}
        answer = await client.request(CHAIN, "ab", id="t1", key=b"k", options=options)
        assert answer.output.text == "abab!" * 3
        with pytest.raises(DeviceError, match=r"^Step 1 of echo-steps, echo: "):
            await client.request(CHAIN, FAILS, id="t2", key=b"k")
        assert (await client.request(CHAIN, "c", id="t3", key=b"k")).output.text == "c!"
    asked = await chained.records(chained.topics.requests)
    third = await chained.records(chained.topics.of_step(3).requests)
    assert [decode_request(one.value).id for one in third if Header.ENDED not in dict(one.headers)] == [
        "t1/3",
        "t3/3",
    ]
    assert [dict(one.headers)[Header.ASKED_MS] for one in third] == [
        b"%d" % one.timestamp_ms for one in asked
    ]
    config = chain_config(chained.topics.prefix, chains={CHAIN: THREE})
    report = await audit(chained.broker, Audited.of(CHAIN, config), clock=time.time)
    assert (report.requests, report.results, report.failures) == (3, 2, {"device_error": 1})
    assert (report.lost, report.duplicated, report.kept, report.unknown) == (False, 0, 1, 0)
    assert {number: one.reached for number, one in report.steps.items()} == {1: 3, 2: 3, 3: 3}


@pytest.mark.parametrize("step", ["echo", "steps"])
async def test_a_cancel_by_the_callers_id_reaches_the_step_that_runs(chained: Chained, step: str) -> None:
    chained.sessions[step].stall()
    async with chained.client() as client:
        asked = asyncio.create_task(client.request(CHAIN, "abc", id="t1", tenant="a"))
        await chained.begun(step)
        await client.cancel("t1", task=CHAIN, tenant="b")
        await client.cancel("t1", task=CHAIN, tenant="a")
        number = 1 if step == "echo" else 2
        with pytest.raises(Cancelled, match=f"^Step {number} of echo-steps, {step}: "):
            await asked


async def test_a_cancel_between_two_steps_ends_the_request_at_the_next(
    broker: Broker, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    know_both(monkeypatch)
    chained = Chained(broker, chain_config(unique))
    async with asyncio.timeout(PATIENCE_S), AsyncExitStack() as stack:
        await serve(stack, chained.first)
        await chained.put(b'{"id": "t1", "text": "abc"}')
        await chained.put(b'{"id": "t2", "text": "abc"}')

        async def hopped() -> bool:
            return len(await chained.records(chained.topics.of_step(2).requests)) == 2

        await until(hopped)
        await broker.publish(Message(chained.topics.cancels, encode(Cancel("t1"))))
        await serve(stack, chained.second)
        replies = await chained.replies(2)
        assert {one.id: getattr(one, "code", "result") for one in replies} == {
            "t1": "cancelled",
            "t2": "result",
        }


async def test_a_deadline_that_passes_between_two_steps_ends_the_request(
    broker: Broker, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    know_both(monkeypatch)
    chained = Chained(broker, chain_config(unique))
    async with asyncio.timeout(PATIENCE_S), AsyncExitStack() as stack:
        await serve(stack, chained.first)
        deadline_ms = round((time.time() + 1.5) * 1e3)
        await chained.put(b'{"id": "t1", "text": "abc"}', None, (Header.DEADLINE_MS, b"%d" % deadline_ms))

        async def hopped_and_late() -> bool:
            hops = await chained.records(chained.topics.of_step(2).requests)
            return len(hops) == 1 and time.time() * 1e3 > deadline_ms

        await until(hopped_and_late)
        await serve(stack, chained.second)
        (reply,) = await chained.replies(1)
    assert isinstance(reply, Failure)
    assert reply.code == DeadlineExceeded.code
    assert reply.message.startswith("Step 2 of echo-steps, steps: The deadline had passed")


async def test_a_newer_request_supersedes_a_partial_that_waits_at_a_later_step(chained: Chained) -> None:
    """The ids are those of the caller at every step."""
    chained.sessions["steps"].stall()
    await chained.put(b'{"id": "held", "text": "held"}', b"other")
    await chained.begun("steps")
    await chained.put(b'{"id": "s/0/0", "text": "one", "final": false}', b"s")

    async def waits_at_step_2() -> bool:
        (_, step) = chained.second.of_tasks
        return step.worker.window.running == 2

    await until(waits_at_step_2)
    await chained.put(b'{"id": "s/0/1", "text": "one two", "supersedes": "s/0/0"}', b"s")
    (superseded,) = await chained.replies(1)
    assert isinstance(superseded, Failure)
    assert (superseded.id, superseded.code) == ("s/0/0", "superseded")
    assert superseded.message.startswith("Step 2 of echo-steps, steps: ")
    chained.sessions["steps"].release()
    codes = {one.id: getattr(one, "code", "result") for one in await chained.replies(3)}
    assert codes == {"held": "result", "s/0/0": "superseded", "s/0/1": "result"}


async def test_a_lease_that_runs_out_ends_the_step_that_runs(chained: Chained) -> None:
    chained.sessions["steps"].stall()
    headers = ((Header.LEASE, b"gone"), (Header.LEASE_MS, b"1000"))
    await chained.put(b'{"id": "t1", "text": "abc"}', None, *headers)
    (reply,) = await chained.replies(1)
    assert isinstance(reply, Failure)
    assert reply.code == "cancelled"
    assert reply.message.startswith("Step 2 of echo-steps, steps: The lease 'gone' ran out")


@pytest.mark.parametrize("key", [None, b"k"])
@pytest.mark.parametrize("step", ["echo", "steps"])
async def test_a_passing_failure_is_retried_at_its_step(
    chained: Chained, step: str, key: bytes | None
) -> None:
    session = chained.sessions[step]
    session._failures[ord("X")] = DeviceUnavailable
    async with chained.client() as client:
        asked = asyncio.create_task(client.request(CHAIN, "aX", id="t1", key=key))
        await chained.begun(step, 3 if step == "steps" else 1)
        session._failures.clear()
        assert (await asked).output.text == "aX"
    place = chained.topics.of_step(1 if step == "echo" else 2)
    assert len(await chained.records(place.retry("1s"))) == (0 if key else 1)
    assert len(await chained.records(chained.topics.replies)) == 1


@pytest.mark.parametrize(
    "chained",
    [{"limits": LimitConfig(max_request_bytes=200), "chains": asked_of_the_last_step("{text}" * 9)}],
    indirect=True,
)
async def test_a_request_that_grows_too_large_for_the_next_step_names_it(chained: Chained) -> None:
    async with chained.client() as client:
        with pytest.raises(
            TooLarge, match=r"^Step 2 of echo-steps, steps: The request has \d+ bytes, more than"
        ):
            await client.request(CHAIN, "x" * 100)


@pytest.mark.parametrize("chained", [{"cache": CacheConfig(enabled=False)}], indirect=True)
async def test_a_mapped_list_is_answered_whole_and_in_order(chained: Chained) -> None:
    texts = [f"text {number}" for number in range(200)]
    async with chained.client() as client:
        answers = [answer async for answer in client.map(CHAIN, texts, ordered=True)]
    assert [one.output.text for one in answers if isinstance(one, Answer)] == texts
    assert len(await chained.records(chained.topics.replies)) == 200


async def test_a_record_on_the_topic_of_a_later_step_may_hold_anything(chained: Chained) -> None:
    """Only workers write there; where a stranger may too, nothing breaks."""
    topic = chained.topics.of_step(2).requests
    for body, headers in (
        (b"", ()),
        (b"{", ()),
        (b'{"text": "plain", "id": "p"}', ()),
        (b"{", ((Header.ENDED, b"1"),)),
        (encode(Result("x/2", "steps", "m", "v", msgspec.Raw(b"{}"))), ((Header.ENDED, b"1"),)),
        (encode(Failure("y/2", "t", "code", "because")), ((Header.ENDED, b"1"),)),
        (b'{"text": "asked", "id": "q/2"}', ((Header.ASKED_MS, b"x" * 20),)),
        (b'{"text": "a", "id": "o/2", "options": {"steps": 3}}', ()),
    ):
        await chained.broker.publish(Message(topic, body, None, headers))
    replies = await chained.replies(8)
    codes: dict[str, Any] = {one.id: getattr(one, "code", "result") for one in replies}
    assert sorted(codes.values()) == [
        "code",
        "empty_body",
        "not_json",
        "not_json",
        "result",
        "result",
        "wrong_type",
        "wrong_type",
    ]
    assert {codes[name] for name in ("p", "q")} == {"result"}
    assert codes["y"] == "code"


@pytest.mark.parametrize("chained", [{"window": structs.replace(WINDOW, max_in_flight=4)}], indirect=True)
async def test_an_overload_of_a_later_step_is_told_and_the_caller_may_come_back(chained: Chained) -> None:
    """The quota of a tenant counts at each step on its own."""
    chained.sessions["steps"].stall()
    async with chained.client() as client:
        held = []
        for number, tenant in enumerate(("b", "a", "a")):
            held.append(asyncio.create_task(client.request(CHAIN, f"held {number}", tenant=tenant)))

            async def is_held(count: int = number + 1) -> bool:
                (_, step) = chained.second.of_tasks
                return step.worker.window.running == count

            await until(is_held)
        with pytest.raises(Overloaded, match=r"^Step 2 of echo-steps, steps: This tenant has 2 requests"):
            await client.request(CHAIN, "abc", tenant="a")
        chained.sessions["steps"].release()
        await asyncio.gather(*held)
        assert (await client.request(CHAIN, "abc", tenant="a")).output.text == "abc"
    assert [ids.shape for ids in chained.sessions["echo"].runs].count((1, 3)) == 1, (
        "step 1 was repeated from its cache"
    )


async def test_a_dead_letter_is_replayed_at_the_step_that_has_failed(chained: Chained) -> None:
    chained.sessions["steps"]._failures[ord("X")] = DeviceError
    async with chained.client() as client:
        for text, task in (("aX", "steps"), (f"a{FAILS}", "echo")):
            with pytest.raises(DeviceError, match=task):
                await client.request(CHAIN, text, id=task)
    chained.sessions["steps"]._failures.clear()
    topics = chained.topics
    handler = LetterHandler(
        chained.broker, topics, TopicSpec(topics.dead_letters_handled, 1, 1, -1), time.time
    )
    done = await handler.handle("replayed", Selection(), progress=lambda done, total: None)
    assert done.codes == {"device_error": 2}
    replies = await chained.replies(4)
    assert sorted((one.id, getattr(one, "code", "result")) for one in replies) == [
        ("echo", "device_error"),
        ("echo", "device_error"),
        ("steps", "device_error"),
        ("steps", "result"),
    ]
    assert len(await chained.records(topics.requests)) == 3, "the other one was replayed at step 2"
    found = await audit(chained.broker, Audited.of(CHAIN, chain_config(topics.prefix)), clock=time.time)
    assert (found.requests, found.replayed, found.missing, found.missing_repeats) == (2, 2, 0, 0)
    assert (found.unknown, found.lost, found.duplicated) == (0, False, 0)
