"""What becomes of a request that failed: it is tried again, answered with a Failure, or also kept as a dead letter."""

import logging
import random
from collections.abc import Callable

from ...schemas.codec import DecodeError
from ...schemas.messages import Failure
from ...schemas.topics import ANY_ORDER, Header, Topics
from ..broker.base import Record
from ..config import RetryConfig
from ..errors import DeviceError, InferstreamError, Overloaded, Poison
from ..telemetry import Metrics
from .breaker import Breaker
from .dead_letters import dead_letter
from .outcome import Outcome
from .replies import Address, Replies, header_map, sentence
from .retries import JITTER, RETRIED, Attempt, Budget, attempt_of, delay_s, tried, waiting

log = logging.getLogger(__name__)


class Failing:
    """Decides for one worker, which is called ``worker`` in the history of what it failed at."""

    def __init__(
        self,
        topics: Topics,
        replies: Replies,
        metrics: Metrics,
        breaker: Breaker,
        config: RetryConfig,
        *,
        worker: str,
        wall_clock: Callable[[], float],
    ) -> None:
        self._topics, self._replies, self._metrics, self._breaker = topics, replies, metrics, breaker
        self._config, self._worker, self._wall_clock = config, worker, wall_clock
        self._budget = Budget(config)

    def read(self) -> None:
        """A request was read: that much more may be tried again."""
        self._budget.earn()

    def outcome(self, record: Record, address: Address, error: Exception, version: str = "") -> Outcome:
        """How the request ends, or goes on, after ``error``; ``version`` is that of the model it was for."""
        if isinstance(error, RETRIED) and (again := self._again(record, error)):
            self._breaker.put_off()
            return again._replace(if_too_large=lambda: self._end(record, address, error, version))
        return self._end(record, address, error, version)

    def _end(self, record: Record, address: Address, error: Exception, version: str) -> Outcome:
        known = self._known(address, error)
        self._metrics.failed(known.code)
        failure = self._replies.failure(address, _failure(address.id, self._topics.task, known))
        if not _is_ours(known):
            return failure
        if not isinstance(known, Poison):  # it was known before, and did not reach the device
            self._breaker.dead()
        return failure._replace(then=self._letter(record, known, version))

    def unanswerable(self, record: Record, error: InferstreamError) -> Outcome:
        """The outcome of a request whose reply topic must not be used: the dead letter is all there is."""
        self._metrics.failed(error.code)
        return self._letter(record, error)

    def again_in_place(
        self, record: Record, error: Exception, waited_s: float
    ) -> tuple[Record, float] | None:
        """A request whose order matters as it is tried again in its place, after so many seconds; None to give up.

        It holds back the records of its own key meanwhile, and no others.
        """
        headers = header_map(record)
        another = delay_s(attempt_of(headers), self._config) is not None
        if not isinstance(error, RETRIED) or not another or not keeps_order(record):
            return None
        pause_s = min(self._config.tiers_s) * random.uniform(1, 1 + JITTER)
        within = waited_s + pause_s <= self._config.in_place_s
        if not within or self._too_late(headers, pause_s) or not self._budget.spend():
            return None
        return tried(record, self._attempt(headers, error)), pause_s

    def _again(self, record: Record, error: InferstreamError) -> Outcome | None:
        """The record on its way to a retry topic, if it may go there and a further attempt is left."""
        headers = header_map(record)
        seconds = delay_s(attempt_of(headers), self._config)
        if (
            seconds is None
            or keeps_order(record)
            or self._too_late(headers, seconds)
            or not self._budget.spend()
        ):
            return None
        self._metrics.retried(error.code)
        return Outcome((waiting(record, self._topics, self._attempt(headers, error), seconds),))

    def _attempt(self, headers: dict[str, bytes], error: InferstreamError) -> Attempt:
        """The line that the history gets for an attempt which failed now."""
        return Attempt(attempt_of(headers), error.code, round(self._wall_clock() * 1e3), self._worker)

    def _too_late(self, headers: dict[str, bytes], seconds: float) -> bool:
        deadline = headers.get(Header.DEADLINE_MS, b"")
        return deadline.isdigit() and int(deadline) / 1e3 < self._wall_clock() + seconds

    def _letter(self, record: Record, error: InferstreamError | DecodeError, version: str = "") -> Outcome:
        now = self._wall_clock()
        return dead_letter(
            record, self._topics.dead_letters, error, now, worker=self._worker, version=version
        )

    def _known(self, address: Address, error: Exception) -> InferstreamError | DecodeError:
        if isinstance(error, InferstreamError | DecodeError):
            return error
        log.error("A defect answered %s with the code `internal`; others go on.", address.id, exc_info=error)
        return InferstreamError(f"A defect in the worker: {type(error).__name__}; its log has more.")


def keeps_order(record: Record) -> bool:
    """Whether replies must come in the order of the requests of this record's key."""
    return record.key is not None and header_map(record).get(Header.ORDER) != ANY_ORDER


def _is_ours(error: InferstreamError | DecodeError) -> bool:
    """Whether the worker failed, and not the request: such a request is kept, and may be replayed."""
    return isinstance(error, (DeviceError, *RETRIED)) or type(error) is InferstreamError


def _failure(identity: str, task: str, error: InferstreamError | DecodeError) -> Failure:
    return Failure(
        id=identity,
        task=task,
        code=error.code,
        message=sentence(error),
        retryable=isinstance(error, InferstreamError) and error.retryable,
        retry_after_ms=error.retry_after_ms if isinstance(error, Overloaded) else None,
    )
