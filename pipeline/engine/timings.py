"""The timings of an answer, in milliseconds."""

from ...schemas.messages import Timings
from .flight import Flight


def total_timings(began: float, now: float) -> Timings:
    """For an answer without a run of its own: cached, or of a flight that was joined."""
    return Timings(total_ms=_ms(now - began))


def flight_timings(flight: Flight, now: float) -> Timings:
    """For the request that started the flight."""
    return Timings(
        prepare_ms=_ms(flight.prepared_at - flight.started_at),
        wait_ms=_ms(flight.ran_at - flight.prepared_at),
        run_ms=round(flight.run_ms, 3),
        finish_ms=_ms(flight.finished_at - flight.ran_at - flight.run_ms / 1e3),
        total_ms=_ms(now - flight.started_at),
    )


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)
