"""What happens with a request that failed: a retry, or a Failure, perhaps with a dead letter."""

import logging
import random
from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from ...schemas.codec import DecodeError
from ...schemas.topics import Header, Topics
from ..broker.base import Record, Unread
from ..config import RetryConfig
from ..errors import (
    DeviceError,
    InferstreamError,
    ModelElsewhere,
    Poison,
    ReplyTopicNotAllowed,
    UnreadableBatch,
)
from ..telemetry import TaskMetrics
from .arrival import Arrival
from .breaker import Breaker
from .dead_letters import batch_letter, dead_letter
from .outcome import Outcome
from .replies import ReplyBuilder
from .retries import JITTER, RETRIED, Attempt, RetryBudget, attempt_of, delay_s, to_retry_topic, with_attempt

log = logging.getLogger(__name__)


class WorkerStamp(NamedTuple):
    """What a worker writes on a record that failed: its name, and Unix time in seconds."""

    worker: str
    wall_clock: Callable[[], float]


class RetryInPlace(NamedTuple):
    """The next attempt of a request that keeps its slot in the window, after ``pause_s``."""

    arrival: Arrival
    pause_s: float


class FailurePolicy:
    """Decides for all requests of one worker. `retry_or_end`, then `end`, read top to bottom."""

    def __init__(
        self,
        topics: Topics,
        retries: RetryConfig,
        replies: ReplyBuilder,
        metrics: TaskMetrics,
        breaker: Breaker,
        stamp: WorkerStamp,
    ) -> None:
        self._topics = topics
        self._retries = retries
        self._replies = replies
        self._metrics = metrics
        self._breaker = breaker
        self._stamp = stamp
        self._budget = RetryBudget(retries)
        self._elsewhere_budget = RetryBudget(retries)  # so that misspelled models leave the other to failures

    def unreadable(self, record: Record, unread: Unread) -> Outcome:
        """The end of a batch that cannot be read: where a reply should go is unknown."""
        self._metrics.failed(UnreadableBatch.code)
        log.warning(
            "%s/%s: the batch of the offsets %s to %s cannot be read, since %s. A dead letter names them.",
            record.topic,
            record.partition,
            unread.first_offset,
            record.offset,
            unread.reason,
        )
        topic, now_s = self._topics.dead_letters, self._stamp.wall_clock()
        return batch_letter(record, unread, topic, now_s, self._stamp.worker)

    def request_was_read(self) -> None:
        """Count one request: retries are bounded by a share of the requests."""
        self._budget.earn()
        self._elsewhere_budget.earn()

    def retry_or_end(
        self, arrival: Arrival, error: Exception, version: str, waited_s: float
    ) -> Outcome | RetryInPlace:
        """The next step after an attempt failed: retry in place, retry topic, or the `end`.

        A transient failure is retried while attempts, time and budget are left. A request whose order
        matters is retried in its place, each time after the shortest delay: it blocks the records
        of its own key and no others. All others wait in the retry topic of their delay.

        Args:
            version: of the model that failed.
            waited_s: seconds since the first attempt of a retry in place began.
        """
        number = attempt_of(arrival.headers)
        tier_s = delay_s(number, self._retries)
        if not isinstance(error, RETRIED) or tier_s is None:
            return self.end(arrival, error, version)
        now_s = self._stamp.wall_clock()
        pause_s: float = tier_s
        if arrival.keeps_order:
            pause_s = min(self._retries.tiers_s) * random.uniform(1, 1 + JITTER)
            if waited_s + pause_s > self._retries.in_place_s:
                return self.end(arrival, error, version)
        if _deadline_s(arrival) < now_s + pause_s or not self._budget.spend():
            return self.end(arrival, error, version)
        attempt = Attempt(number, error.code, round(now_s * 1e3), self._stamp.worker)
        if arrival.keeps_order:
            return RetryInPlace(with_attempt(arrival, attempt), pause_s)
        self._metrics.retried(error.code)
        self._breaker.trial_failed()
        message = to_retry_topic(arrival, self._topics, attempt, tier_s)
        return Outcome((message,), if_too_large=lambda: self.end(arrival, error, version))

    def elsewhere(self, arrival: Arrival, error: ModelElsewhere) -> Outcome:
        """A request for a model that this worker lacks: the next attempt may meet another worker.

        It waits in the retry topic of the shortest delay: time does not help, only another member of the
        group. A request whose order matters would meet this worker again and ends at once.
        """
        number = attempt_of(arrival.headers)
        if arrival.keeps_order or delay_s(number, self._retries) is None:
            return self.end(arrival, error)
        now_s = self._stamp.wall_clock()
        tier_s = min(self._retries.tiers_s)
        if _deadline_s(arrival) < now_s + tier_s or not self._elsewhere_budget.spend():
            return self.end(arrival, error)
        attempt = Attempt(number, error.code, round(now_s * 1e3), self._stamp.worker)
        self._metrics.retried(error.code)
        message = to_retry_topic(arrival, self._topics, attempt, tier_s)
        return Outcome((message,), if_too_large=lambda: self.end(arrival, error))

    def end(self, arrival: Arrival, error: Exception, version: str = "") -> Outcome:
        """The terminal event: a Failure to the caller, and a dead letter if the worker is at fault.

        A request whose reply topic must not be used becomes a dead letter only.
        """
        if not isinstance(error, InferstreamError | DecodeError):
            log.error(
                "A defect failed the request %s: its caller gets the code `internal`; others go on.",
                arrival.reply_id,
                exc_info=error,
            )
            where = f"the worker, or in the code of the task {arrival.job.task or self._topics.task!r}"
            error = InferstreamError(
                f"A defect in {where}: {type(error).__name__}; the worker's log has more."
            )
        self._metrics.failed(error.code)
        answerable = not isinstance(error, ReplyTopicNotAllowed)
        if answerable and not _is_worker_at_fault(error):
            return self._replies.failure(arrival, error)
        letter = dead_letter(
            arrival.record,
            self._topics.dead_letters,
            error,
            self._stamp.wall_clock(),
            worker=self._stamp.worker,
            version=version,
            release=arrival.release,
        )
        if not answerable:
            return letter
        if not isinstance(error, Poison):  # known before it ran: it did not reach the device
            self._breaker.dead()
        return replace(self._replies.failure(arrival, error), then=letter)


def _deadline_s(arrival: Arrival) -> float:
    """The deadline in Unix seconds; infinite where the header is missing or not a number."""
    value = arrival.headers.get(Header.DEADLINE_MS, b"")
    return int(value) / 1e3 if value.isdigit() else float("inf")


def _is_worker_at_fault(error: InferstreamError | DecodeError) -> bool:
    """Whether the worker failed, not the request: such a record is kept, and can be replayed."""
    return isinstance(error, (DeviceError, *RETRIED)) or type(error) is InferstreamError
