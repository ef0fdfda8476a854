"""The end of a request whose reply topic vanished, or takes no reply."""

from collections.abc import Callable
from functools import partial

from ...schemas.topics import Topics
from ..errors import NotWritable
from ..telemetry import TaskMetrics
from .arrival import Arrival
from .dead_letters import dead_letter
from .failures import WorkerStamp
from .outcome import Outcome
from .reply_topics import ReplyTopics


class Undelivered:
    """Makes dead letters in place of replies. Only the task's own topics end a worker."""

    def __init__(
        self, topics: Topics, reply_topics: ReplyTopics, metrics: TaskMetrics, stamp: WorkerStamp
    ) -> None:
        self._own = topics.replies
        self._dead_letters = topics.dead_letters
        self._reply_topics = reply_topics
        self._metrics = metrics
        self._stamp = stamp

    def end_of(self, arrival: Arrival) -> Callable[[NotWritable], Outcome] | None:
        """Makes the dead letter; None if the reply topic is the task's own."""
        return None if arrival.reply_topic == self._own else partial(self._letter, arrival)

    def _letter(self, arrival: Arrival, error: NotWritable) -> Outcome:
        refusal = self._reply_topics.gone(arrival.reply_topic, error)
        self._metrics.failed(refusal.code)
        return dead_letter(
            arrival.record,
            self._dead_letters,
            refusal,
            self._stamp.wall_clock(),
            worker=self._stamp.worker,
        )
