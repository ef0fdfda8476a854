"""The path of a record to its outcome: read, admit, run. The one place where errors are caught."""

import asyncio
import logging
import math
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from ..broker.base import Record
from ..engine.engine_answer import EngineAnswer
from ..engine.flight import Flight, Follow, not_followed
from ..engine.flight_ends import EXPIRED, GivenBack
from ..engine.trials.answering import Answering
from ..errors import DeadlineExceeded, ModelElsewhere, ReplyTopicNotAllowed, Superseded
from .admission import Admission
from .answers import AnswerPolicy
from .arrival import Arrival
from .chunks import Chunks
from .failures import FailurePolicy
from .outcome import Outcome, PendingOutcome
from .reply_topics import ReplyTopics
from .request_reader import RequestReader
from .resuming import Resuming
from .retries import attempt_of
from .running_request import RunningRequest
from .slots import Slot

log = logging.getLogger(__name__)


class Handler:
    """Answers the records of one task's request topic."""

    def __init__(
        self,
        engine: Answering,
        reader: RequestReader,
        reply_topics: ReplyTopics,
        admission: Admission,
        answers: AnswerPolicy,
        failures: FailurePolicy,
    ) -> None:
        """``answers`` also says how an answer is resumed that another worker has begun."""
        self._engine = engine
        self._reader = reader
        self._reply_topics = reply_topics
        self._admission = admission
        self._answers = answers
        self._failures = failures
        self._resuming = answers.resuming
        self._cancels = reader.cancels

    def handle(self, record: Record, slot: Slot) -> Outcome | PendingOutcome:
        """The outcome, or an awaitable of it. Neither raises, whatever the record holds.

        The awaitable gives the ``slot`` the parts of an answer that is told while it is being made.

        A record that needs neither the device nor the broker (a cached answer, a bad request) is
        answered at once: a task for each would cost more than all the rest.
        """
        if record.unread is not None:
            return self._failures.unreadable(record, record.unread)
        if record.timestamp_ms < self._cancels.since_ms:
            return self._handle_when_covered(record, slot)
        self._failures.request_was_read()
        arrival = self._reader.arrival(record)
        if not self._reply_topics.assign(arrival):
            return self._answer_on_new_topic(arrival, slot)
        return self._answer(arrival, slot)

    def _answer(self, arrival: Arrival, slot: Slot, is_read: bool = False) -> Outcome | PendingOutcome:
        """Decode, check, look into the cache; what is left waits for the device in `_run`."""
        try:
            job = arrival.job if is_read else self._reader.read(arrival)
            is_special = not is_read and (job.request.stream or not job.request.final)
            if is_special and (later := self._answer_later(arrival, slot)) is not None:
                return later
            takes_place = False
            if is_newer := job.request.supersedes is not None:
                takes_place = self._takes_place(arrival)
                job = arrival.job
            if takes_place or self._admission.is_within_share(job.tenant):
                found = self._engine.begin(job)
            elif (cached := self._engine.lookup(job)) is not None:  # costs the device nothing
                found = cached
            else:
                raise self._admission.refusal(job.tenant)
        except ModelElsewhere as error:
            return self._failures.elsewhere(arrival, error)
        except Exception as error:
            return self._failures.end(arrival, error)
        if is_newer:  # one that was refused ends no other
            self._cancels.supersede(arrival)
        arrival.release = found.release
        if isinstance(found, EngineAnswer):
            return self._answers.outcome(arrival, found)
        if job.request.stream:
            arrival.chunks = self._answers.chunks(arrival, slot)
        size = len(arrival.record.value or b"")
        return self._admission.admitted(job.tenant, size, self._run_unless_cancelled(arrival, found))

    def _answer_later(self, arrival: Arrival, slot: Slot) -> PendingOutcome | None:
        """`_answer` a request of which more must be known first; None if it can be answered now."""
        request = arrival.job.request
        if not request.final:
            return self._answer_partial(arrival, slot)
        if not request.stream or self._resuming is None:
            return None
        slot.resumes = True
        arrival.epoch = slot.epoch
        if slot.begun or attempt_of(arrival.headers) > 1:
            return self._answer_behind(arrival, slot, self._resuming)
        return None

    async def _answer_partial(self, arrival: Arrival, slot: Slot) -> Outcome:
        """`_answer` when all records of the poll were read: one behind it may supersede it."""
        try:
            self._cancels.check_partial(arrival)
        except Superseded as error:
            if arrival.job.request.supersedes is not None:
                self._cancels.pass_on(arrival)
            return self._failures.end(arrival, error)
        found = self._answer(arrival, slot, is_read=True)
        return found if isinstance(found, Outcome) else await found

    async def _answer_behind(self, arrival: Arrival, slot: Slot, resuming: Resuming) -> Outcome:
        """`_answer` a request of which another worker may have told pieces: it goes on behind them."""
        resumed = await resuming.resumed(arrival, slot.epoch)
        version = resumed.version
        if self._engine.devices.find(arrival.job.task, version) is not None:
            arrival.job = replace(arrival.job, told=resumed.pieces, told_by=version)
        # Else it begins anew: behind the pieces of another model it would be the answer of neither.
        arrival.epoch = resumed.epoch
        arrival.first_seq = resumed.seq
        found = self._answer(arrival, slot, is_read=True)
        return found if isinstance(found, Outcome) else await found

    def _takes_place(self, arrival: Arrival) -> bool:
        """Whether this request takes the place of one that waits, and so needs no room.

        A partial is also due when that was: else quick partials would end one another for ever while the device is
        busy. A final passes all partials, and is due by its own arrival: else finals whose partial has waited for
        long would pass those whose partial was answered.
        """
        earlier = self._cancels.superseded_by(arrival)
        if earlier is None:
            return False
        if not arrival.job.request.final:
            arrival.job = replace(arrival.job, waited_s=self._engine.clock() - earlier.since)
        return True

    async def _handle_when_covered(self, record: Record, slot: Slot) -> Outcome:
        """`handle` a record when the cancels since it was sent are known."""
        await self._cancels.cover(record.timestamp_ms)
        found = self.handle(record, slot)
        return found if isinstance(found, Outcome) else await found

    async def _run_unless_cancelled(self, arrival: Arrival, flight: Flight) -> Outcome:
        """`_run`, until the request is cancelled. Then it leaves its flight, and ends."""
        with self._cancels.running(arrival) as running:
            try:
                outcome = await self._run(arrival, flight, running)
            except asyncio.CancelledError:
                if not running.ends_it():
                    raise
            else:  # it may have had nothing to wait for
                if not running.ends_it():
                    return outcome
            finally:
                if arrival.chunks is not None:
                    arrival.chunks.end()
        assert running.error is not None
        return self._failures.end(arrival, running.error)

    async def _run(self, arrival: Arrival, flight: Flight, running: RunningRequest) -> Outcome:
        """Wait for the device. A request whose order matters is retried here, in its place."""
        began = self._engine.clock()
        chunks = arrival.chunks
        running.since = began - arrival.job.waited_s
        follow = running.followed(not_followed if chunks is None else chunks.follow)
        attempt = self._engine.arrive(flight, arrival.job, follow)
        while True:
            try:
                return self._answers.outcome(arrival, await attempt)
            except Exception as error:
                told = None if chunks is None else self._told(chunks)
                if chunks is not None and chunks.seq:  # another model would have other pieces than those told
                    arrival.job = replace(arrival.job, told_by=chunks.version)
                if isinstance(error, GivenBack) and chunks is not None and told is not None:
                    arrival.job = replace(arrival.job, told=told)
                    attempt = self._answer_when_read(arrival, chunks, follow)
                    continue
                if told is None and chunks is not None and chunks.seq and not flight.keep:
                    # Another attempt would have other pieces than those that were told.
                    return self._failures.end(arrival, error, flight.task.version)
                waited_s = self._engine.clock() - began
                next_step = self._failures.retry_or_end(arrival, error, flight.task.version, waited_s)
            if isinstance(next_step, Outcome):
                return next_step
            arrival = next_step.arrival
            if told:
                arrival.job = replace(arrival.job, told=told)
            running.check()  # it may have been superseded while it was on the device
            await asyncio.sleep(next_step.pause_s)
            attempt = self._engine.answer(arrival.job, follow)

    async def _answer_when_read(self, arrival: Arrival, chunks: Chunks, follow: Follow) -> EngineAnswer:
        """Go on with an answer whose reader lagged, and whose memory others needed, when it is read again."""
        expires = arrival.job.expires
        left_s = None if expires == math.inf else expires - self._engine.clock()
        try:
            async with asyncio.timeout(left_s):
                await chunks.until_read()
        except TimeoutError:
            raise DeadlineExceeded(EXPIRED) from None
        return await self._engine.answer(arrival.job, follow)

    def _told(self, chunks: Chunks) -> Sequence[Any] | None:
        """The pieces that were told, for another attempt to go on behind them; None if its task cannot."""
        if self._resuming is None:
            return None
        try:
            told = chunks.told()
            return None if told is None else self._resuming.decoded(told)
        except Exception:  # the code of a task may raise anything
            log.exception("What was told of an answer cannot be read: it is not tried again.")
            return None

    async def _answer_on_new_topic(self, arrival: Arrival, slot: Slot) -> Outcome:
        """`_answer` for a reply topic that is named for the first time: ask the broker for it."""
        try:
            await self._reply_topics.check(arrival.reply_topic)
        except ReplyTopicNotAllowed as error:
            return self._failures.end(arrival, error)
        self._reply_topics.assign(arrival)
        found = self._answer(arrival, slot)
        return found if isinstance(found, Outcome) else await found
