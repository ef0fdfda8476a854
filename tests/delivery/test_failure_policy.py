"""What follows a failed attempt, against the plainest table of what must hold, at each bound exactly."""

from typing import Final, NamedTuple
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.handler_rig import NOW_S, TOPICS, only

from inferstream.pipeline.broker.base import Headers, Record
from inferstream.pipeline.config import BreakerConfig, RetryConfig
from inferstream.pipeline.delivery.arrival import Arrival, header_map
from inferstream.pipeline.delivery.breaker import Breaker
from inferstream.pipeline.delivery.failures import FailurePolicy, RetryInPlace, WorkerStamp
from inferstream.pipeline.delivery.outcome import Outcome
from inferstream.pipeline.delivery.replies import ReplyBuilder
from inferstream.pipeline.delivery.retries import JITTER, RETRIED
from inferstream.pipeline.errors import (
    BadHeader,
    DeviceError,
    DeviceOutOfMemory,
    DeviceUnavailable,
    InferstreamError,
    ModelElsewhere,
    Overloaded,
    Poison,
    ReplyTopicNotAllowed,
)
from inferstream.pipeline.telemetry import WorkerMetrics
from inferstream.schemas.codec import DecodeError, decode_reply
from inferstream.schemas.messages import Failure
from inferstream.schemas.topics import ANY_ORDER, Header

NOW_MS: Final = round(NOW_S * 1e3)
UNAVAILABLE: Final = DeviceUnavailable("The device is gone.")


class Rig(NamedTuple):
    """A policy, and what it counts."""

    policy: FailurePolicy
    metrics: WorkerMetrics
    breaker: Breaker

    def retried(self) -> int:
        return self.metrics.render().count(b"inferstream_retries_total{")


def a_rig(retries: RetryConfig) -> Rig:
    metrics, breaker = WorkerMetrics(), Breaker(BreakerConfig(in_a_row=1), lambda: 0.0)
    stamp = WorkerStamp("w", lambda: NOW_S)
    return Rig(
        FailurePolicy(TOPICS, retries, ReplyBuilder("echo", 1_000), metrics.of_task("echo"), breaker, stamp),
        metrics,
        breaker,
    )


def an_arrival(key: bytes | None = None, headers: Headers = ()) -> Arrival:
    record = Record(TOPICS.requests, 1, 41, key, b'{"text":"a"}', headers, 0)
    return Arrival(record, header_map(record), TOPICS.replies, 0, "t1")


@settings(max_examples=400)
@given(
    error=st.sampled_from(
        [UNAVAILABLE, DeviceOutOfMemory("Too much."), DeviceError("No."), Overloaded("Busy.")]
    ),
    attempt=st.integers(1, 4),
    tiers_s=st.lists(st.integers(0, 3), max_size=3),
    in_place_s=st.integers(0, 5),
    waited_s=st.integers(0, 5),
    deadline_ms=st.none() | st.sampled_from([-1, 0, 999, 1_000, 1_001, 2_000, 2_400, 3_000, 3_600]),
    keeps_order=st.booleans(),
    jitter=st.sampled_from([0.0, JITTER]),
    budget=st.integers(0, 1),
)
def test_a_retry_is_made_while_attempts_time_deadline_and_budget_are_left(
    error: InferstreamError,
    attempt: int,
    tiers_s: list[int],
    in_place_s: int,
    waited_s: int,
    deadline_ms: int | None,
    keeps_order: bool,
    jitter: float,
    budget: int,
) -> None:
    config = RetryConfig(tiers_s, max_attempts=4, in_place_s=in_place_s, budget_share=0, budget_burst=budget)
    headers = [(Header.ATTEMPT, b"%d" % attempt)]
    if deadline_ms is not None:
        headers.append((Header.DEADLINE_MS, b"%d" % (NOW_MS + deadline_ms)))
    if not keeps_order:
        headers.append((Header.ORDER, ANY_ORDER))
    arrival = an_arrival(b"key", tuple(headers))
    rig = a_rig(config)

    def uniform(low: float, high: float) -> float:
        assert (low, high) == (1, 1 + JITTER)
        return low + jitter

    with patch("random.uniform", uniform):
        found = rig.policy.retry_or_end(arrival, error, "v1", waited_s)

    another = isinstance(error, RETRIED) and attempt < 4 and bool(tiers_s)
    tier_s = [*tiers_s, *tiers_s[-1:] * 3][attempt - 1] if tiers_s else 0
    pause_s = min(tiers_s, default=0) * (1 + jitter) if keeps_order else tier_s
    has_time = not keeps_order or waited_s + pause_s <= in_place_s
    is_in_time = deadline_ms is None or deadline_ms / 1e3 >= pause_s - 1e-6
    if not (another and has_time and is_in_time and budget):
        assert isinstance(found, Outcome)
        assert only(found).topic == TOPICS.replies
        assert rig.retried() == 0
        return
    history = b'[[%d,"%s",%d,"w"]]' % (attempt, error.code.encode(), NOW_MS)
    if keeps_order:
        assert isinstance(found, RetryInPlace)
        assert found.pause_s == pause_s
        again = found.arrival.headers
    else:
        assert isinstance(found, Outcome)
        assert found.then is None
        assert only(found).topic == TOPICS.retry(f"{pause_s:g}s")
        again = dict(only(found).headers)
    assert (again[Header.ATTEMPT], again[Header.HISTORY]) == (b"%d" % (attempt + 1), history)
    assert rig.retried() == (not keeps_order)
    assert rig.metrics.failed_requests == 0


ENDS: list[tuple[Exception, str, bool, bool, bool]] = [
    # error, its code, a Failure, a dead letter, the breaker counts it
    (UNAVAILABLE, "device_unavailable", True, True, True),
    (DeviceOutOfMemory("Too much."), "device_out_of_memory", True, True, True),
    (DeviceError("No."), "device_error", True, True, True),
    (Poison("It ended a process."), "poison", True, True, False),
    (LookupError("a defect"), "internal", True, True, True),
    (Overloaded("Busy."), "overloaded", True, False, False),
    (BadHeader("Wrong."), "bad_header", True, False, False),
    (DecodeError("not_json", "Not JSON."), "not_json", True, False, False),
    (ReplyTopicNotAllowed("Not that one."), "reply_topic_not_allowed", False, True, False),
]


@pytest.mark.parametrize(("error", "code", "replied", "kept", "counted"), ENDS, ids=[end[1] for end in ENDS])
def test_the_end_of_a_request_is_a_failure_and_a_dead_letter_where_the_worker_is_at_fault(
    error: Exception, code: str, replied: bool, kept: bool, counted: bool, caplog: pytest.LogCaptureFixture
) -> None:
    rig = a_rig(RetryConfig(tiers_s=[1]))
    outcome: Outcome | None = rig.policy.end(an_arrival(b"key"), error, "v7")
    messages = []
    while outcome is not None:
        messages.append(only(outcome))
        outcome = outcome.then
    wanted = [TOPICS.replies] * replied + [TOPICS.dead_letters] * kept
    assert [message.topic for message in messages] == wanted, "the Failure comes first"
    if replied:
        reply = decode_reply(messages[0].value)
        assert isinstance(reply, Failure)
        assert (reply.id, reply.code) == ("t1", code)
    if kept:
        letter = dict(messages[-1].headers)
        assert letter[Header.ERROR_CODE] == code.encode()
        assert letter[Header.FAILED_AT_MS] == b"%d" % NOW_MS
        assert (letter[Header.WORKER], letter[Header.VERSION]) == (b"w", b"v7")
    assert rig.breaker.is_open == counted
    assert rig.metrics.failed_requests == 1
    assert b'inferstream_failures_total{code="%s",task="echo"} 1.0' % code.encode() in rig.metrics.render()
    assert bool(caplog.records) == (code == "internal" or counted)


def test_a_trial_that_must_be_retried_later_keeps_the_breaker_open() -> None:
    now_s = 0.0
    breaker = Breaker(BreakerConfig(in_a_row=1, cooldown_s=10.0), lambda: now_s)
    replies = ReplyBuilder("echo", 1_000)
    policy = FailurePolicy(
        TOPICS,
        RetryConfig(tiers_s=[1]),
        replies,
        WorkerMetrics().of_task("echo"),
        breaker,
        WorkerStamp("w", lambda: NOW_S),
    )
    breaker.dead()
    now_s = 10.0
    assert breaker.room(5) == 1
    assert breaker.begin_trial()
    policy.retry_or_end(an_arrival(), UNAVAILABLE, "v1", 0.0)
    breaker.end_trial()
    assert breaker.room(5) == 0, "the cooldown begins again"
    now_s = 20.0
    assert breaker.room(5) == 1


def test_each_request_that_is_read_earns_its_share_of_a_retry() -> None:
    rig = a_rig(RetryConfig(tiers_s=[1], budget_share=0.25, budget_burst=1))
    retried = []
    for _ in range(12):
        rig.policy.request_was_read()
        found = rig.policy.retry_or_end(an_arrival(), UNAVAILABLE, "v1", 0.0)
        assert isinstance(found, Outcome)
        retried.append(only(found).topic == TOPICS.retry("1s"))
    assert retried == [True, *[False, False, False, True] * 2, False, False, False]


@settings(max_examples=200)
@given(
    attempt=st.integers(1, 5),
    tiers_s=st.lists(st.integers(1, 30), max_size=3),
    deadline_ms=st.none() | st.integers(-1, 40_000),
    key=st.sampled_from([None, b"key"]),
    in_any_order=st.booleans(),
    budget=st.integers(0, 1),
)
def test_a_model_of_another_worker_is_looked_for_through_the_shortest_tier(
    attempt: int,
    tiers_s: list[int],
    deadline_ms: int | None,
    key: bytes | None,
    in_any_order: bool,
    budget: int,
) -> None:
    headers = [(Header.ATTEMPT, b"%d" % attempt), (Header.MODEL, b"gpt")]
    if deadline_ms is not None:
        headers.append((Header.DEADLINE_MS, b"%d" % (NOW_MS + deadline_ms)))
    if in_any_order:
        headers.append((Header.ORDER, ANY_ORDER))
    rig = a_rig(RetryConfig(tiers_s, max_attempts=4, budget_share=0, budget_burst=budget))
    found = rig.policy.elsewhere(an_arrival(key, tuple(headers)), ModelElsewhere("There is no model 'gpt'."))
    message = only(found)
    is_in_time = deadline_ms is None or not tiers_s or deadline_ms >= min(tiers_s) * 1_000
    has_next = attempt < 4 and bool(tiers_s) and bool(budget)
    if has_next and is_in_time and (key is None or in_any_order):
        assert message.topic == TOPICS.retry(f"{min(tiers_s)}s")
        assert dict(message.headers)[Header.ATTEMPT] == b"%d" % (attempt + 1)
        assert b"unknown_model" in dict(message.headers)[Header.HISTORY]
        assert rig.retried() == 1
        fallback = found.if_too_large
        assert fallback is not None
        message = only(fallback())
    assert message.topic == TOPICS.replies
    reply = decode_reply(message.value)
    assert isinstance(reply, Failure)
    assert (reply.code, reply.retryable) == ("unknown_model", True)
    assert found.then is None, "no dead letter: the worker is not at fault"


def test_misspelled_models_leave_the_retries_of_failures_to_others() -> None:
    rig = a_rig(RetryConfig([1], budget_share=0, budget_burst=1))
    for _ in range(3):
        rig.policy.elsewhere(an_arrival(), ModelElsewhere("There is no model 'gpt'."))
    assert rig.retried() == 1
    found = rig.policy.retry_or_end(an_arrival(), UNAVAILABLE, "v1", 0)
    assert isinstance(found, Outcome)
    assert only(found).topic == TOPICS.retry("1s")
