"""Retries: which errors, how many attempts, which delay, and the topics where records wait."""

import dataclasses
import random
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import msgspec

from ...schemas.topics import Header, Topics
from ..broker.base import Headers, Message, Record
from ..config import RetryConfig
from ..errors import DeviceOutOfMemory, DeviceUnavailable
from .arrival import Arrival, origin_of

RETRIED: Final = (DeviceOutOfMemory, DeviceUnavailable)
"""Errors that a later attempt, perhaps on another worker, may not meet. Overload is not among them:
the caller gets the Failure at once."""

JITTER: Final = 0.2
"""Jitter, as a share of the delay: requests that failed together do not come back together."""

MAX_HISTORY: Final = 20
"""Attempts in the history. It travels in a header, which must stay small."""


WRITTEN_ANEW: Final = (Header.NOT_BEFORE_MS, Header.ORIGIN, Header.ORIGIN_MS, Header.RELEASE)


class Attempt(NamedTuple):
    """One failed attempt in a record's history. ``at_ms`` is Unix time."""

    attempt: int
    code: str
    at_ms: int
    worker: str


class RetryBudget:
    """A token bucket: retries are at most a share of the requests, plus a burst."""

    def __init__(self, config: RetryConfig) -> None:
        self._share = config.budget_share
        self._max_tokens = float(config.budget_burst)
        self._tokens = self._max_tokens

    def earn(self) -> None:
        """Add the share that one request earns."""
        if self._tokens < self._max_tokens:
            self._tokens = min(self._max_tokens, self._tokens + self._share)

    def spend(self) -> bool:
        """Take one retry out of the budget; False if there is none left."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def delay_s(attempt: int, config: RetryConfig) -> int | None:
    """Seconds between ``attempt``, which failed, and the next; None when it was the last one."""
    if attempt >= config.max_attempts or not config.tiers_s:
        return None
    return config.tiers_s[min(attempt, len(config.tiers_s)) - 1]


def attempt_of(headers: Mapping[str, bytes]) -> int:
    """The number of the attempt: 1 on the first delivery, also where the header is not a number."""
    value = headers.get(Header.ATTEMPT, b"1")
    return max(1, int(value)) if value.isdigit() and len(value) < 4 else 1


def tier_name(seconds: int) -> str:
    """The name of a retry tier in its topic's name, e.g. ``30s``."""
    return f"{seconds}s"


def asked_ms(arrival: Arrival) -> int:
    """The Unix time of the first delivery, in milliseconds. A retried record has it in a header.

    So has the request of a later step of a chain: the time at which the chain was asked.
    """
    is_first = attempt_of(arrival.headers) == 1
    value = arrival.headers.get(Header.ASKED_MS if is_first else Header.ORIGIN_MS, b"")
    return int(value) if value.isdigit() and len(value) < 16 else arrival.record.timestamp_ms


def retry_topics(topics: Topics, config: RetryConfig) -> list[str]:
    """One topic for each tier: its delay is constant, so the first in is the first due."""
    return [topics.retry(tier_name(seconds)) for seconds in sorted(set(config.tiers_s))]


def to_retry_topic(
    arrival: Arrival,
    topics: Topics,
    attempt: Attempt,
    seconds: int,
    spread: Callable[[], float] = random.random,
) -> Message:
    """The record for the retry topic of the tier: its own body and key; what changes is in headers.

    No partition is set, the key chooses it: the retry topic may have fewer than the request topic.
    """
    due_ms = attempt.at_ms + round(seconds * 1e3 * (1 + JITTER * spread()))
    record = arrival.record
    release = arrival.release or arrival.job.release
    headers = (
        *_without(with_attempt(arrival, attempt).record.headers, *WRITTEN_ANEW),
        (Header.NOT_BEFORE_MS, b"%d" % due_ms),
        (Header.ORIGIN, origin_of(record, arrival.headers).encode()),
        (Header.ORIGIN_MS, b"%d" % max(0, asked_ms(arrival))),
        *(((Header.RELEASE, release.encode()),) if release else ()),
    )
    return Message(topics.retry(tier_name(seconds)), record.value or b"", record.key, headers)


def with_attempt(arrival: Arrival, attempt: Attempt) -> Arrival:
    """The arrival for the attempt after ``attempt``: its headers hold number and history."""
    changed = (
        (Header.ATTEMPT, b"%d" % (attempt.attempt + 1)),
        (Header.HISTORY, history(arrival.headers, attempt)),
    )
    kept = _without(arrival.record.headers, Header.ATTEMPT, Header.HISTORY)
    record = arrival.record._replace(headers=(*kept, *changed))
    return dataclasses.replace(arrival, record=record, headers={**arrival.headers, **dict(changed)})


def history(headers: Mapping[str, bytes], attempt: Attempt) -> bytes:
    """The JSON of all failed attempts, ``attempt`` last. An unreadable history is replaced."""
    try:
        past = msgspec.json.decode(headers[Header.HISTORY], type=list[Attempt])
    except (KeyError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        past = []
    return msgspec.json.encode([*past, attempt][-MAX_HISTORY:])


def due_headers(record: Record) -> Headers:
    """The headers with which a record that is due returns to the request topic."""
    return _without(record.headers, Header.NOT_BEFORE_MS)


def _without(headers: Headers, *names: str) -> Headers:
    return tuple(header for header in headers if header[0] not in names)
