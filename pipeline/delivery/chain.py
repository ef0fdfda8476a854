"""One step of a chain: reads its requests, and makes of its answers the requests of the next step.

The rest of a worker knows nothing of chains: the id of a request is the caller's at every step, so replies,
cancels and leases are those of any task. On the topic of a later step an id ends with the step's number, ``t1/2``.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import msgspec
from msgspec import MsgspecError, Raw
from msgspec.structs import replace

from ...schemas import codec
from ...schemas.messages import Failure, Request
from ...schemas.topics import Header
from ..broker.base import Headers, Message
from ..engine.engine_answer import EngineAnswer
from ..engine.job import Job
from ..errors import BadHeader, InferstreamError, ReplyTooLarge
from ..tasks.chains.chain import ChainStep
from ..tasks.chains.step_text import Known
from .arrival import Arrival
from .cancels import Cancels
from .outcome import Outcome
from .replies import ReplyBuilder, Undeliverable
from .request_reader import RequestReader
from .retries import asked_ms

LEFT_BEHIND: Final = frozenset(
    {
        Header.ATTEMPT,
        Header.HISTORY,
        Header.NOT_BEFORE_MS,
        Header.ORIGIN,
        Header.ORIGIN_MS,
        Header.ASKED_MS,
        Header.ENDED,
        Header.RELEASE,
    }
)
"""Headers that concern one step alone, or are written anew. All others go along: deadline, tenant, priority, trace,
lease, reply topic, order, and those that replies repeat."""


CHAIN_TEXT: Final = "chain_text"
NOTHING: Final = Raw(b"null")

_strings: Final = msgspec.json.Decoder(str)


class StepBody(Request, frozen=True):
    """The body of a request to any step, without its own content.

    Attributes:
        chain_text: what the chain was asked, where a later step is asked of it. Not decoded: a stranger may have
            written anything there.
    """

    chain_text: Raw = NOTHING

    @property
    def chain_asked(self) -> str:
        try:
            return _strings.decode(self.chain_text)
        except (MsgspecError, UnicodeDecodeError):
            return ""


class EndedBefore(InferstreamError):
    """An earlier step has failed; ``failure`` is to be passed on, in the order of its key."""

    code = "ended_before"  # in metrics alone: the caller gets the Failure

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class StepReader(RequestReader):
    """Reads the requests of one step. Each is a request to the chain: its options are given by step."""

    def __init__(
        self,
        step: ChainStep,
        max_request_bytes: int,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        cancels: Cancels | None = None,
    ) -> None:
        # A caller's request is a text; those of later steps are what the settings make of an answer.
        kind = Request if step.topics.step == 1 else step.declared.contract.request
        super().__init__(step.topics, max_request_bytes, clock, wall_clock, cancels, kind)
        self._step = step
        self._number = step.topics.step
        self._is_last = step.follower is None
        self._suffix = "" if self._number == 1 else f"/{self._number}"
        if self._suffix:
            self._decode = self._decode_step

    def read(self, arrival: Arrival) -> Job:
        """See `RequestReader.read`; also raises EndedBefore."""
        if self._number > 1 and Header.ENDED in arrival.headers:
            raise self._passed_on(arrival)
        job = super().read(arrival)
        arrival.job = self._own(job)
        return arrival.job

    def _own(self, job: Job) -> Job:
        """The job for the engine, which serves tasks and knows no chain. Each step checks the options of all."""
        if job.model is not None:
            raise BadHeader(
                f"The header {Header.MODEL!r} has no meaning for a chain: the settings name the model of each step."
            )
        request = job.request
        if request.options:
            self._step.chain.check(request.options)
        asked = replace(
            request,
            options=self._step.options(request.options),
            stream=request.stream and self._is_last,
        )
        declared = self._step.declared
        return replace(job, task=declared.task, model=declared.model, request=asked)

    def _decode_step(self, value: bytes | None, kind: type[Request]) -> Request:
        """The request, with the id of the caller."""
        try:
            request = codec.decode_request(value, kind)
        except codec.DecodeError as error:
            error.id = self._caller_id(error.id)
            raise
        return replace(request, id=self._caller_id(request.id))

    def _id_in(self, value: bytes) -> str | None:
        return self._caller_id(super()._id_in(value))

    def _caller_id(self, identity: str | None) -> str | None:
        return identity.removesuffix(self._suffix) if identity is not None else None

    def _passed_on(self, arrival: Arrival) -> EndedBefore:
        value = arrival.record.value
        arrival.id = self._id_in(value or b"")
        ended = codec.decode_reply(value)
        if not isinstance(ended, Failure):
            raise codec.DecodeError(
                "wrong_type", f"A record with the header {Header.ENDED!r} must hold a Failure."
            )
        return EndedBefore(replace(ended, id=arrival.reply_id))


class StepReplies(ReplyBuilder):
    """Makes what follows an answer: the request of the next step; behind the last step the reply to the caller.

    A Failure goes to the caller at once. Where the order of replies matters it takes the way of the
    answers, through the later steps, which pass it on: so it overtakes none of them.
    """

    def __init__(
        self,
        step: ChainStep,
        max_bytes: int,
        echo: Sequence[str] = (),
        undeliverable: Undeliverable | None = None,
    ) -> None:
        where = f"Step {step.topics.step} of {step.chain.name}, {step.declared.name}: "
        super().__init__(step.declared.task, max_bytes, echo, undeliverable, where)
        self._follower = step.follower
        self._first = step.topics.step == 1
        self._keeps_request = step.follower is not None and step.follower.keeps_request

    def result(self, arrival: Arrival, answer: EngineAnswer) -> Outcome:
        """See `ReplyBuilder.result`."""
        if self._follower is None:
            return super().result(arrival, answer)
        try:
            body = self._next_request(arrival, answer.output, self._follower)
        except (MsgspecError, UnicodeError, RecursionError):
            sentence = "Its answer has no fields of which the next step could be asked."
            return self.failure(arrival, InferstreamError(sentence))
        following = self._to_next(arrival, self._follower, body)
        return Outcome((following,), partial(self._too_large_for_next, arrival, len(body)))

    def failure(self, arrival: Arrival, error: InferstreamError | codec.DecodeError) -> Outcome:
        """See `ReplyBuilder.failure`."""
        if isinstance(error, EndedBefore):
            return self.ended(arrival, error.failure)
        return super().failure(arrival, error)

    def ended(self, arrival: Arrival, failure: Failure) -> Outcome:
        """See `ReplyBuilder.ended`."""
        told = super().ended(arrival, failure)
        if self._follower is None or not arrival.keeps_order:
            return told
        body = codec.encode(replace(failure, id=_id_at(self._follower, failure.id)))
        passed_on = self._to_next(arrival, self._follower, body, (Header.ENDED, b"1"))
        return Outcome((passed_on,), lambda: told)

    def _next_request(self, arrival: Arrival, output: bytes, follower: ChainStep) -> bytes:
        """The request of the next step: what this one was asked, with other content, and an id that names the step.

        The record alone decides it, so a redelivery makes the same one.
        """
        asked = codec.decode_request(arrival.record.value, StepBody)
        text = asked.text or ""
        chain_text = text if self._first else asked.chain_asked
        make = follower.declared.request
        assert make is not None
        content = make.of(Known(chain_text, text, output))
        if self._keeps_request:
            content[CHAIN_TEXT] = chain_text
        body = Request(
            id=_id_at(follower, arrival.reply_id),
            options=asked.options,
            stream=asked.stream,
            final=asked.final,
            supersedes=asked.supersedes,
        )
        return msgspec.json.encode({**msgspec.to_builtins(body), **content})

    def _too_large_for_next(self, arrival: Arrival, size: int) -> Outcome:
        sentence = (
            f"Its answer makes a request of {size} bytes for the next step, more than its topic takes: send a shorter "
            "text, or raise the topic's max.message.bytes."
        )
        return self.ended(arrival, self._failure(arrival, ReplyTooLarge.code, sentence))

    def _to_next(
        self, arrival: Arrival, follower: ChainStep, body: bytes, *more: tuple[str, bytes]
    ) -> Message:
        record = arrival.record
        kept: Headers = tuple(header for header in record.headers if header[0] not in LEFT_BEHIND)
        headers = (*kept, (Header.ASKED_MS, b"%d" % max(0, asked_ms(arrival))), *more)
        return Message(follower.topics.requests, body, record.key, headers)


def _id_at(step: ChainStep, identity: str) -> str:
    return f"{identity}/{step.topics.step}"
