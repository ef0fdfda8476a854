"""When and how a record is retried: pure functions, whatever a record's headers hold."""

import json
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.broker.base import Headers, Record
from inferstream.pipeline.config import RetryConfig
from inferstream.pipeline.delivery.arrival import Arrival, header_map, origin_of
from inferstream.pipeline.delivery.outcome import Outcome
from inferstream.pipeline.delivery.retries import (
    JITTER,
    MAX_HISTORY,
    Attempt,
    RetryBudget,
    attempt_of,
    delay_s,
    due_headers,
    history,
    retry_topics,
    to_retry_topic,
    with_attempt,
)
from inferstream.pipeline.delivery.retry_returner import RetryReturner
from inferstream.schemas.topics import Header, Topics

TOPICS = Topics("echo")
NOW_MS = 1_700_000_000_000

configs = st.builds(
    RetryConfig,
    tiers_s=st.lists(st.integers(0, 3_600), max_size=4),
    max_attempts=st.integers(0, 6),
    budget_share=st.floats(0, 2),
    budget_burst=st.integers(0, 50),
)
REPLACED = (Header.ATTEMPT, Header.NOT_BEFORE_MS, Header.ORIGIN, Header.ORIGIN_MS, Header.HISTORY)
ours = st.sampled_from(REPLACED)
histories = st.lists(st.tuples(st.integers(), st.text(max_size=5), st.integers(), st.text(max_size=5))).map(
    lambda lines: json.dumps(lines).encode()
)
garbage = st.binary(max_size=30) | st.integers().map(lambda number: b"%d" % number) | histories
any_headers = st.lists(st.tuples(ours | st.text(max_size=4), garbage), max_size=8).map(tuple)
attempts = st.builds(
    Attempt, st.integers(1, 999), st.just("device_unavailable"), st.integers(0, 2**45), st.text(max_size=9)
)


def a_record(headers: Headers, key: bytes | None = None) -> Record:
    return Record(TOPICS.requests, 7, 41, key, b'{"text":"hello"}', headers, NOW_MS)


def an_arrival(record: Record) -> Arrival:
    return Arrival(record, header_map(record), TOPICS.replies)


def origin_in(record: Record) -> str:
    return origin_of(record, header_map(record))


@given(configs)
def test_there_are_at_most_max_attempts_with_the_delays_of_the_tiers(config: RetryConfig) -> None:
    attempt, delays = 1, []
    while (seconds := delay_s(attempt, config)) is not None:
        delays.append(seconds)
        attempt += 1
    assert len(delays) == (max(0, config.max_attempts - 1) if config.tiers_s else 0)
    assert delays == [*config.tiers_s, *config.tiers_s[-1:] * len(delays)][: len(delays)]


@given(configs)
def test_each_delay_has_a_topic_of_its_own(config: RetryConfig) -> None:
    topics = retry_topics(TOPICS, config)
    assert len(topics) == len(set(topics)) == len(set(config.tiers_s))


@given(any_headers)
def test_an_attempt_is_a_small_number_whatever_the_header_holds(headers: Headers) -> None:
    assert 1 <= attempt_of(dict(headers)) <= 999


@given(any_headers, attempts, st.none() | st.binary(max_size=5), st.floats(0, 1))
def test_a_record_waits_with_its_own_body_key_and_headers(
    headers: Headers, attempt: Attempt, key: bytes | None, spread: float
) -> None:
    record = a_record(headers, key)
    message = to_retry_topic(an_arrival(record), TOPICS, attempt, 30, lambda: spread)
    assert (message.topic, message.value, message.key) == (TOPICS.retry("30s"), record.value, key)
    assert message.partition is None, "the retry topic may have fewer partitions than the request topic"
    kept = tuple(header for header in headers if header[0] not in REPLACED)
    assert message.headers[: len(kept)] == kept
    changed = dict(message.headers[len(kept) :])
    assert set(changed) == set(REPLACED)
    assert attempt_of(changed) == attempt.attempt + 1 or attempt.attempt == 999
    due_ms = int(changed[Header.NOT_BEFORE_MS])
    assert attempt.at_ms + 30_000 <= due_ms <= attempt.at_ms + 30_000 * (1 + JITTER) + 1
    assert changed[Header.ORIGIN].decode() == origin_in(record)
    back = a_record(due_headers(a_record(message.headers)), key)
    assert origin_in(back._replace(offset=99)) == origin_in(record), "its reply has the same id as before"
    assert Header.NOT_BEFORE_MS not in dict(back.headers)


@given(any_headers, st.lists(attempts, min_size=2, max_size=4), st.lists(st.integers(1, 99), min_size=4))
def test_a_record_that_is_retried_again_and_again_keeps_its_first_origin(
    headers: Headers, failed: Sequence[Attempt], offsets: Sequence[int]
) -> None:
    """Each way back through the retry topic gives the record another offset, perhaps another partition."""
    record = a_record(headers)
    first = origin_in(record)
    for attempt, offset in zip(failed, offsets, strict=False):
        waiting = to_retry_topic(an_arrival(record), TOPICS, attempt, 30)
        there = Record(waiting.topic, 0, offset, waiting.key, waiting.value, waiting.headers, NOW_MS)
        outcome = RetryReturner(TOPICS, 30, lambda: 1e12).handle(there)
        assert isinstance(outcome, Outcome)
        (back,) = outcome.messages
        record = Record(back.topic, offset % 3, 100 + offset, back.key, back.value, back.headers, NOW_MS)
        assert origin_in(record) == first
    assert [value for name, value in record.headers if name == Header.ORIGIN] == [first.encode()]


def test_a_record_is_due_after_the_delay_of_its_tier_and_at_most_a_fifth_more() -> None:
    attempt = Attempt(1, "device_unavailable", NOW_MS, "w")
    for spread, due_ms in ((0.0, NOW_MS + 30_000), (0.5, NOW_MS + 33_000), (1.0, NOW_MS + 36_000)):
        message = to_retry_topic(an_arrival(a_record(())), TOPICS, attempt, 30, lambda spread=spread: spread)
        assert dict(message.headers)[Header.NOT_BEFORE_MS] == b"%d" % due_ms


def test_a_record_without_a_body_waits_with_an_empty_one() -> None:
    arrival = an_arrival(a_record(())._replace(value=None))
    assert to_retry_topic(arrival, TOPICS, Attempt(1, "a", NOW_MS, "w"), 30).value == b""


def test_an_attempt_has_at_most_three_digits() -> None:
    values = {b"1": 1, b"7": 7, b"0": 1, b"000": 1, b"007": 7, b"999": 999, b"1000": 1, b"0007": 1, b"-7": 1}
    assert {value: attempt_of({Header.ATTEMPT: value}) for value in values} == values
    assert attempt_of({}) == 1


@given(st.lists(attempts, max_size=MAX_HISTORY + 5))
def test_a_history_is_kept_in_order_and_bounded(lines: Sequence[Attempt]) -> None:
    headers: Headers = ()
    for line in lines:
        headers = ((Header.HISTORY, history(dict(headers), line)),)
    kept = json.loads(dict(headers)[Header.HISTORY]) if headers else []
    assert kept == [list(line) for line in lines][-MAX_HISTORY:]


@given(any_headers, attempts)
def test_a_broken_history_is_valid_again(headers: Headers, attempt: Attempt) -> None:
    assert json.loads(history(dict(headers), attempt))[-1] == list(attempt)


@given(any_headers, attempts, st.none() | st.binary(max_size=5))
def test_a_retry_in_place_changes_only_the_attempt_and_the_history(
    headers: Headers, attempt: Attempt, key: bytes | None
) -> None:
    record = a_record(headers, key)
    arrival = with_attempt(an_arrival(record), attempt)
    again = arrival.record
    assert arrival.headers == header_map(again), "its headers need not be parsed again"
    assert again._replace(headers=()) == record._replace(headers=())
    counted = (Header.ATTEMPT, Header.HISTORY)
    kept = tuple(header for header in headers if header[0] not in counted)
    assert again.headers[: len(kept)] == kept
    assert tuple(name for name, _ in again.headers[len(kept) :]) == counted


@given(configs, st.lists(st.booleans(), max_size=200))
def test_retries_are_never_more_than_their_share_and_a_burst(config: RetryConfig, reads: list[bool]) -> None:
    budget, spent = RetryBudget(config), 0
    for read in reads:
        if read:
            budget.earn()
        else:
            spent += budget.spend()
    assert spent <= config.budget_burst + config.budget_share * reads.count(True) + 1e-6


def test_a_budget_is_its_burst_at_first_and_then_what_requests_have_earned() -> None:
    budget = RetryBudget(RetryConfig(budget_share=0.5, budget_burst=2))
    assert [budget.spend() for _ in range(4)] == [True, True, False, False]
    spent = []
    for _ in range(6):
        budget.earn()
        spent.append(budget.spend())
    assert spent == [False, True] * 3
    for _ in range(100):
        budget.earn()
    assert [budget.spend() for _ in range(4)] == [True, True, False, False], (
        "no more than a burst is saved up"
    )


@given(st.binary(max_size=60) | st.text("a/0.x-", max_size=30).map(str.encode))
def test_a_malformed_origin_does_not_count(value: bytes) -> None:
    """A reply carries it twice, so an oversized one would end the worker each time it is read."""
    found = origin_in(a_record(((Header.ORIGIN, value),)))
    topic, partition, offset = found.split("/")
    assert found in (value.decode(errors="replace"), f"{TOPICS.requests}/7/41")
    assert topic
    assert (partition + offset).isdigit()
    assert len(found) < 300
