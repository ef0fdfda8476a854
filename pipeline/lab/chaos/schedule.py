"""The times of the faults: a pure function of the scenario, the length of the run, and a seed."""

import random
from collections.abc import Sequence
from typing import Final, NamedTuple

from .scenario import AREAS, Faults, Scenario

QUIET_END: Final = 0.1
"""No faults begin in this last share of the time: the effects of earlier ones need load."""

MIN_CALM: Final = 0.2
"""Minimum share of the calm in a short run: the figures of the calm need some time."""

SPREAD: Final = 0.5
"""A fault begins in this first share of its slot, to be apart from the next of its area."""


class Fault(NamedTuple):
    """One fault: begins ``at_s`` after the start. ``pick`` (0 to 1) chooses its target."""

    at_s: float
    kind: str
    seconds: float
    pick: float


def schedule(scenario: Scenario, seconds: float, seed: int) -> tuple[Fault, ...]:
    """The faults in the order of time, all between the calm and the quiet end."""
    areas: dict[str, list[Faults]] = {}
    for faults in scenario.faults:
        areas.setdefault(AREAS[faults.kind], []).append(faults)
    planned = [
        fault
        for area, kinds in areas.items()
        for fault in _of_area(kinds, scenario, seconds, random.Random(f"{seed}/{scenario.name}/{area}"))
    ]
    return tuple(sorted(planned))


def calm_s(scenario: Scenario, seconds: float) -> float:
    """Length of the calm: the scenario's, or less in a short run."""
    return min(scenario.calm_s, seconds * max(MIN_CALM, scenario.calm_s / scenario.seconds))


def _of_area(kinds: Sequence[Faults], scenario: Scenario, seconds: float, rng: random.Random) -> list[Fault]:
    """One fault in each slot of equal length, the kinds in random order."""
    begin, end = calm_s(scenario, seconds), seconds * (1 - QUIET_END)
    drawn = [faults for faults in kinds for _ in range(_times(faults, scenario, seconds))]
    rng.shuffle(drawn)
    slot_s = (end - begin) / len(drawn)
    return [
        Fault(
            at_s=round(begin + (number + rng.uniform(0, SPREAD)) * slot_s, 3),
            kind=faults.kind,
            seconds=round(rng.uniform(*faults.seconds), 3),
            pick=rng.random(),
        )
        for number, faults in enumerate(drawn)
    ]


def _times(faults: Faults, scenario: Scenario, seconds: float) -> int:
    """The number of faults, scaled to the length of the run."""
    return max(1, round(faults.times * seconds / scenario.seconds))
