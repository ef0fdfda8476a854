"""The auditor follows a chain: what is lost or doubled at which step, by records that a test writes."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from inferstream.pipeline.broker.base import Message, TopicSpec
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.config import ChainConfig, Config, RetryConfig
from inferstream.pipeline.ops.audit.auditor import audit
from inferstream.pipeline.ops.audit.facts import Audited
from inferstream.pipeline.ops.audit.report import AuditReport, StepCount
from inferstream.schemas.cancels import Cancel
from inferstream.schemas.codec import encode
from inferstream.schemas.messages import Failure, Request, Result
from inferstream.schemas.topics import Header, Topics, origin

CONFIG = Config(chains={"c": ChainConfig(["a", "b", "c"])}, retries=RetryConfig(tiers_s=[1]))
TOPICS = Topics("c")
NOW_S = 10_000_000_000.0


class Written:
    """The topics of a chain of three steps, with the records that the test has put there."""

    def __init__(self, broker: EmbeddedBroker) -> None:
        self.broker = broker
        self.audited = Audited.of("c", CONFIG)

    async def put(
        self, topic: str, value: bytes, *headers: tuple[str, bytes], key: bytes | None = None
    ) -> None:
        await self.broker.publish(Message(topic, value, key, headers, 0))

    async def ask(self, *identities: str, step: int = 1, key: bytes | None = None) -> None:
        for identity in identities:
            body = encode(Request("text", id=identity if step == 1 else f"{identity}/{step}"))
            await self.put(TOPICS.of_step(step).requests, body, key=key)

    async def answer(self, *identities: str) -> None:
        for identity in identities:
            await self.put(TOPICS.replies, encode(Result(identity, "c", "m", "1", msgspec.Raw(b"{}"))))

    async def judge(self, **how: Any) -> AuditReport:
        return await audit(self.broker, self.audited, clock=lambda: NOW_S, **how)


@pytest.fixture
async def written() -> AsyncIterator[Written]:
    async with EmbeddedBroker() as broker:
        found = Written(broker)
        await broker.ensure_topics([TopicSpec(name, 1, 1, -1) for name in found.audited.names])
        yield found


async def test_all_topics_of_all_steps_are_read(written: Written) -> None:
    assert written.audited.names == [
        "inferstream.c.replies",
        "inferstream.c.dead-letters",
        "inferstream.c.step-3.retry.1s",
        "inferstream.c.step-3.requests",
        "inferstream.c.step-2.retry.1s",
        "inferstream.c.step-2.requests",
        "inferstream.c.retry.1s",
        "inferstream.c.cancels",
        "inferstream.c.requests",
    ]


async def test_what_is_lost_or_doubled_is_told_by_step(written: Written) -> None:
    await written.ask("whole", "lost-1", "lost-2", "lost-3", "doubled")
    await written.ask("whole", "lost-2", "lost-3", "doubled", "doubled", step=2)
    await written.ask("whole", "lost-3", "doubled", "doubled", step=3)
    await written.answer("whole", "doubled", "doubled")
    report = await written.judge()
    assert (report.requests, report.results, report.missing, report.duplicated) == (5, 2, 3, 1)
    assert report.unknown == 0
    assert report.steps == {1: StepCount(5, 0, 1), 2: StepCount(4, 1, 1), 3: StepCount(3, 1, 1)}
    assert report.examples["missing"] == ["lost-1", "lost-2", "lost-3"]
    assert report.lost


async def test_a_failure_of_any_step_and_a_cancel_by_the_callers_id_belong_to_the_request(
    written: Written,
) -> None:
    await written.ask("failed", "cancelled", key=b"k")
    await written.ask("failed", step=2, key=b"k")
    await written.put(
        TOPICS.of_step(2).requests, encode(Failure("cancelled/2", "a", "cancelled", "")), (Header.ENDED, b"1")
    )
    await written.put(TOPICS.cancels, encode(Cancel("cancelled")))
    letter = encode(Request("text", id="failed/2"))
    place = origin(TOPICS.of_step(2).requests, 0, 0).encode()
    await written.put(
        TOPICS.dead_letters, letter, (Header.ORIGIN, place), (Header.ERROR_CODE, b"device_error")
    )
    for identity, code in (("failed", "device_error"), ("cancelled", "cancelled")):
        await written.put(TOPICS.replies, encode(Failure(identity, "b", code, "because")))
    report = await written.judge()
    assert report.failures == {"device_error": 1, "cancelled": 1}
    assert (report.requests, report.missing, report.kept, report.cancels) == (2, 0, 1, 1)
    assert (report.unknown, report.duplicated, report.out_of_order) == (0, 0, 0)
    assert report.steps[2].reached == 2


async def test_a_retry_and_a_replay_of_a_later_step_belong_to_the_request(written: Written) -> None:
    await written.ask("a")
    await written.ask("a", step=2)
    step = TOPICS.of_step(2)
    body, place = encode(Request("text", id="a/2")), (Header.ORIGIN, origin(step.requests, 0, 0).encode())
    await written.put(step.retry("1s"), body, place, (Header.NOT_BEFORE_MS, b"1"), (Header.ATTEMPT, b"2"))
    await written.put(step.requests, body, place, (Header.ATTEMPT, b"2"))
    assert (await written.judge()).missing == 1
    await written.put(TOPICS.dead_letters, body, place, (Header.ERROR_CODE, b"device_unavailable"))
    await written.put(step.requests, body, place)
    report = await written.judge()
    assert (report.dead_letters, report.retried, report.replayed, report.missing_repeats) == (1, 1, 1, 1)
    await written.answer("a")
    report = await written.judge()
    assert (report.missing, report.missing_repeats, report.duplicated, report.lost) == (0, 0, 0, False)
    assert report.steps[2] == StepCount(1, 0, 0)


async def test_a_request_that_has_just_come_to_a_later_step_is_open(written: Written) -> None:
    await written.ask("a")
    await written.ask("a", step=2)
    now_s = (await written.judge()).oldest_open
    assert now_s is not None
    report = await audit(
        written.broker, written.audited, clock=lambda: now_s.asked_ms / 1e3 + 5, grace_ms=60_000
    )
    assert (report.open, report.missing) == (1, 0)


async def test_a_request_without_an_id_is_followed_by_its_place(written: Written) -> None:
    await written.put(TOPICS.requests, b'{"text": "t"}')
    place = origin(TOPICS.requests, 0, 0)
    await written.ask(place, step=2)
    await written.answer(place)
    report = await written.judge()
    assert (report.requests, report.results, report.unknown, report.steps[2].reached) == (1, 1, 0, 1)
