"""The timings of an answer, in milliseconds, and its last batch."""

from msgspec import UNSET

from ...schemas.messages import BatchInfo, Timings
from .batching import BatchStats
from .flight import Flight


def total_timings(began: float, now: float) -> Timings:
    """For an answer without a run of its own: cached, or of a flight that was joined."""
    return Timings(total_ms=round((now - began) * 1e3, 3))


def flight_timings(flight: Flight, now: float) -> Timings:
    """For the request that started the flight."""
    return Timings(
        prepare_ms=_ms(flight.prepared_at - flight.started_at),
        wait_ms=_ms(flight.ran_at - flight.prepared_at),
        run_ms=round(flight.run_ms, 3),
        finish_ms=_ms(flight.finished_at - flight.ran_at - flight.run_ms / 1e3),
        total_ms=_ms(now - flight.started_at),
        first_ms=UNSET if flight.first_at is None else _ms(flight.first_at - flight.started_at),
    )


def batch_info(flight: Flight, batch: BatchStats) -> BatchInfo:
    """The last batch of the flight, and its steps if there were more than its rows."""
    steps = flight.steps if flight.steps > flight.outputs else UNSET
    return BatchInfo(batch.rows, batch.tokens, batch.padded_tokens, steps)


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)
