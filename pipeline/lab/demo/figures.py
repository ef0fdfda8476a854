"""The figures of a demo run, gathered from the replies."""

import math
from collections import Counter
from collections.abc import Sequence

from msgspec import Struct, field

from ....schemas.messages import BatchInfo, CacheStatus, Failure, Result, TriageOutput
from ...client.replies import Answer

Routed = tuple[str, TriageOutput]


class Figures(Struct):
    """``observe`` every reply; the rest are sums over what was observed.

    A reply tells the batch that it ran in, so each of a batch's replies counts for one part in ``rows`` of it.
    """

    began: float
    now: float
    latencies_s: list[float] = field(default_factory=list)
    sources: Counter[CacheStatus] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    batch_sizes: Counter[int] = field(default_factory=Counter)
    tokens: float = 0.0
    padded_tokens: float = 0.0
    as_expected: int = 0
    with_expectation: int = 0
    model: str = ""
    version: str = ""

    def observe(self, answer: Answer | Failure, sent: float, now: float, expected: str | None) -> None:
        """One reply, with the times at which its request was sent and it came."""
        self.now = now
        self.latencies_s.append(now - sent)
        if isinstance(answer, Failure):
            self.codes[answer.code] += 1
            self.failures.append(answer)
            return
        reply: Result = answer.reply
        self.model, self.version = reply.model, reply.version
        self.sources[reply.cache] += 1
        if reply.batch:
            self._batch(reply.batch)
        if expected:
            self.with_expectation += 1
            self.as_expected += answer.output.category == expected

    def _batch(self, batch: BatchInfo) -> None:
        self.batch_sizes[batch.rows] += 1
        self.tokens += batch.tokens / batch.rows
        self.padded_tokens += batch.padded_tokens / batch.rows

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

    @property
    def batches(self) -> float:
        return sum(count / rows for rows, count in self.batch_sizes.items())

    @property
    def mean_batch(self) -> float:
        return self.batch_sizes.total() / self.batches if self.batch_sizes else 0.0

    @property
    def padding_share(self) -> float:
        """Padded tokens that carry no text, as a share of all that ran."""
        return 1 - self.tokens / self.padded_tokens if self.padded_tokens else 0.0

    def percentile_ms(self, share: float) -> float:
        return percentile(self.latencies_s, share) * 1e3


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of ``values`` that ``share`` of them do not exceed; 0 without any."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else 0.0
