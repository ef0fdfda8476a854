"""Trying again: which errors, how often, how much later, and where a record waits meanwhile."""

import random
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from ...schemas.topics import Header, Topics
from ..broker.base import Headers, Message, Record
from ..config import RetryConfig
from ..errors import DeviceOutOfMemory, DeviceUnavailable
from .replies import header_map, origin_of

RETRIED: Final = (DeviceOutOfMemory, DeviceUnavailable)
"""Errors that a later attempt on some worker may not meet. Overload is not among them: the caller is told at once."""

JITTER: Final = 0.2
"""What fails together comes back spread over this share of the delay."""

LAST_KEPT: Final = 20  # attempts in the history: it travels in a header, which must stay small


class Attempt(NamedTuple):
    """One line of a record's history."""

    attempt: int
    code: str
    at_ms: int
    worker: str


class Budget:
    """A token bucket: retries may be a share of the requests, so that they never become the load themselves."""

    def __init__(self, config: RetryConfig) -> None:
        self._share, self._most = config.budget_share, float(config.budget_burst)
        self._tokens = self._most

    def earn(self) -> None:
        """A request was read."""
        self._tokens = min(self._most, self._tokens + self._share)

    def spend(self) -> bool:
        """Whether one more retry is within the budget."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def delay_s(attempt: int, config: RetryConfig) -> int | None:
    """How long the record waits before the attempt after ``attempt``; None when it was the last."""
    if attempt >= config.max_attempts or not config.tiers_s:
        return None
    return config.tiers_s[min(attempt, len(config.tiers_s)) - 1]


def attempt_of(headers: dict[str, bytes]) -> int:
    """1 on the first delivery, also where the header is not a number."""
    value = headers.get(Header.ATTEMPT, b"1")
    return max(1, int(value)) if value.isdigit() and len(value) < 4 else 1


def tier_name(seconds: int) -> str:
    return f"{seconds}s"


def retry_topics(topics: Topics, config: RetryConfig) -> list[str]:
    """One topic for each tier: in each the delay is constant, so first in is first due."""
    return [topics.retry(tier_name(seconds)) for seconds in sorted(set(config.tiers_s))]


def waiting(
    record: Record,
    topics: Topics,
    attempt: Attempt,
    seconds: int,
    spread: Callable[[], float] = random.random,
) -> Message:
    """The record as it waits in a retry topic: body and key its own, what changes in headers.

    The key chooses the partition: not every topic has as many as the one that the record came from.
    """
    due_ms = attempt.at_ms + round(seconds * 1e3 * (1 + JITTER * spread()))
    headers = (
        *_without(tried(record, attempt).headers, Header.NOT_BEFORE_MS, Header.ORIGIN),
        (Header.NOT_BEFORE_MS, b"%d" % due_ms),
        (Header.ORIGIN, origin_of(record).encode()),
    )
    return Message(topics.retry(tier_name(seconds)), record.value or b"", record.key, headers)


def tried(record: Record, attempt: Attempt) -> Record:
    """The record as its next attempt finds it: in its headers the number of that, and what became of those before."""
    headers = (
        *_without(record.headers, Header.ATTEMPT, Header.HISTORY),
        (Header.ATTEMPT, b"%d" % (attempt.attempt + 1)),
        (Header.HISTORY, history(record, attempt)),
    )
    return record._replace(headers=headers)


def history(record: Record, attempt: Attempt) -> bytes:
    """The JSON of all attempts so far, this one last. A history that somebody else broke begins anew."""
    try:
        past = msgspec.json.decode(header_map(record)[Header.HISTORY], type=list[Attempt])
    except (KeyError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        past = []
    return msgspec.json.encode([*past, attempt][-LAST_KEPT:])


def due_headers(record: Record) -> Headers:
    """The headers with which a record that is due goes back to the request topic."""
    return _without(record.headers, Header.NOT_BEFORE_MS)


def _without(headers: Headers, *names: str) -> Headers:
    return tuple(header for header in headers if header[0] not in names)
