"""The worker over the embedded broker: nothing lost, order per key, a prefix committed, an end within its limit."""

import asyncio
import gc
import logging
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any, NamedTuple

import pytest
from support.engine_rig import an_engine_rig
from support.handler_rig import LIMITS, TOPICS, handler_over

from inferstream.pipeline.broker.base import Message, Record, TopicPartition, TopicSpec
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.config import BreakerConfig, WindowConfig
from inferstream.pipeline.delivery.breaker import Breaker
from inferstream.pipeline.delivery.outcome import Outcome
from inferstream.pipeline.delivery.slots import Slot
from inferstream.pipeline.delivery.window import Window
from inferstream.pipeline.delivery.worker import MAX_POLL_RECORDS, Subscription, Worker
from inferstream.pipeline.errors import BrokerError
from inferstream.schemas.codec import decode_reply

REQUESTS, REPLIES, GROUP = "requests", "replies", "workers"
PARTITIONS = 4
P0 = TopicPartition(REQUESTS, 0)
ALL = [TopicPartition(REQUESTS, number) for number in range(PARTITIONS)]
CONFIG = WindowConfig(commit_interval_ms=10, revoke_timeout_ms=5_000, drain_timeout_ms=5_000)


class FakeHandler:
    """Answers with the request. Holds the requests ``held``, and takes a random number of turns for the others."""

    def __init__(self, *held: bytes, reply_topic: str = REPLIES) -> None:
        self.held = {value: asyncio.Event() for value in held}
        self.begun: set[bytes] = set()
        self.changed = asyncio.Condition()
        self._turns = Random(7)
        self._topic = reply_topic

    def handle(self, record: Record, slot: Slot) -> Outcome | Coroutine[Any, Any, Outcome]:
        assert record.value is not None
        if record.value.startswith(b"at once"):
            return self.outcome(record)
        return self.answer(record, record.value)

    def outcome(self, record: Record) -> Outcome:
        assert record.value is not None
        return Outcome((Message(self._topic, record.value, record.key),))

    async def answer(self, record: Record, value: bytes) -> Outcome:
        async with self.changed:
            self.begun.add(value)
            self.changed.notify_all()
        if value in self.held:
            await self.held[value].wait()
        for _ in range(self._turns.randrange(6)):
            await asyncio.sleep(0)
        return self.outcome(record)

    async def wait_for(self, *values: bytes) -> None:
        async with self.changed, asyncio.timeout(10):
            await self.changed.wait_for(lambda: self.begun.issuperset(values))


@pytest.fixture
async def broker() -> AsyncIterator[EmbeddedBroker]:
    async with EmbeddedBroker() as opened:
        await opened.ensure_topics([TopicSpec(REQUESTS, PARTITIONS), TopicSpec(REPLIES, PARTITIONS)])
        yield opened


async def ask(
    broker: EmbeddedBroker, *values: bytes, key: bytes | None = None, partition: int | None = None
) -> None:
    await asyncio.gather(*(broker.publish(Message(REQUESTS, value, key, (), partition)) for value in values))


def a_worker(
    broker: EmbeddedBroker, handler: FakeHandler, config: WindowConfig = CONFIG, **more: Any
) -> Worker:
    window = Window(config, broker.publish)
    return Worker(broker, handler, window, Subscription([REQUESTS], GROUP), **more)


@asynccontextmanager
async def running(worker: Worker) -> AsyncIterator["asyncio.Task[None]"]:
    """The worker, running; drained at the end."""
    async with asyncio.timeout(20):
        task = asyncio.create_task(worker.run())
        await until(lambda: worker.ready or task.done())
        try:
            yield task
        finally:
            worker.drain()
            await asyncio.wait([task])
    task.result()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the worker has no event for each thing a test looks at
            await asyncio.sleep(0.002)


async def replies(broker: EmbeddedBroker, count: int) -> list[Record]:
    """All replies, once there are ``count`` of them."""
    reader = await broker.consume([REPLIES])
    found: list[Record] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            found += await reader.poll(10_000, 100)
        found += await reader.poll(10_000, 0)
    await reader.close()
    return found


async def committed(broker: EmbeddedBroker) -> dict[TopicPartition, int]:
    """The committed offsets, read when no worker is left."""
    member = await broker.consume([REQUESTS], group=GROUP)
    offsets = await member.committed(ALL)
    await member.close()
    return {at: offset or 0 for at, offset in offsets.items()}


async def ends(broker: EmbeddedBroker) -> Mapping[TopicPartition, int]:
    reader = await broker.consume([REQUESTS])
    offsets = await reader.end_offsets(ALL)
    await reader.close()
    return offsets


def numbered(count: int) -> list[bytes]:
    return [b"%04d" % n for n in range(count)]


async def ask_by_key(broker: EmbeddedBroker, values: list[bytes], keys: int) -> None:
    await asyncio.gather(
        *(broker.publish(Message(REQUESTS, value, b"key %d" % (int(value) % keys))) for value in values)
    )


def in_order_per_key(found: list[Record]) -> bool:
    by_key: dict[bytes | None, list[bytes]] = defaultdict(list)
    for record in found:
        by_key[record.key].append(record.value or b"")
    return all(values == sorted(values) for values in by_key.values())


async def test_all_are_answered_once_in_order_and_committed(broker: EmbeddedBroker) -> None:
    values = numbered(500)
    await ask_by_key(broker, values[:250], 20)
    worker = a_worker(broker, FakeHandler())
    async with running(worker):
        await ask_by_key(broker, values[250:], 20)
        found = await replies(broker, 500)
    assert Counter(record.value for record in found) == Counter(values)
    assert in_order_per_key(found)
    assert await committed(broker) == await ends(broker)
    assert (worker.window.terminal_events, worker.window.running, worker.ready) == (500, 0, False)


async def test_the_real_handler_answers_good_and_bad_requests(broker: EmbeddedBroker) -> None:
    await broker.ensure_topics(
        [TopicSpec(name, 2) for name in (TOPICS.requests, TOPICS.replies, TOPICS.dead_letters)]
    )
    bodies = [b'{"id":"%d","text":"text %d"}' % (n, n % 7) for n in range(60)] + [b"bad", b"", b'{"text":7}']
    async with an_engine_rig() as rig:
        handler = handler_over(rig.engine, limits=LIMITS, partitions=broker.partitions)
        window = Window(CONFIG, broker.publish)
        worker = Worker(broker, handler, window, Subscription([TOPICS.requests], GROUP), [rig.engine.watch])
        async with running(worker):
            await asyncio.gather(*(broker.publish(Message(TOPICS.requests, body)) for body in bodies))
            await until(lambda: worker.window.terminal_events == 63)
    reader = await broker.consume([TOPICS.replies])
    found = [decode_reply(record.value) for record in await reader.poll(100, 0)]
    assert Counter(reply.__class__.__name__ for reply in found) == {"Result": 60, "Failure": 3}
    assert {reply.id for reply in found} >= {str(n) for n in range(60)}


async def test_draining_finishes_what_runs(broker: EmbeddedBroker) -> None:
    handler = FakeHandler(b"slow")
    worker = a_worker(broker, handler)
    await ask(broker, b"slow", b"next", partition=0)
    async with running(worker) as task:
        await handler.wait_for(b"slow")
        worker.drain()
        assert not worker.ready
        assert not task.done()
        handler.held[b"slow"].set()
        await task
    assert {record.value for record in await replies(broker, 2)} == {b"slow", b"next"}
    assert (await committed(broker))[P0] == 2


async def test_a_worker_that_drains_reads_nothing_more(broker: EmbeddedBroker) -> None:
    """It goes on to poll, else it would lose its membership; what such a poll returned, nobody would answer."""
    handler = FakeHandler(b"slow")
    worker = a_worker(broker, handler)
    await ask(broker, b"slow", partition=0)
    async with running(worker):
        await handler.wait_for(b"slow")
        assert worker.consumer is not None
        poll = worker.consumer.poll
        polls = 0
        read: list[Record] = []

        async def noted(max_records: int, timeout_ms: int) -> list[Record]:
            nonlocal polls
            polls += 1
            found = list(await poll(max_records, timeout_ms))
            read.extend(found)
            return found

        worker.drain()
        worker.consumer.poll = noted  # type: ignore[assignment, method-assign]
        await until(lambda: polls >= 2)
        await ask(broker, *numbered(3), partition=0)
        await until(lambda: polls >= 5 or bool(read))
        assert read == []
        handler.held[b"slow"].set()
    assert (await committed(broker))[P0] == 1


async def test_a_request_that_is_not_finished_in_time_is_left_to_the_next_worker(
    broker: EmbeddedBroker,
) -> None:
    handler = FakeHandler(b"stuck")
    worker = a_worker(broker, handler, WindowConfig(commit_interval_ms=10, drain_timeout_ms=50))
    await ask(broker, b"0", b"stuck", b"2", partition=0)
    async with running(worker):
        await replies(broker, 2)
    assert (await committed(broker))[P0] == 1, "only the records before the unfinished one"
    async with running(a_worker(broker, FakeHandler())):
        found = await replies(broker, 4)
    assert Counter(record.value for record in found) == {b"0": 1, b"stuck": 1, b"2": 2}
    assert (await committed(broker))[P0] == 3


async def test_a_worker_that_is_cut_off_leaves_nothing_unanswered(broker: EmbeddedBroker) -> None:
    values = numbered(200)
    await ask_by_key(broker, values, 20)
    handler = FakeHandler(values[150])
    cut_off = asyncio.create_task(a_worker(broker, handler).run())
    await handler.wait_for(values[150])
    cut_off.cancel()
    await asyncio.wait([cut_off])
    worker = a_worker(broker, FakeHandler())
    async with running(worker):
        await until(lambda: worker.window.terminal_events > 0)
    assert {record.value for record in await replies(broker, 200)} == set(values)
    assert await committed(broker) == await ends(broker)


async def test_two_members_share_and_one_leaves(broker: EmbeddedBroker) -> None:
    values = numbered(600)
    first, second = a_worker(broker, FakeHandler()), a_worker(broker, FakeHandler())
    async with running(first):
        await ask_by_key(broker, values[:200], 20)
        async with running(second):
            await ask_by_key(broker, values[200:400], 20)
            await until(lambda: first.window.terminal_events + second.window.terminal_events >= 400)
            assert second.window.terminal_events > 0, "both answer requests"
            shares = [worker.consumer.assignment() for worker in (first, second) if worker.consumer]
            assert [len(share) for share in shares] == [2, 2]
        await ask_by_key(broker, values[400:], 20)
        found = await replies(broker, 600)
    assert Counter(record.value for record in found) == Counter(values), "a clean handover repeats nothing"
    assert in_order_per_key(found)
    assert await committed(broker) == await ends(broker)


async def test_a_handover_is_bounded_and_the_next_owner_answers(broker: EmbeddedBroker) -> None:
    stuck = FakeHandler(b"stuck 3")
    first = a_worker(broker, stuck, WindowConfig(commit_interval_ms=10, revoke_timeout_ms=50))
    second = a_worker(broker, FakeHandler())
    for number in range(PARTITIONS):
        await ask(broker, b"stuck %d" % number, b"next %d" % number, partition=number)
    async with running(first):
        await stuck.wait_for(b"stuck 3")
        async with running(second):
            found = await replies(broker, 8)
            stuck.held[b"stuck 3"].set()
            await ask(broker, b"more", partition=0)
            found = await replies(broker, 10)
    counts = Counter(record.value for record in found)
    assert counts.pop(b"next 3") == 2, "it came again, since it stood after the unfinished one"
    assert set(counts.values()) == {1}, "the late answer of the first owner is not published"
    assert await committed(broker) == await ends(broker)


async def test_a_full_window_stops_reading_and_keeps_polling(broker: EmbeddedBroker) -> None:
    values = numbered(40)
    handler = FakeHandler(*values)
    worker = a_worker(broker, handler, WindowConfig(max_in_flight=5, commit_interval_ms=10))
    async with running(worker):
        await ask_by_key(broker, values, 40)
        await until(lambda: len(handler.begun) == 5)
        full, polls = worker.window.running, counted_polls(worker)
        await until(lambda: polls() >= 2)
        assert (full, worker.window.running, worker.window.room) == (5, 5, 0)
        for value in values:
            handler.held[value].set()
        assert len(await replies(broker, 40)) == 40


class Poll(NamedTuple):
    """One poll: what it asked for, and what was paused and full at that moment."""

    max_records: int
    paused: frozenset[TopicPartition]
    full: frozenset[TopicPartition]


def noted_polls(worker: Worker) -> list[Poll]:
    """The polls of the worker from now on."""
    consumer = worker.consumer
    assert consumer is not None
    poll, pause, resume = consumer.poll, consumer.pause, consumer.resume
    paused: set[TopicPartition] = set()
    noted: list[Poll] = []

    async def noted_poll(max_records: int, timeout_ms: int) -> Sequence[Record]:
        full = consumer.assignment() if worker.window.room <= 0 else worker.window.full_partitions()
        noted.append(Poll(max_records, frozenset(paused), frozenset(full)))
        return await poll(max_records, timeout_ms)

    def noted_pause(partitions: Collection[TopicPartition]) -> None:
        paused.update(partitions)
        pause(partitions)

    def noted_resume(partitions: Collection[TopicPartition]) -> None:
        paused.difference_update(partitions)
        resume(partitions)

    consumer.poll, consumer.pause, consumer.resume = noted_poll, noted_pause, noted_resume  # type: ignore[method-assign]
    return noted


async def test_at_each_poll_what_is_full_is_paused_and_nothing_else(broker: EmbeddedBroker) -> None:
    values = numbered(400)
    config = WindowConfig(max_in_flight=12, max_span=8, commit_interval_ms=10)
    worker = a_worker(broker, FakeHandler(), config)
    async with running(worker):
        polls = noted_polls(worker)
        await ask_by_key(broker, values, 40)
        await replies(broker, 400)
        seen = list(polls)
    assert [poll.paused for poll in seen] == [poll.full for poll in seen]
    assert any(poll.full for poll in seen)


async def test_a_worker_with_room_waits_for_nothing_but_records(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inferstream.pipeline.delivery.worker.POLL_MS", 60_000)  # no wait ends by itself
    handler = FakeHandler(b"held", b"held, too")
    worker = a_worker(broker, handler, WindowConfig(max_in_flight=2, commit_interval_ms=10))
    async with running(worker):
        await ask(broker, b"held", partition=0)
        await handler.wait_for(b"held")
        await ask(broker, b"0", partition=0)
        await handler.wait_for(b"0")
        await ask(broker, b"held, too", partition=0)
        await handler.wait_for(b"held, too")
        await ask(broker, b"1", partition=0)  # the window is full
        handler.held[b"held"].set()
        await handler.wait_for(b"1")
        handler.held[b"held, too"].set()
        await replies(broker, 4)
        worker.drain()
        await ask(broker, b"2", partition=0)  # ends the poll


async def test_with_a_full_window_a_worker_sleeps(broker: EmbeddedBroker) -> None:
    handler = FakeHandler(b"held")
    worker = a_worker(broker, handler, WindowConfig(max_in_flight=1, commit_interval_ms=10_000))
    async with running(worker):
        await ask(broker, b"held", partition=0)
        await handler.wait_for(b"held")
        polls = noted_polls(worker)
        for _ in range(1_000):
            await asyncio.sleep(0)
        assert len(polls) < 10
        handler.held[b"held"].set()


async def test_after_a_large_record_polls_grow_again(broker: EmbeddedBroker) -> None:
    config = WindowConfig(max_bytes=400_000, commit_interval_ms=10)
    worker = a_worker(broker, FakeHandler(), config)
    async with running(worker):
        polls = noted_polls(worker)
        await ask(broker, b"x" * 300_000, partition=0)
        await replies(broker, 1)
        asked = 1
        while polls[-1].max_records < MAX_POLL_RECORDS:
            await ask(broker, b"%d" % asked, partition=0)
            asked += 1
            await replies(broker, asked)
    assert min(poll.max_records for poll in polls) == 1


async def test_a_slow_request_pauses_its_own_partition_only(broker: EmbeddedBroker) -> None:
    handler = FakeHandler(b"slow")
    worker = a_worker(broker, handler, WindowConfig(max_span=300, commit_interval_ms=10))
    await ask(broker, b"slow", *numbered(2_000), partition=0)
    async with running(worker):
        await handler.wait_for(b"slow")
        await ask(broker, *numbered(2_000), partition=1)
        found = await replies(broker, 2_200)
        assert sum(record.partition is not None for record in found) < 2_000 + 300 + 256 + 1
        assert P0 in worker.window.full_partitions()
        handler.held[b"slow"].set()
        assert len(await replies(broker, 4_001)) == 4_001
    assert await committed(broker) == await ends(broker)


async def test_a_slow_request_does_not_break_the_order_of_its_key(broker: EmbeddedBroker) -> None:
    handler = FakeHandler(b"1 slow")
    worker = a_worker(broker, handler)
    await ask(broker, b"0", b"1 slow", b"2", b"3", key=b"conversation")
    await ask(broker, b"at once", key=b"other")
    async with running(worker):
        await handler.wait_for(b"3")
        early = await replies(broker, 2)
        handler.held[b"1 slow"].set()
        found = await replies(broker, 5)
    assert {record.value for record in early} == {b"0", b"at once"}
    assert [r.value for r in found if r.key == b"conversation"] == [b"0", b"1 slow", b"2", b"3"]


async def test_after_a_trial_that_decides_nothing_comes_another(broker: EmbeddedBroker) -> None:
    class DecidesByText(FakeHandler):
        async def answer(self, record: Record, value: bytes) -> Outcome:
            if value.startswith(b"dead"):
                breaker.dead()
            elif value.startswith(b"fine"):
                breaker.answered()
            return await super().answer(record, value)

    breaker = Breaker(BreakerConfig(in_a_row=1, cooldown_s=0.0), time.monotonic)
    worker = a_worker(broker, DecidesByText(), breaker=breaker)
    async with running(worker):
        await ask(broker, b"dead", partition=0)
        await replies(broker, 1)
        await ask(broker, b"bad request", b"at once: bad request", b"fine", partition=0)
        await replies(broker, 4)
    assert not breaker.is_open


async def test_a_trial_is_over_when_it_ends_and_not_when_another_request_does(broker: EmbeddedBroker) -> None:
    class DiesByText(FakeHandler):
        async def answer(self, record: Record, value: bytes) -> Outcome:
            if value == b"dead":
                breaker.dead()
            return await super().answer(record, value)

    breaker = Breaker(BreakerConfig(in_a_row=1, cooldown_s=0.0), time.monotonic)
    handler = DiesByText(b"old", b"trial")
    worker = a_worker(broker, handler, breaker=breaker)
    assert not worker.ready
    async with running(worker):
        await ask(broker, b"old", partition=0)
        await handler.wait_for(b"old")
        await ask(broker, b"dead", partition=0)
        await replies(broker, 1)
        await ask(broker, b"trial", b"next", partition=0)
        await handler.wait_for(b"trial")
        handler.held[b"old"].set()
        await replies(broker, 2)
        polls = counted_polls(worker)
        await until(lambda: polls() >= 2)
        assert b"next" not in handler.begun
        handler.held[b"trial"].set()
        await handler.wait_for(b"next")


def counted_polls(worker: Worker) -> Callable[[], int]:
    """Gives the number of polls of the worker from now on."""
    consumer = worker.consumer
    assert consumer is not None
    polls, poll = 0, consumer.poll

    async def counted(max_records: int, timeout_ms: int) -> Any:
        nonlocal polls
        polls += 1
        return await poll(max_records, timeout_ms)

    consumer.poll = counted  # type: ignore[method-assign]
    return lambda: polls


async def test_the_log_names_what_is_served(broker: EmbeddedBroker, caplog: pytest.LogCaptureFixture) -> None:
    """A process has a worker for the requests and one for each retry topic: a number alone would name neither."""
    caplog.set_level(logging.INFO)
    async with running(a_worker(broker, FakeHandler())):
        await until(lambda: f"Serving {PARTITIONS} partitions. Topics: {REQUESTS}." in caplog.messages)


async def fails() -> None:
    await asyncio.sleep(0)
    raise LookupError("a background task")


async def test_a_background_task_that_fails_ends_the_worker(broker: EmbeddedBroker) -> None:
    handler = FakeHandler(b"stuck")
    await ask(broker, b"stuck")
    worker = a_worker(broker, handler, background=[fails])
    async with asyncio.timeout(10):
        with pytest.raises(ExceptionGroup) as caught:
            await worker.run()
    assert caught.group_contains(LookupError)
    assert not worker.ready


async def test_a_worker_that_fails_is_not_ready_while_it_leaves_its_group(broker: EmbeddedBroker) -> None:
    failing = asyncio.Event()

    async def fails_later() -> None:
        await failing.wait()
        await fails()

    worker = a_worker(broker, FakeHandler(), background=[fails_later])
    task = asyncio.create_task(worker.run())
    await until(lambda: worker.ready)
    assert worker.consumer is not None
    close = worker.consumer.close
    was_ready = []

    async def noted() -> None:
        was_ready.append(worker.ready)
        await close()

    worker.consumer.close = noted  # type: ignore[method-assign]
    failing.set()
    with pytest.raises(ExceptionGroup):
        await asyncio.wait_for(task, 10)
    assert was_ready == [False]


async def test_a_reply_that_cannot_be_published_ends_the_worker(broker: EmbeddedBroker) -> None:
    worker = a_worker(broker, FakeHandler(reply_topic="nowhere"))
    await ask(broker, b"text")
    async with asyncio.timeout(5):
        with pytest.raises(ExceptionGroup) as caught:
            await worker.run()
    assert caught.group_contains(BrokerError)
    assert (await committed(broker)) == dict.fromkeys(ALL, 0)


async def test_a_commit_that_runs_when_the_worker_drains_is_completed(broker: EmbeddedBroker) -> None:
    worker = a_worker(broker, FakeHandler())
    async with running(worker) as task:
        consumer = worker.consumer
        assert consumer is not None
        commit, begun, gate = consumer.commit, asyncio.Event(), asyncio.Event()

        async def held_up(offsets: Mapping[TopicPartition, int]) -> None:
            begun.set()
            await gate.wait()
            await commit(offsets)

        consumer.commit = held_up  # type: ignore[method-assign]
        await ask(broker, b"text", partition=0)
        await begun.wait()
        worker.drain()
        await asyncio.wait([task], timeout=0.5)
        gate.set()
    assert (await committed(broker))[P0] == 1


async def test_a_record_forgotten_before_its_first_turn_leaves_no_warning(broker: EmbeddedBroker) -> None:
    """Under `filterwarnings = error` a coroutine that was never awaited fails this test."""

    class ForgetsAtOnce(FakeHandler):
        def handle(self, record: Record, slot: Slot) -> Outcome | Coroutine[Any, Any, Outcome]:
            if record.value == b"lost":
                asyncio.get_running_loop().call_soon(worker.window.forget, ALL)
            return super().handle(record, slot)

    handler = ForgetsAtOnce()
    worker = a_worker(broker, handler)
    async with running(worker):
        await ask(broker, b"lost", partition=0)
        await ask(broker, b"at once", partition=1)
        await replies(broker, 1)
        gc.collect()
    assert handler.begun == set()
    assert (await committed(broker))[P0] == 0
