"""The breaker stops reading when the worker fails many requests, and finds out by a trial when to go on."""

import asyncio
from pathlib import Path

import pytest
from delivery.test_worker import until
from support.failing_worker import FailingSession, failing_worker

from inferstream.pipeline.broker.base import Message
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.config import BreakerConfig, WindowConfig
from inferstream.pipeline.delivery.breaker import Breaker
from inferstream.schemas.topics import Topics

CONFIG = BreakerConfig(in_a_row=3, share=0.5, window=10, cooldown_s=5.0)
WANTED = 100


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def breaker(clock: FakeClock) -> Breaker:
    return Breaker(CONFIG, clock)


def opened(breaker: Breaker) -> Breaker:
    for _ in range(CONFIG.in_a_row):
        breaker.begin_trial()
        breaker.dead()
    assert breaker.is_open
    return breaker


def test_a_few_dead_letters_change_nothing(breaker: Breaker) -> None:
    for _ in range(20):
        for dead in (True, True, False, False, False):
            breaker.begin_trial()
            breaker.dead() if dead else breaker.answered()
    assert not breaker.is_open
    assert breaker.room(WANTED) == WANTED


def test_too_many_in_a_row_stop_the_reading(breaker: Breaker, clock: FakeClock) -> None:
    opened(breaker)
    clock.advance(CONFIG.cooldown_s - 0.001)
    assert breaker.room(WANTED) == 0


def test_too_large_a_share_stops_the_reading(breaker: Breaker) -> None:
    for dead in (True, False, True, False, True, True, False, True, False, True):
        breaker.dead() if dead else breaker.answered()
    assert breaker.is_open


def test_after_a_while_one_is_tried_and_an_answer_closes_it(breaker: Breaker, clock: FakeClock) -> None:
    opened(breaker)
    clock.advance(CONFIG.cooldown_s)
    assert (breaker.room(WANTED), breaker.room(0)) == (1, 0)
    assert breaker.begin_trial()
    assert breaker.room(WANTED) == 0, "one only"
    breaker.answered()
    assert not breaker.is_open
    assert breaker.room(WANTED) == WANTED
    breaker.dead()
    assert not breaker.is_open, "the count begins again"


def test_a_trial_that_fails_waits_again(breaker: Breaker, clock: FakeClock) -> None:
    opened(breaker)
    clock.advance(CONFIG.cooldown_s)
    breaker.begin_trial()
    breaker.dead()
    breaker.end_trial()
    clock.advance(CONFIG.cooldown_s - 0.001)
    assert breaker.room(WANTED) == 0
    clock.advance(0.001)
    assert breaker.room(WANTED) == 1


def test_a_trial_that_decides_nothing_is_followed_by_another(breaker: Breaker, clock: FakeClock) -> None:
    """A bad request, or one that was lost in a rebalance: neither the worker's fault nor a proof that it works."""
    opened(breaker)
    clock.advance(CONFIG.cooldown_s)
    breaker.begin_trial()
    breaker.end_trial()
    assert breaker.is_open
    assert breaker.room(WANTED) == 1


def test_a_trial_that_must_be_retried_later_has_failed(breaker: Breaker, clock: FakeClock) -> None:
    opened(breaker)
    clock.advance(CONFIG.cooldown_s)
    breaker.begin_trial()
    breaker.trial_failed()
    breaker.end_trial()
    assert breaker.room(WANTED) == 0, "the device is as it was: the next trial has its time as well"
    clock.advance(CONFIG.cooldown_s)
    assert breaker.room(WANTED) == 1


def test_retries_while_it_is_closed_change_nothing(breaker: Breaker) -> None:
    for _ in range(100):
        breaker.trial_failed()
    assert not breaker.is_open


def test_only_a_record_read_while_it_is_open_is_a_trial(breaker: Breaker) -> None:
    assert not breaker.begin_trial()


async def test_a_worker_whose_device_fails_stops_reading_and_goes_on_by_itself(tmp_path: Path) -> None:
    """Nothing is dropped and no partition is revoked; a trial with a bad request decides nothing."""
    topics = Topics("echo")
    bad, good, garbage = b'{"text":"!"}', b'{"text":"good"}', b"no JSON"
    session = FailingSession(poison=[ord("!")])
    config = BreakerConfig(in_a_row=5, cooldown_s=0.2)
    async with asyncio.timeout(30), EmbeddedBroker(tmp_path / "topics") as broker:
        serving = failing_worker(
            broker,
            tmp_path / "crashes",
            topics,
            session=session,
            window=WindowConfig(max_in_flight=1, commit_interval_ms=10),
            breaker_config=config,
            partitions=1,
        )
        running = asyncio.create_task(serving.run())
        await until(lambda: serving.ready)
        worker, breaker = serving.worker, serving.worker.breaker
        assert breaker is not None
        assert worker.consumer is not None
        for body in (*[bad] * 5, garbage, bad, *[good] * 20):
            await broker.publish(Message(topics.requests, body))
        await until(lambda: breaker.is_open)
        membership = worker.consumer.assignment()
        assert serving.stopped
        assert breaker.room(10) == 0
        await until(lambda: worker.window.terminal_events == 27)
        assert not serving.stopped
        assert worker.consumer.assignment() == membership
        serving.drain()
        await running
        reader = await broker.consume([topics.dead_letters])
        assert [record.value for record in await reader.poll(100, 0)] == [bad] * 6
        await reader.close()
    assert len(session.runs) == 26
