"""A record's way to its outcome: decoded, checked, answered by the engine. The one place where errors are caught."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from ...schemas import codec
from ...schemas.messages import Request
from ...schemas.topics import PRIORITIES, Header, Topics
from ..broker.base import Record
from ..config import BreakerConfig, LimitConfig, RetryConfig, WindowConfig
from ..engine.engine import Engine, EngineAnswer, Job
from ..engine.flights import Flight
from ..errors import BadHeader, DeadlineExceeded, Overloaded, ReplyTopicNotAllowed, TooLarge, UnknownTask
from ..telemetry import Metrics
from .admission import Admission
from .breaker import Breaker
from .failures import Failing
from .outcome import Outcome, PendingOutcome
from .replies import MAX_ID_CHARACTERS, Address, Replies, ReplyTopics, header_map

NO_RETRIES = RetryConfig(tiers_s=[])
NO_HEADERS: Mapping[str, bytes] = {}
LATE = "The deadline had passed before the request was read: send it again with a later one."
LEVELS = f"one of {', '.join(PRIORITIES)}"
NORMAL = PRIORITIES.index("normal")
CACHED = ("memory", "disk")
T = TypeVar("T")
D = TypeVar("D")


class Handler:
    """Answers the records of one task's request topic."""

    def __init__(
        self,
        engine: Engine,
        topics: Topics,
        limits: LimitConfig,
        reply_topics: ReplyTopics,
        metrics: Metrics,
        *,
        breaker: Breaker | None = None,
        retries: RetryConfig = NO_RETRIES,
        admission: Admission | None = None,
        worker: str = "",
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine, self._topics, self._limits = engine, topics, limits
        self._reply_topics, self._replies = reply_topics, Replies(topics.task, limits.max_reply_bytes)
        self._metrics, self._clock, self._wall_clock = metrics, clock, wall_clock
        self._breaker = breaker or Breaker(BreakerConfig(), clock)
        self._admission = admission or Admission(WindowConfig().max_in_flight)
        self._failing = Failing(
            topics, self._replies, metrics, self._breaker, retries, worker=worker, wall_clock=wall_clock
        )

    def handle(self, record: Record) -> Outcome | PendingOutcome:
        """The outcome, or what must be awaited for it. Neither raises for anything that is in the record.

        A record that needs neither the device nor the broker (a cached answer, a bad request) is answered at once:
        a task for each would cost more than all the rest.
        """
        self._failing.read()
        return self._handle(record)

    def _handle(self, record: Record) -> Outcome | PendingOutcome:
        headers = header_map(record) if record.headers else NO_HEADERS
        wanted = headers.get(Header.REPLY_TOPIC)
        topic = self._topics.replies if wanted is None else wanted.decode(errors="replace")
        request = None
        try:
            request = self._decode(record)
            job = self._job(request, headers)
        except Exception as error:
            identity = request.id if request else getattr(error, "id", None)
            address = self._reply_topics.address(record, topic, identity)
            if address is None:
                return self._handle_new_topic(record, topic)
            return self._failing.outcome(record, address, error)
        address = self._reply_topics.address(record, topic, request.id)
        return self._begin(record, address, job) if address else self._handle_new_topic(record, topic)

    def _begin(self, record: Record, address: Address, job: Job) -> Outcome | PendingOutcome:
        try:
            self._admission.check(job.tenant)
        except Overloaded as refusal:
            return self._refuse(record, address, job, refusal)
        try:
            found = self._engine.begin(job)
        except Exception as error:
            return self._failing.outcome(record, address, error)
        if isinstance(found, EngineAnswer):
            return self._answered(address, found)
        return self._admission.taken(job.tenant, self._arrive(record, address, job, found))

    def _refuse(self, record: Record, address: Address, job: Job, refusal: Overloaded) -> Outcome:
        """The refusal of a tenant beyond its share, unless the answer is in memory: that costs the device nothing."""
        try:
            found = self._engine.lookup(job)
        except Exception as error:
            return self._failing.outcome(record, address, error)
        return self._answered(address, found) if found else self._failing.outcome(record, address, refusal)

    async def _handle_new_topic(self, record: Record, topic: str) -> Outcome:
        """`_handle` for a reply topic that is seen for the first time."""
        try:
            await self._reply_topics.check(topic)
        except ReplyTopicNotAllowed as error:
            return self._failing.unanswerable(record, error)
        found = self._handle(record)
        return found if isinstance(found, Outcome) else await found

    async def _arrive(self, record: Record, address: Address, job: Job, flight: Flight) -> Outcome:
        found: EngineAnswer | Flight | None = flight
        began = self._clock()
        while True:
            try:
                if found is None:
                    found = self._engine.begin(job)
                if isinstance(found, Flight):
                    found = await self._engine.arrive(found, job.expires)
                return self._answered(address, found)
            except Exception as error:
                again = self._failing.again_in_place(record, error, self._clock() - began)
                if again is None:
                    return self._failing.outcome(record, address, error, flight.task.version)
            record, pause_s = again
            await asyncio.sleep(pause_s)
            found = None

    def _decode(self, record: Record) -> Request:
        size, most = len(record.value or b""), self._limits.max_request_bytes
        if size > most:
            raise TooLarge(f"The request has {size} bytes, more than the {most} allowed: split the text.")
        request = codec.decode_request(record.value)
        if request.id is not None and len(request.id) > MAX_ID_CHARACTERS:
            raise TooLarge(
                f"The field `id` is longer than {MAX_ID_CHARACTERS} characters: send a shorter one."
            )
        return request

    def _job(self, request: Request, headers: Mapping[str, bytes]) -> Job:
        task = self._topics.task
        if request.task is not None and request.task != task:
            raise UnknownTask(
                f"This topic serves {task!r}, not {request.task!r}: send `task` {task!r} or none."
            )
        if not headers:
            return Job(str(request.text), options=request.options)
        return Job(
            str(request.text),
            model=_header(headers, Header.MODEL, str, "a name", None),
            options=request.options,
            tenant=_header(headers, Header.TENANT, str, "a name", ""),
            expires=self._expires(headers),
            priority=_header(headers, Header.PRIORITY, PRIORITIES.index, LEVELS, NORMAL),
        )

    def _expires(self, headers: Mapping[str, bytes]) -> float:
        """The deadline in seconds of the clock. Raises DeadlineExceeded when it is past."""
        deadline = _header(headers, Header.DEADLINE_MS, _seconds, "Unix time in milliseconds", None)
        if deadline is None:
            return math.inf
        left_s = deadline - self._wall_clock()
        if left_s <= 0:
            raise DeadlineExceeded(LATE)
        return self._clock() + left_s

    def _answered(self, address: Address, answer: EngineAnswer) -> Outcome:
        if answer.cache not in CACHED:
            self._breaker.answered()
        self._metrics.answered(answer.cache, answer.timings.total_ms)
        return self._replies.result(address, answer)


def _header(
    headers: Mapping[str, bytes], name: str, parse: Callable[[str], T], wanted: str, default: D
) -> T | D:
    """The parsed header, ``default`` without one. Raises BadHeader."""
    value = headers.get(name)
    if value is None:
        return default
    try:
        return parse(value.decode())
    except (ValueError, OverflowError) as error:
        raise BadHeader(f"The header {name!r} must be {wanted}, got {value[:40]!r}.") from error


def _seconds(milliseconds: str) -> float:
    return int(milliseconds) / 1e3
