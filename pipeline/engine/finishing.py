"""Turns the outputs of a model into answers, with one call for each task."""

from collections.abc import Callable, Sequence

from ..errors import InferstreamError
from ..tasks.base import Finished, Task
from .flight import Flight
from .flights import by_task
from .made_by_tasks import checked_answers, fault


def finish(flights: list[Flight], clock: Callable[[], float]) -> list[Flight]:
    """Set the result of each of these flights, whose rows have all run: its answer, or its error."""
    for group in by_task(flights):
        for flight, result in zip(group, _results(group[0].task, group), strict=True):
            flight.result = result
    now = clock()
    for flight in flights:
        flight.finished_at = now
    return flights


def _results(task: Task, flights: list[Flight]) -> Sequence[bytes | InferstreamError]:
    finished = [
        Finished(
            [e.output for e in flight.entries],
            [e.row for e in flight.entries],
            flight.ask.options,
            flight.pieces,
        )
        for flight in flights
    ]
    try:
        return checked_answers(task.name, task.finish(finished), len(flights))
    except Exception as error:
        if len(flights) == 1:
            return [fault(task.name, "could not make an answer of the model's output", error)]
        return [result for flight in flights for result in _results(task, [flight])]
