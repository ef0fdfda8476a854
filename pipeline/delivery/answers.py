"""What happens with an answer of the engine: it is counted and becomes the reply."""

from functools import partial

from ..broker.base import Message
from ..engine.engine_answer import EngineAnswer
from ..telemetry import TaskMetrics
from .arrival import Arrival
from .breaker import Breaker
from .chunks import AnswerPart, Chunks
from .outcome import Outcome
from .replies import ReplyBuilder
from .resuming import Resuming
from .slots import Slot

CACHED = ("memory", "disk")


class AnswerPolicy:
    """The counterpart of `FailurePolicy` for requests that were answered."""

    def __init__(
        self,
        replies: ReplyBuilder,
        metrics: TaskMetrics,
        breaker: Breaker,
        resuming: Resuming | None = None,
    ) -> None:
        """``resuming``: finds where an answer goes on that another worker has begun; None if the task cannot."""
        self.resuming = resuming
        self._replies = replies
        self._metrics = metrics
        self._breaker = breaker

    def chunks(self, arrival: Arrival, slot: Slot) -> Chunks:
        """What tells the answer in parts while it is being made."""
        told = len(arrival.job.told)
        return Chunks(slot, partial(self._chunk, arrival), told, arrival.first_seq)

    def _chunk(self, arrival: Arrival, part: AnswerPart) -> Message | None:
        message = self._replies.chunk(arrival, part)
        if message is not None:
            self._metrics.told()
        return message

    def outcome(self, arrival: Arrival, answer: EngineAnswer) -> Outcome:
        """The reply. Only answers that the device computed count for the breaker."""
        if answer.cache not in CACHED:
            self._breaker.answered()
        self._metrics.answered(answer.cache, answer.timings.total_ms)
        return self._replies.result(arrival, answer)
