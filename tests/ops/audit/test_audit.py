"""The auditor: its report on topics in every state, on both brokers, and how it continues after an interruption."""

import json
from collections.abc import AsyncIterator
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.open_files import has_proc, open_files_in

from inferstream.pipeline.broker.base import Broker, Headers, Message, Record, TopicPartition, TopicSpec
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.broker.kafka.broker import KafkaBroker
from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.config import KafkaConfig
from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.ops.audit.auditor import audit
from inferstream.pipeline.ops.audit.facts import Audited, EventFact, RequestFact
from inferstream.pipeline.ops.audit.order import out_of_order
from inferstream.pipeline.ops.audit.report import AuditReport
from inferstream.pipeline.ops.audit.work_file import OrderedReply, WorkFile
from inferstream.pipeline.ops.scan import Scan, end_offsets
from inferstream.schemas.cancels import Cancel, Heartbeat
from inferstream.schemas.codec import encode
from inferstream.schemas.messages import Chunk, Failure, Request, Result
from inferstream.schemas.topics import ANY_ORDER, Header, Topics, origin

NOW_S = 10_000.0
FAR_MS = 1 << 49
ANY = (Header.ORDER, ANY_ORDER)
OUTPUT = msgspec.Raw(b"{}")


class Writer:
    """Publishes records to the topics of one task, each durable before the next."""

    def __init__(self, broker: Broker, topics: Topics, clock: FakeClock) -> None:
        self.broker = broker
        self.topics = topics
        self.asked = 0
        self.clock = clock

    async def put(
        self, topic: str, value: bytes, key: bytes | None = None, headers: Headers = (), partition: int = 0
    ) -> None:
        await self.broker.publish(Message(topic, value, key, headers, partition))

    async def ask(self, identity: str | None, *headers: tuple[str, bytes], key: bytes | None = None) -> str:
        """Publish a request; its origin."""
        await self.put(self.topics.requests, encode(Request("a text", id=identity)), key, headers)
        self.asked += 1
        return origin(self.topics.requests, 0, self.asked - 1)

    async def answer(self, *identities: str, topic: str | None = None, partition: int = 0) -> None:
        for identity in identities:
            result = Result(identity, "triage", "m", "1", OUTPUT)
            await self.put(topic or self.topics.replies, encode(result), partition=partition)

    async def tell(self, identity: str, *seqs: int) -> None:
        """Publish chunks with these numbers."""
        for seq in seqs:
            chunk = Chunk(identity, seq, "triage", "m", "1", from_=seq, output=OUTPUT)
            await self.put(self.topics.replies, encode(chunk))

    async def tell_pieces(self, identity: str, *told: tuple[int, int, int, str]) -> None:
        """Publish chunks of an epoch, each as (epoch, seq, from, characters); without characters it is a mark."""
        for epoch, seq, start, characters in told:
            pieces = msgspec.Raw(msgspec.json.encode(list(characters)))
            chunk = Chunk(identity, seq, "triage", "m", "1", start, pieces, epoch)
            await self.put(self.topics.replies, encode(chunk))

    async def fail(self, identity: str, code: str) -> None:
        await self.put(self.topics.replies, encode(Failure(identity, "triage", code, "because")))

    async def bury(self, identity: str | None, code: str, *headers: tuple[str, bytes]) -> None:
        body = encode(Request("a text", id=identity))
        await self.put(self.topics.dead_letters, body, None, (*headers, (Header.ERROR_CODE, code.encode())))

    async def judge(self, **how: Any) -> AuditReport:
        audited = Audited(self.topics, ["1s", "30s"], how.pop("more_replies", ()))
        return await audit(self.broker, audited, clock=how.pop("clock", lambda: NOW_S), **how)


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
async def writer(
    request: pytest.FixtureRequest, unique: str, tmp_path: Path, clock: FakeClock
) -> AsyncIterator[Writer]:
    broker: Broker
    if request.param == "kafka":
        broker = KafkaBroker(KafkaConfig(bootstrap=request.getfixturevalue("kafka")))
    else:
        broker = EmbeddedBroker(tmp_path / "queue", clock_ms=lambda: round(clock() * 1e3))
    topics = Topics("triage", unique)
    names = (topics.requests, topics.replies, topics.cancels, topics.dead_letters, topics.retry("1s"))
    async with broker:
        await broker.ensure_topics([TopicSpec(name, 2) for name in names])
        yield Writer(broker, topics, clock)


@pytest.fixture
async def local(unique: str, tmp_path: Path, clock: FakeClock) -> AsyncIterator[Writer]:
    """On the embedded broker alone, where record timestamps come from the clock."""
    topics = Topics("triage", unique)
    async with EmbeddedBroker(tmp_path / "queue", clock_ms=lambda: round(clock() * 1e3)) as broker:
        names = (topics.requests, topics.replies, topics.dead_letters, topics.retry("1s"), "elsewhere")
        await broker.ensure_topics([TopicSpec(name, 2) for name in names])
        yield Writer(broker, topics, clock)


async def test_each_way_to_end_is_counted_and_is_clean(writer: Writer) -> None:
    for identity in ("a", "b", "c", "d"):
        await writer.ask(identity)
    place = await writer.ask(None)
    await writer.answer("a", place)
    await writer.fail("b", "deadline_exceeded")
    await writer.fail("c", "device_error")
    await writer.bury("c", "device_error")
    await writer.bury("d", "reply_topic_not_allowed")
    report = await writer.judge()
    assert (report.requests, report.results, report.expired, report.dead_letters) == (5, 2, 1, 1)
    assert report.failures == {"device_error": 1}
    assert (report.kept, report.missing, report.duplicated, report.unknown) == (1, 0, 0, 0)
    assert not report.lost
    assert not report.repeated
    assert report.oldest_open is None


async def test_requests_without_a_terminal_event_are_missing(writer: Writer) -> None:
    for identity in ("a", "b", "c"):
        await writer.ask(identity)
    await writer.answer("b")
    report = await writer.judge(clock=lambda: FAR_MS / 1e3)
    assert (report.missing, report.examples["missing"]) == (2, ["a", "c"])
    assert report.oldest_open is not None
    assert report.oldest_open.id == "a"
    assert report.lost


async def test_duplicates_are_reported_and_are_no_loss(writer: Writer) -> None:
    for identity in ("a", "b", "c"):
        await writer.ask(identity)
    await writer.answer("a", "b", "b", "c")
    await writer.fail("c", "deadline_exceeded")
    report = await writer.judge()
    assert (report.results, report.duplicated, report.contradictory) == (3, 2, 1)
    assert report.examples == {"duplicated": ["b", "c"]}
    assert not report.lost
    assert report.repeated


async def test_cancels_are_counted_and_those_that_came_too_late(writer: Writer) -> None:
    for identity in ("a", "b", "c", "leased", "d"):
        await writer.ask(identity)
    place = await writer.ask(None)
    for identity in ("a", "a", "b", "c", place, "unknown"):
        await writer.put(writer.topics.cancels, encode(Cancel(identity)))
    await writer.put(writer.topics.cancels, encode(Heartbeat("client-1")))
    await writer.put(writer.topics.cancels, b"no cancel")
    await writer.fail("a", "cancelled")
    await writer.fail("b", "superseded")
    await writer.fail("leased", "cancelled")
    await writer.fail(place, "cancelled")
    await writer.answer("c", "d")
    report = await writer.judge()
    assert (report.cancels, report.cancelled, report.late_cancels) == (4, 4, 1)
    assert report.superseded == 1
    assert report.failures == {"cancelled": 3, "superseded": 1}
    assert (report.requests, report.results, report.missing, report.unknown) == (6, 2, 0, 0)
    assert not report.lost
    assert not report.repeated


async def test_a_request_that_was_answered_and_cancelled_is_contradictory(writer: Writer) -> None:
    await writer.ask("a")
    await writer.put(writer.topics.cancels, encode(Cancel("a")))
    await writer.answer("a")
    await writer.fail("a", "cancelled")
    report = await writer.judge()
    assert (report.duplicated, report.contradictory, report.late_cancels) == (1, 1, 0)
    assert report.examples == {"duplicated": ["a"]}
    assert report.repeated


async def test_order_per_key_is_that_of_first_replies(writer: Writer) -> None:
    for identity, key in [("a", b"k"), ("x", b"other"), ("b", b"k"), ("c", b"k")]:
        await writer.ask(identity, key=key)
    await writer.answer("a", "c", "x", "b", "c")
    report = await writer.judge()
    assert (report.out_of_order, report.examples["out_of_order"]) == (1, ["c"])
    assert report.lost


async def test_a_redelivery_in_order_is_in_order(writer: Writer) -> None:
    for identity in ("a", "b", "a"):
        await writer.ask(identity, key=b"k")
    await writer.answer("a", "b", "a", "b", "a")
    report = await writer.judge()
    assert (report.out_of_order, report.duplicated, report.repeats) == (0, 2, 1)


@pytest.mark.parametrize(("key", "headers"), [(None, ()), (b"k", (ANY,))])
async def test_requests_without_an_order_are_not_checked_for_order(
    local: Writer, key: bytes | None, headers: Headers
) -> None:
    for identity in ("a", "b"):
        await local.ask(identity, *headers, key=key)
    await local.answer("b", "a")
    assert not (await local.judge()).lost


async def test_replies_in_different_partitions_have_no_order(local: Writer) -> None:
    for identity in ("a", "b"):
        await local.ask(identity, key=b"k")
    await local.answer("b", partition=1)
    await local.answer("a")
    assert not (await local.judge()).lost


async def test_a_request_on_a_retry_topic_is_open_and_its_return_is_no_new_request(writer: Writer) -> None:
    place = await writer.ask("a")
    moved = ((Header.ORIGIN, place.encode()), (Header.ATTEMPT, b"2"))
    body = encode(Request("a text", id="a"))
    due = (Header.NOT_BEFORE_MS, b"%d" % FAR_MS)
    await writer.put(writer.topics.retry("1s"), body, None, (*moved, due))
    waiting = await writer.judge(clock=lambda: FAR_MS / 1e3 - 1)
    assert (waiting.requests, waiting.missing, waiting.open) == (1, 0, 1)
    late = await writer.judge(clock=lambda: FAR_MS / 1e3 + 30)
    assert (late.missing, late.open) == (1, 0)
    patient = await writer.judge(clock=lambda: FAR_MS / 1e3 + 30, grace_ms=60_000)
    assert (patient.missing, patient.open) == (0, 1)
    await writer.put(writer.topics.requests, body, None, moved)
    await writer.answer("a")
    report = await writer.judge()
    assert (report.requests, report.results, report.retried, report.repeats) == (1, 1, 1, 0)
    assert not report.lost
    assert not report.repeated


async def test_a_replay_must_have_one_more_terminal_event(writer: Writer) -> None:
    place = await writer.ask(None)
    await writer.fail(place, "device_error")
    await writer.bury(None, "device_error", (Header.ORIGIN, place.encode()))
    await writer.ask(None, (Header.ORIGIN, place.encode()))
    half = await writer.judge(clock=lambda: FAR_MS / 1e3)
    assert (half.requests, half.replayed, half.missing, half.missing_repeats) == (1, 1, 0, 1)
    assert half.lost
    await writer.answer(place)
    report = await writer.judge()
    assert (report.requests, report.replayed, report.duplicated, report.missing_repeats) == (1, 1, 0, 0)
    assert not report.lost


async def test_an_id_that_was_sent_twice_is_one_request_with_two_ends(writer: Writer) -> None:
    for identity in ("a", "a", "b", "b"):
        await writer.ask(identity)
    await writer.answer("a", "a", "b")
    report = await writer.judge(clock=lambda: FAR_MS / 1e3)
    assert (report.requests, report.repeats, report.duplicated) == (2, 2, 0)
    assert (report.missing, report.missing_repeats, report.examples["missing"]) == (0, 1, ["b"])
    assert report.lost


async def test_a_reply_under_the_origin_belongs_to_a_request_with_an_id(writer: Writer) -> None:
    large = await writer.ask("large")
    other = await writer.ask("other")
    await writer.fail(large, "too_large")
    notice = ((Header.ORIGIN, other.encode()), (Header.ERROR_CODE, b"device_error"))
    await writer.put(writer.topics.dead_letters, b"", None, notice)
    report = await writer.judge()
    assert (report.requests, report.failures, report.dead_letters) == (2, {"too_large": 1}, 1)
    assert (report.missing, report.unknown) == (0, 0)


async def test_garbage_on_any_topic_is_counted(writer: Writer) -> None:
    garbage = b'\xff{"id":'
    for topic in (writer.topics.requests, writer.topics.replies, writer.topics.dead_letters):
        await writer.put(topic, garbage)
    await writer.answer(origin(writer.topics.requests, 0, 0), "nobody", "a/b/c", "/1/2")
    report = await writer.judge()
    assert (report.requests, report.results, report.unreadable) == (1, 1, 1)
    assert report.unknown == 4
    assert not report.lost


async def test_requests_with_an_unread_reply_topic_are_not_clean(local: Writer) -> None:
    await local.ask("a", (Header.REPLY_TOPIC, b"elsewhere"))
    await local.ask("b", (Header.REPLY_TOPIC, local.topics.replies.encode()))
    await local.answer("a", topic="elsewhere")
    await local.answer("b")
    report = await local.judge()
    assert (report.elsewhere, report.unread_topics, report.missing) == (1, ["elsewhere"], 0)
    assert report.lost
    assert not (await local.judge(more_replies=["elsewhere"])).lost


async def test_the_time_range_applies_to_the_requests(local: Writer) -> None:
    began_ms = round(local.clock() * 1e3)
    for identity in ("a", "b", "c"):
        await local.ask(identity, key=b"k")
        local.clock.advance(1)
    await local.answer("c", "b")
    report = await local.judge(since_ms=began_ms + 2_000, until_ms=began_ms + 3_000)
    assert (report.requests, report.results, report.missing, report.out_of_order) == (1, 1, 0, 1)
    report = await local.judge(until_ms=began_ms + 1_000)
    assert (report.requests, report.missing, report.out_of_order) == (1, 1, 0)
    assert report.oldest_open is not None
    assert report.oldest_open.age_s == NOW_S - began_ms / 1e3


def test_a_seq_that_is_too_large_for_sqlite_is_limited() -> None:
    body = b'{"type":"result","id":"a","task":"t","model":"m","version":"1","output":{},"seq":%d}' % (1 << 80)
    fact = AUDITED.fact(Record(AUDITED.topics.replies, 0, 7, None, body, (), 0))
    assert isinstance(fact, EventFact)
    assert fact.number < 1 << 63


async def test_chunks_are_no_terminal_events_and_may_be_repeated(local: Writer) -> None:
    await local.ask("a")
    await local.tell("a", 0, 1, 1)
    assert (await local.judge()).missing == 1
    await local.answer("a")
    report = await local.judge()
    assert (report.results, report.duplicated, report.duplicated_chunks, report.chunks) == (1, 0, 1, 3)
    assert not report.lost


@pytest.mark.parametrize("end", ["", "result"])
async def test_a_chunk_behind_the_end_is_found(writer: Writer, end: str) -> None:
    """Not if another end follows: a worker was killed before it had committed, and the next one told it again."""
    await writer.ask("a", key=b"k")
    await writer.tell("a", 0, 1)
    await writer.answer("a")
    await writer.tell("a", 0)
    if end:
        await writer.answer("a")
    report = await writer.judge(clock=lambda: FAR_MS / 1e3)
    assert (report.late_chunks, report.lost, report.repeated) == (0 if end else 1, False, True)
    assert report.examples.get("late_chunks", []) == ([] if end else ["a"])


async def test_a_repetition_that_is_being_told_is_not_late(local: Writer) -> None:
    await local.ask("a")
    await local.answer("a")
    await local.tell("a", 0)
    now_s = local.clock()
    assert (await local.judge(clock=lambda: now_s + 30, grace_ms=60_000)).late_chunks == 0
    assert (await local.judge(clock=lambda: now_s + 90, grace_ms=60_000)).late_chunks == 1


TOLD = {
    "in order": ([0, 1, 2], False),
    "again by the next worker": ([0, 1, 2, 0, 1, 2, 3], False),
    "by two workers at once": ([0, 1, 0, 2, 1, 3, 2, 3], False),
    "the first one missing": ([1], True),
    "one missing": ([0, 2], True),
    "out of order": ([0, 2, 1], True),
}


@pytest.mark.parametrize("order", TOLD)
async def test_a_chunk_that_is_missing_or_out_of_order_is_found(local: Writer, order: str) -> None:
    await local.ask("a", key=b"k")
    seqs, is_torn = TOLD[order]
    await local.tell("a", *seqs)
    await local.answer("a")
    report = await local.judge()
    assert (report.torn, report.lost, report.results) == (is_torn, is_torn, 1)
    assert report.examples.get("torn", []) == (["a"] if is_torn else [])


RESUMED: dict[str, tuple[list[tuple[int, int, int, str]], tuple[int, int, int, int, int]]] = {
    # (resumed, torn, outdated, repeated pieces, chunks)
    "one worker": ([(1, 0, 0, "ab"), (1, 1, 2, "c")], (0, 0, 0, 0, 2)),
    "another one goes on": ([(1, 0, 0, "ab"), (2, 1, 2, ""), (2, 2, 2, "cd")], (1, 0, 0, 0, 2)),
    "with what was begun by none": ([(2, 0, 0, ""), (2, 1, 0, "ab")], (0, 0, 0, 0, 1)),
    "from the first piece again": ([(1, 0, 0, "abc"), (2, 0, 0, ""), (2, 1, 0, "abcd")], (1, 0, 0, 3, 2)),
    "with other pieces": ([(1, 0, 0, "abc"), (2, 0, 0, ""), (2, 1, 0, "axcd")], (1, 1, 0, 3, 2)),
    "behind a gap": ([(1, 0, 0, "ab"), (2, 1, 2, ""), (2, 2, 3, "de")], (1, 1, 0, 0, 2)),
    "while the other one goes on": (
        [(1, 0, 0, "ab"), (2, 1, 2, ""), (1, 1, 2, "xy"), (2, 2, 2, "cd"), (1, 2, 4, "z")],
        (1, 0, 2, 0, 2),
    ),
}


@pytest.mark.parametrize("case", RESUMED)
async def test_pieces_are_joined_over_the_workers_that_tell_them(local: Writer, case: str) -> None:
    await local.ask("a", key=b"k")
    told, expected = RESUMED[case]
    await local.tell_pieces("a", *told)
    await local.answer("a")
    report = await local.judge()
    found = (report.resumed, report.torn, report.outdated_chunks, report.repeated_pieces, report.chunks)
    assert found == expected
    assert report.late_chunks == 0


async def test_a_mark_may_come_before_the_end_of_an_earlier_request_of_the_key(writer: Writer) -> None:
    """It shows nothing."""
    for identity in ("a", "b"):
        await writer.ask(identity, key=b"k")
    await writer.tell_pieces("b", (2, 0, 0, ""))
    await writer.answer("a", "b")
    assert (await writer.judge()).out_of_order == 0


async def test_chunks_of_a_later_request_wait_for_the_end_of_the_earlier_one(writer: Writer) -> None:
    for identity in ("a", "b", "c"):
        await writer.ask(identity, key=b"k")
    await writer.tell("a", 0)
    await writer.tell("b", 0)
    await writer.answer("a", "b")
    await writer.tell("c", 0)
    await writer.answer("c")
    report = await writer.judge()
    assert (report.out_of_order, report.examples["out_of_order"]) == (1, ["b"])


async def test_chunks_of_a_request_that_never_ends_are_found(local: Writer) -> None:
    await local.ask("a")
    await local.tell("a", 0)
    await local.tell("nobody", 0)
    report = await local.judge(clock=lambda: FAR_MS / 1e3)
    assert (report.missing, report.unknown, report.late_chunks) == (1, 1, 0)


async def test_an_interrupted_audit_continues(writer: Writer, tmp_path: Path) -> None:
    for number in range(20):
        await writer.ask(f"{number}")
        await writer.answer(f"{number}")
    work, seen = tmp_path / "work", list[tuple[int, int]]()

    def interrupt(done: int, total: int) -> None:
        seen.append((done, total))
        if done:
            raise KeyboardInterrupt

    try:
        await writer.judge(work=work, progress=interrupt)
        pytest.fail("was not interrupted")
    except KeyboardInterrupt:
        pass
    rest: list[tuple[int, int]] = []
    report = await writer.judge(work=work, progress=lambda *how_far: rest.append(how_far))
    assert rest[0] == (0, 40 - seen[-1][0])
    assert (report.requests, report.results, report.duplicated) == (20, 20, 0)
    await writer.ask("more")
    later = {"clock": lambda: FAR_MS / 1e3, "progress": lambda *how_far: rest.append(how_far)}
    report = await writer.judge(work=work, **later)
    assert rest[-1] == (1, 1)
    assert (report.requests, report.results, report.missing) == (21, 20, 1)


async def test_a_topic_that_was_created_again_is_an_error(local: Writer, tmp_path: Path, unique: str) -> None:
    await local.ask("a")
    work = tmp_path / "work"
    await local.judge(work=work)
    async with EmbeddedBroker(tmp_path / "anew") as broker:
        await broker.ensure_topics([TopicSpec(local.topics.requests, 2)])
        with pytest.raises(UsageError, match="was deleted and created again"):
            await audit(broker, Audited(local.topics), work=work, clock=lambda: NOW_S)


async def test_another_file_is_rejected_and_not_changed(local: Writer, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.write_text("my notes")
    with pytest.raises(UsageError, match="is not the work file of an audit"):
        await local.judge(work=work)
    assert work.read_text() == "my notes"


async def test_a_work_file_belongs_to_one_task_and_one_audit(local: Writer, tmp_path: Path) -> None:
    work = tmp_path / "work"
    with WorkFile(work, "another"), pytest.raises(UsageError, match="locked"):
        await local.judge(work=work)
    with pytest.raises(UsageError, match="is the work file of an audit of another"):
        await local.judge(work=work)


@has_proc
def test_a_work_file_that_is_refused_is_closed(tmp_path: Path) -> None:
    work, notes = tmp_path / "work", tmp_path / "notes"
    notes.write_text("my notes")
    with WorkFile(work, "one"):
        pass
    for path in (work, notes):
        with pytest.raises(UsageError) as refused:
            WorkFile(path, "another")
        assert refused.tb is not None, "it keeps the work file alive"
        assert open_files_in(tmp_path) == []


async def test_missing_topics_are_named(local: Writer) -> None:
    with pytest.raises(UsageError, match="no reply topic misspelt"):
        await local.judge(more_replies=["misspelt"])
    with pytest.raises(UsageError, match=r"There is no topic nothing\.triage\.requests"):
        await audit(local.broker, Audited(Topics("triage", "nothing")), clock=lambda: NOW_S)


async def test_an_audit_of_one_run_counts_its_ids_from_its_starts_on(local: Writer) -> None:
    audited = Audited(local.topics, ["1s"], id_prefix="run-")
    await local.ask("run-0")
    await local.answer("run-0")
    starts = await end_offsets(local.broker, audited.names)
    for identity in ("run-1", "run-2", "run-3", "run-4", "other-1"):
        await local.ask(identity)
    await local.answer("run-1", "run-2", "run-2")
    await local.fail("run-3", "device_error")
    await local.put(local.topics.replies, b"garbage")
    report = await audit(local.broker, audited, starts=starts, clock=lambda: FAR_MS / 1e3)
    assert (report.requests, report.results, report.failures.total()) == (4, 2, 1)
    assert (report.unended, report.duplicated, report.unreadable) == (1, 1, 0)


async def test_records_that_retention_deleted_are_not_waited_for(tmp_path: Path) -> None:
    async with EmbeddedBroker(tmp_path) as broker:
        await broker.ensure_topics([TopicSpec("t", 2)])
        for number in range(4):
            await broker.publish(Message("t", b"%d" % number, partition=number % 2))
        await broker.trim({TopicPartition("t", 0): 2, TopicPartition("t", 1): 1})
        async with Scan.open(broker, ["t", "missing"], silence_ms=1_000_000) as scan:
            found = [record.value async for records in scan.batches() for record in records]
            assert found == [b"3"]
            assert scan.done == scan.total == 1


async def test_requests_that_retention_has_deleted_are_counted(local: Writer) -> None:
    """Otherwise the audit of a topic whose requests are all gone says: 0 requests, nothing missing."""
    for identity in ("a", "b"):
        await local.ask(identity)
    assert isinstance(local.broker, EmbeddedBroker)
    await local.broker.trim({TopicPartition(local.topics.requests, 0): 2})
    report = await local.judge()
    assert (report.requests, report.deleted) == (0, 2)


async def test_records_that_retention_deletes_during_the_scan_do_not_block_it(tmp_path: Path) -> None:
    async with EmbeddedBroker(tmp_path) as broker:
        await broker.ensure_topics([TopicSpec("t", 1)])
        await broker.publish(Message("t", b"0"))
        async with Scan.open(broker, ["t"], silence_ms=20) as scan:
            await broker.trim({TopicPartition("t", 0): 1})
            assert [records async for records in scan.batches()] == []
            assert scan.done == scan.total == 1


async def test_records_after_the_ends_of_the_scan_are_not_read(tmp_path: Path) -> None:
    async with EmbeddedBroker(tmp_path) as broker:
        await broker.ensure_topics([TopicSpec("t", 2)])
        for number in range(6):
            await broker.publish(Message("t", b"%d" % number, partition=number % 2))
        consumer = await broker.consume(["t"])
        scan = Scan(consumer, {}, {TopicPartition("t", 1): 2})  # as if partition 0 had been added since
        assert [record.value async for records in scan.batches() for record in records] == [b"1", b"3"]
        assert scan.done == scan.total == 2


def test_the_first_reply_is_the_first_by_offset_and_not_by_time() -> None:
    def replied(position: int, offset: int, at_ms: int) -> OrderedReply:
        return OrderedReply(0, b"k", position, "", 0, 0, offset, at_ms)

    redelivered = [replied(1, 0, 20_000), replied(1, 2, 14_000), replied(2, 1, 20_001)]
    assert list(out_of_order(redelivered)) == []
    assert list(out_of_order([replied(1, 1, 14_000), replied(2, 0, 20_000)])) == [replied(2, 0, 20_000)]


ORDERED = st.tuples(st.integers(0, 2), st.integers(0, 5), st.integers(0, 3), st.integers(0, 1), st.booleans())


@given(st.lists(ORDERED))
def test_out_of_order_agrees_with_a_plain_recount(drawn: list[tuple[int, int, int, int, bool]]) -> None:
    """Replies to requests (key, position) at (time, partition, whether it ends); offsets are places in the list."""
    replies = [
        OrderedReply(0, b"%d" % key, position, "", 0, partition, place, at, ends)
        for place, (key, position, at, partition, ends) in enumerate(drawn)
    ]
    replies.sort(key=lambda reply: (reply.key, reply.position))
    early = {(reply.key, reply.position) for reply in out_of_order(replies)}
    firsts: dict[tuple[bytes, int], OrderedReply] = {}
    ends: dict[tuple[bytes, int], int] = {}
    for (key, position), same in groupby(replies, lambda reply: (reply.key, reply.position)):
        known = list(same)
        where = min(known, key=lambda reply: reply.reply_timestamp_ms).reply_source
        there = sorted(
            (reply for reply in known if reply.reply_source == where), key=lambda reply: reply.reply_position
        )
        firsts[key, position] = there[0]
        ends[key, position] = next((reply for reply in there if reply.ends), there[-1]).reply_position
    expected = {
        (key, position)
        for (key, position), reply in firsts.items()
        for (other_key, other_position), other in firsts.items()
        if other_key == key and other_position < position and other.reply_source == reply.reply_source
        if ends[other_key, other_position] > reply.reply_position
    }
    assert early == expected


HEADER = st.tuples(
    st.sampled_from(["reply-topic", "order", "attempt", "origin", "error-code", "not-before-ms"]), st.binary()
)
AUDITED = Audited(Topics("t"), ["1s"])


@given(
    st.sampled_from(AUDITED.names),
    st.one_of(
        st.binary(),
        st.builds(
            lambda value: json.dumps(value).encode(),
            st.recursive(
                st.none() | st.text() | st.integers(),
                lambda inner: st.dictionaries(st.sampled_from(["id", "text", "type"]), inner),
            ),
        ),
    ),
    st.lists(HEADER),
)
def test_any_record_gives_a_fact(topic: str, value: bytes, headers: list[tuple[str, bytes]]) -> None:
    fact = AUDITED.fact(Record(topic, 0, 7, b"key", value, tuple(headers), 0))
    assert isinstance(fact, RequestFact) == (topic == AUDITED.topics.requests)
    if isinstance(fact, EventFact):
        assert 0 <= fact.number < 1 << 63
    if fact is None:
        assert topic == AUDITED.topics.cancels
    else:
        fact.identity.encode()
