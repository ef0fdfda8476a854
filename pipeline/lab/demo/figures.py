"""The figures of a demo run, computed from the replies."""

from collections import Counter
from typing import Any

from msgspec import Struct, field

from ....schemas.messages import CacheStatus, Failure, Result
from ...client.replies import Answer
from ..statistics import percentile
from .batches import RanBatches


class Figures(Struct):
    """Sums over the replies that `observe` was called with. Times in seconds of one clock."""

    began: float
    now: float
    latencies_s: list[float] = field(default_factory=list)
    sources: Counter[CacheStatus] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    batches: RanBatches = field(default_factory=RanBatches)
    as_expected: int = 0
    with_expectation: int = 0
    model: str = ""
    version: str = ""

    def observe(self, answer: Answer[Any] | Failure, sent: float, now: float, expected: str | None) -> None:
        """Count one reply that arrived ``now``, with the time and category of its request."""
        self.now = now
        self.latencies_s.append(now - sent)
        if isinstance(answer, Failure):
            self.codes[answer.code] += 1
            self.failures.append(answer)
            return
        reply: Result = answer.reply
        self.model = reply.model
        self.version = reply.version
        self.sources[reply.cache] += 1
        if reply.batch:
            self.batches.add(reply.batch)
        if expected:
            self.with_expectation += 1
            self.as_expected += answer.output.category == expected

    @property
    def replies(self) -> int:
        return len(self.latencies_s)

    @property
    def answered(self) -> int:
        return self.sources.total()

    @property
    def seconds(self) -> float:
        return max(self.now - self.began, 1e-9)

    @property
    def per_second(self) -> float:
        return self.replies / self.seconds

    def percentile_ms(self, percent: float) -> float:
        """A percentile of the latencies; 0 without replies."""
        return percentile(self.latencies_s, percent) * 1e3 if self.latencies_s else 0.0
