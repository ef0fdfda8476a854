"""Hostile requests, bombs, transactions, and topics that others delete: the parts of chaos runs that cause them."""

import asyncio
import itertools
import os
import sys
import time
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition

from inferstream.pipeline.broker.base import Consumer, Message, Record, TopicSpec
from inferstream.pipeline.broker.kafka.broker import KafkaBroker
from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.config import KafkaConfig
from inferstream.pipeline.errors import NotWritable
from inferstream.pipeline.lab.chaos.auditing import judgment_of
from inferstream.pipeline.lab.chaos.request_log import ABORTED, RequestLog
from inferstream.pipeline.lab.chaos.strangers import TransactionLoad, bomb, final_lag, send_batch
from inferstream.pipeline.lab.chaos.topic_faults import TopicFaults
from inferstream.pipeline.lab.chaos.worker_pool import peak_mb
from inferstream.pipeline.lab.load.hostile import HEADERS, STRANGER
from inferstream.pipeline.lab.load.pace import ConstantRate, LoadGenerator
from inferstream.pipeline.lab.load.requests import Mix, Planned, requests
from inferstream.pipeline.ops.audit.report import AuditReport
from inferstream.schemas.codec import decode_request, encode
from inferstream.schemas.messages import Result
from inferstream.schemas.topics import Header, Topics

MAX_REQUEST_BYTES = 1_000_000
TOPICS = Topics("triage")
HOSTILE = Mix(giant_share=0.3, marks_share=0.3, headers_share=0.3)


def reply(identity: str, topic: str = TOPICS.replies) -> Record:
    body = encode(Result(identity, "triage", "m", "1", msgspec.Raw(b"{}")))
    return Record(topic, 0, 0, None, body, (), 0)


def letter(identity: str) -> Record:
    headers = ((Header.ERROR_CODE, b"reply_topic_not_allowed"),)
    return Record(
        TOPICS.dead_letters, 0, 0, None, b'{"id": "%b", "text": "t"}' % identity.encode(), headers, 0
    )


def test_hostile_requests_are_as_large_as_a_topic_takes_and_of_another_tenant_than_good_ones() -> None:
    planned = list(itertools.islice(requests(HOSTILE, "run", 1), 40))
    assert {one.kind for one in planned} == {"good", "giant", "marks", "headers"}
    for one in planned:
        hostile = one.kind != "good"
        assert (STRANGER in one.headers) == hostile
        assert (one.key or b"").startswith(b"stranger") == hostile
        assert decode_request(one.value).id == one.id
        assert len(one.value) < MAX_REQUEST_BYTES
        if one.kind == "marks":
            assert len(one.value) > 0.98 * MAX_REQUEST_BYTES
        assert (len(dict(one.headers)) > HEADERS) == (one.kind == "headers")


def test_giants_are_as_large_as_a_topic_takes_or_as_a_worker_runs() -> None:
    planned = itertools.islice(requests(Mix(giant_share=1), "run", 1), 20)
    assert {round(len(one.value), -4) for one in planned} == {990_000, 240_000}


def test_some_requests_name_reply_topics_of_which_the_first_are_frequent() -> None:
    planned = list(itertools.islice(requests(Mix(own_replies_share=0.5), "run", 1), 1_000))
    named = [
        dict(one.message(TOPICS, 0.0).headers)[Header.REPLY_TOPIC] for one in planned if one.kind != "good"
    ]
    assert 400 < len(named) < 600
    assert len(set(named)) > 50
    assert sum(name == b"inferstream.triage.replies.own-0" for name in named) > 50


def own(identity: str, replies: str) -> Planned:
    return Planned("own_replies", identity, b"stranger-1", b"", replies=replies)


def test_a_request_whose_reply_topic_is_deleted_is_open_no_more(clock: FakeClock) -> None:
    log = RequestLog(TOPICS, clock)
    for number, replies in enumerate(["own-1", "own-1", "own-1", "own-2"]):
        log.sent(own(f"r{number}", replies))
    log.read(reply("r0", f"{TOPICS.replies}.own-1"))
    log.forget_replies(["own-1"])
    assert (log.open, log.unseen_by_audit) == (1, 3), "one was read, two may have been answered"
    log.read(letter("r1"))
    log.read(reply("r2", f"{TOPICS.replies}.own-1"))  # from the topic of that name that was made next
    log.read(letter("r3"))
    assert (log.open, log.unseen_by_audit) == (0, 2), "the audit sees the dead letters itself"


def test_after_topics_were_made_anew_nothing_is_open(clock: FakeClock) -> None:
    log = RequestLog(TOPICS, clock)
    log.sent(Planned("good", "a", b"k", b""))
    log.sent(Planned("garbage", None, b"k", b""))
    log.forget_open()
    assert log.open == 0
    log.sent(Planned("good", "b", b"k", b""))
    log.read(reply("a"))
    assert log.open == 1
    log.read(reply("b"))
    assert log.open == 0


def test_answers_to_aborted_requests_are_counted(clock: FakeClock) -> None:
    log = RequestLog(TOPICS, clock)
    log.read(reply(f"{ABORTED}-7"))
    assert (log.aborted_answers, log.open, log.seen) == (1, 0, [])


def test_only_requests_that_the_run_saw_end_elsewhere_are_not_lost() -> None:
    report = AuditReport(None, None)
    report.elsewhere = 5
    assert judgment_of(report, unseen=3).lost == 2
    assert judgment_of(report, unseen=9).lost == 0
    report.missing = 1
    assert judgment_of(report, unseen=9).lost == 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_peak_of_memory_is_known_after_the_memory_was_freed() -> None:
    used = bytearray(100_000_000)
    used[::4096] = bytes(1) * len(used[::4096])
    size = len(used) / 1e6
    del used
    assert peak_mb(os.getpid()) > size
    assert peak_mb(0) == 0, "there is no such process"


async def test_a_request_whose_topic_is_gone_was_not_sent(clock: FakeClock) -> None:
    class TopicIsGone:
        def publish(self, message: Message) -> "asyncio.Future[None]":
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            future.set_exception(NotWritable("There is no topic."))
            return future

    gone: Any = TopicIsGone()
    log = RequestLog(TOPICS, clock)
    generator = LoadGenerator(gone, TOPICS, log.sent, refused=log.refused)
    await generator.send(requests(Mix(), "run", 1), ConstantRate(1e3), lambda: len(log.sent_at) >= 3)
    await generator.flush(5)
    assert (len(log.sent_at), log.open) == (3, 0)


@pytest.mark.kafka
async def test_kafka_stores_a_bomb_as_it_is(kafka: str, unique: str) -> None:
    async with KafkaBroker(KafkaConfig(bootstrap=kafka)) as broker:
        await broker.ensure_topics([TopicSpec(unique, 1)])
        packed = bomb(records=3, record_bytes=1_000_000)
        assert len(packed) < 2_000
        await send_batch(kafka, unique, 0, packed)
        async with AIOKafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest") as reader:
            reader.assign([KafkaPartition(unique, 0)])
            records = [await reader.getone() for _ in range(3)]
        assert [len(one.value) for one in records] == [1_000_000] * 3
        assert [one.offset for one in records] == [0, 1, 2]


@pytest.mark.kafka
async def test_every_second_transaction_is_aborted(kafka: str, unique: str) -> None:
    topics = Topics("triage", unique)
    async with KafkaBroker(KafkaConfig(bootstrap=kafka)) as broker:
        await broker.ensure_topics([TopicSpec(topics.requests, 1)])
        sent: list[Planned] = []
        plans = [requests(Mix(), run, 1) for run in ("committed", ABORTED)]
        await TransactionLoad(kafka, topics, sent.append).send(plans, 50, lambda: len(sent) >= 15)
        reader = AIOKafkaConsumer(
            bootstrap_servers=kafka, auto_offset_reset="earliest", isolation_level="read_committed"
        )
        async with reader:
            reader.assign([KafkaPartition(topics.requests, 0)])
            read = [decode_request((await reader.getone()).value).id for _ in range(len(sent))]
            assert read == [one.id for one in sent]
            end = (await reader.end_offsets(reader.assignment()))[KafkaPartition(topics.requests, 0)]
        assert end > 1.5 * len(sent), "aborted ones have offsets too"


@pytest.mark.kafka
async def test_topics_are_made_and_deleted_and_what_is_not_committed_is_counted(
    kafka: str, unique: str
) -> None:
    topics = Topics("triage", unique)
    specs = [TopicSpec(name, 2) for name in (topics.requests, topics.replies, topics.dead_letters)]
    read: list[str] = []

    async def read_all(consumer: Consumer) -> None:
        while True:
            read.extend(record.topic for record in await consumer.poll(100, 50))

    async with KafkaBroker(KafkaConfig(bootstrap=kafka)) as broker:
        await broker.ensure_topics(specs)
        replies = await broker.consume([topics.replies])
        log = RequestLog(topics)
        faults = TopicFaults(broker, kafka, specs, log, replies, read_all)
        making = asyncio.create_task(faults.make_reply_topics(1.0))
        named = f"{topics.replies}.own-0"
        while await broker.partitions(named) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        await broker.publish(
            Planned("good", "a", b"k", b"{}").message(topics, time.time())._replace(topic=named)
        )
        log.sent(own("b", "own-0"))
        await making
        assert (read, log.open) == ([named], 0)
        assert await broker.partitions(named) is None

        making = asyncio.create_task(faults.make_other_topics(1.0))
        while await broker.partitions(f"{unique}.others.0") is None:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        log.sent(own("b", "own-0"))
        await making
        assert await broker.partitions(f"{unique}.others.0") is None
        assert log.open == 1, "no request named them"
        log.forget_open()

        await broker.publish(Planned("good", "c", b"k", b"{}").message(topics, time.time()))
        log.sent(Planned("good", "c", b"k", b"{}"))
        assert await final_lag(kafka, unique, topics.requests, 2) == 1
        await faults.remake_topics()
        assert log.open == 0
        assert await broker.partitions(topics.requests) == 2
        assert await final_lag(kafka, unique, topics.requests, 2) == 0
