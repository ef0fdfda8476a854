"""What is measured in one turn of a system: requests/s, CPU time, the answers, latencies."""

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from ....schemas import codec
from ....schemas.messages import Failure, Result
from ...broker.base import Record
from ...errors import InferstreamError


class Cpu(Struct, frozen=True):
    """CPU seconds of the measured process, of the brokers started for the run, and of the load generator."""

    measured_s: float
    broker_s: float = 0.0
    generator_s: float = 0.0

    def since(self, before: "Cpu") -> "Cpu":
        """The CPU time used between ``before`` and this."""
        return Cpu(
            self.measured_s - before.measured_s,
            self.broker_s - before.broker_s,
            self.generator_s - before.generator_s,
        )


class Run(Struct, frozen=True):
    """One turn at full load.

    ``labels`` are the categories, or the translations, by the number of the text, ``padding`` is a share of all
    tokens that ran.
    """

    requests: int
    seconds: float
    cpu: Cpu
    labels: dict[int, str] = {}
    padding: float = 0.0
    steady_per_s: float = 0.0
    """Without the first and the last fifth of the replies: while no worker has run out of requests."""

    @property
    def per_s(self) -> float:
        return self.requests / self.seconds

    @property
    def cpu_ms(self) -> float:
        """CPU time of the measured process for one request."""
        return self.cpu.measured_s / self.requests * 1e3


class Paced(Struct, frozen=True):
    """One turn at a fixed rate: requests/s until the last answer, and the latency of each request."""

    per_s: float
    latencies_ms: list[float]


def run_of(records: Sequence[Record], began: float, cpu: Cpu) -> Run:
    """The turn that gave these replies; it lasts from the Unix time ``began`` to the last reply's timestamp.

    Raises InferstreamError for a failure reply.
    """
    results = {number_of(record): result for record in records if (result := _result(record))}
    return Run(
        requests=len(records),
        seconds=max(record.timestamp_ms for record in records) / 1e3 - began,
        cpu=cpu,
        labels={number: _label(result) for number, result in results.items()},
        padding=padding(results.values()),
        steady_per_s=_steady_per_s(sorted(record.timestamp_ms for record in records)),
    )


def _steady_per_s(sent_ms: Sequence[int]) -> float:
    first, last = len(sent_ms) // 5, len(sent_ms) * 4 // 5
    return (last - first) / max(1, sent_ms[min(last, len(sent_ms) - 1)] - sent_ms[first]) * 1e3


def number_of(record: Record) -> int:
    """The number of the text within its turn; the key of a record is TURN-NUMBER."""
    return int((record.key or b"").rpartition(b"-")[2])


def padding(results: Iterable[Result]) -> float:
    """The share of the tokens in all batches that are padding.

    Each reply describes the batch that it ran in, so it counts for its part, 1 / rows, of that batch.
    """
    batches = [result.batch for result in results if result.batch is not None]
    padded = sum(batch.padded_tokens / batch.rows for batch in batches)
    tokens = sum(batch.tokens / batch.rows for batch in batches)
    return 1 - tokens / padded if padded else 0.0


def _label(result: Result) -> str:
    output = msgspec.json.decode(result.output)
    return str(output["category"] if "category" in output else output["text"])


def _result(record: Record) -> Result | None:
    """The result in a reply; None for the body that the echo loop sends back."""
    try:
        reply = codec.decode_reply(record.value)
    except codec.DecodeError:
        return None
    if isinstance(reply, Failure):
        raise InferstreamError(f"A measured request failed: {reply.message}")
    return reply if isinstance(reply, Result) else None
